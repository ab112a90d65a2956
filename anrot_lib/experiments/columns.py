"""The columns of a record: which questions are put to a net."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.attacks.suite import TITLES, list_attacks
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.attacks.transfer import measure_surrogate
from anrot_lib.core.errors import UserError
from anrot_lib.data.corruptions import SEVERITIES, STRENGTHS
from anrot_lib.experiments.setting import Setting
from anrot_lib.experiments.surrogate import train_surrogate
from anrot_lib.settings import Budget, Protocol

CURVE_STEPS = 10


@dataclass(frozen=True)
class Column:
    """One question to a net: the tasks it is asked on, and how their images are changed."""

    name: str
    tasks: int
    query: int
    threat: ThreatModel | None = None
    sigma: float | None = None
    surrogate: bool = False
    suite: str = ""
    corrupted: str = ""  # query, support or both


def list_suite_columns(setting: Setting) -> list[Column]:
    """The worst cases of strong attacks that a setting asks for. They take far longer, so they are asked on fewer tasks
    than other attacks: twice those of a curve."""
    protocol, budget = setting.protocol, setting.budget
    tasks = min(2 * budget.curve_tasks, budget.attacked_tasks)
    columns = []
    for suite in setting.suites:
        for target in setting.targets:
            threat = replace(make_pgd(protocol), target=target)
            name = threat.name.replace(threat.name.split()[0], TITLES[suite], 1)
            columns.append(Column(name, tasks, budget.attacked_query, threat, suite=suite))
    return columns + [Column(f"corruptions {t}", tasks, budget.attacked_query, corrupted=t) for t in setting.corrupted]


def make_pgd(protocol: Protocol) -> ThreatModel:
    """PGD on queries as a protocol has it."""
    return pgd(protocol.eps, protocol.steps, protocol.step, protocol.restarts, target="query", norm=protocol.norm)


def list_columns(protocol: Protocol, budget: Budget, clean_tasks: int | None = None) -> list[Column]:
    """All columns of a record. The names stand in tables and figures, so they say what was done."""
    attacked = partial(Column, tasks=budget.attacked_tasks, query=budget.attacked_query)
    short = partial(Column, tasks=budget.curve_tasks, query=budget.attacked_query)
    strong, plain = make_pgd(protocol), fgsm(protocol.eps, target="query", norm=protocol.norm)
    columns = [
        Column("clean", clean_tasks or budget.clean_tasks, budget.clean_query),
        attacked("clean, attacked tasks"),
        attacked(plain.name, threat=plain),
        attacked(strong.name, threat=strong),
        attacked(f"transfer {plain.name}", threat=plain, surrogate=True),
    ]
    for target in ("support", "both"):
        threat = replace(strong, target=target)
        columns.append(short(threat.name, threat=threat))
    sigmas = sorted({*protocol.curve_sigma, protocol.sigma})
    columns += [attacked(name_noise_column(sigma), sigma=sigma) for sigma in sigmas if sigma]
    for eps in protocol.curve_eps:
        threat = pgd(eps, CURVE_STEPS, eps / 4, 1, target="query", norm=protocol.norm)
        columns.append(short(f"curve {threat.name}", threat=threat))
    return columns


def select_columns(setting: Setting, clean_tasks: int | None = None) -> list[Column]:
    """The columns of a setting that it asks for."""
    usual = [c for c in list_columns(setting.protocol, setting.budget, clean_tasks) if setting.asks(c.name)]
    return usual + list_suite_columns(setting)


def choose_stored(setting: Setting) -> Column | None:
    """The column whose adversarial queries a setting stores: of its suite, else of PGD; None if it stores none."""
    strong = make_pgd(setting.protocol).name
    columns = [c for c in select_columns(setting) if c.suite or c.name == strong]
    columns = [c for c in columns if c.threat and c.threat.target == "query"]
    return columns[-1] if setting.stores and columns else None


def check_asked(setting: Setting) -> None:
    """UserError if a column that the setting asks for, or whose images it stores, does not exist."""
    names = [column.name for column in list_columns(setting.protocol, setting.budget)]
    for words in setting.columns or ():
        if not any(replace(setting, columns=(words,)).asks(name) for name in names):
            known = ", ".join(sorted({name.split()[0].rstrip(",") for name in names}))
            raise UserError(f"unknown column {words!r}; choose from {known}, or a whole name such as {names[2]!r}")
    if setting.stores and choose_stored(setting) is None:
        raise UserError("--store keeps the adversarial queries of PGD or of --attacks, and neither is measured here")


def count_passes(setting: Setting, column: Column) -> int:
    """Encoder passes that a column takes, forward = 1, if no query were beaten early: what bars and dry runs count."""
    if column.suite and column.threat is not None:
        attacks = list_attacks(column.suite, column.threat.eps, setting.protocol.way, column.threat.norm)
        passes = sum(attack.threat.steps * (1 if attack.rule == "squares" else 3) for attack in attacks)
        return column.tasks * setting.protocol.way * column.query * passes * setting.protocol.restarts
    if column.corrupted:
        return len(setting.image_set.rows(setting.split)) * len(STRENGTHS) * len(SEVERITIES)
    if column.threat is None and column.sigma is None:  # descriptions of all test images, computed once
        return len(setting.image_set.rows(setting.split)) if column.name == "clean" else 1
    steps = 0 if column.threat is None or column.surrogate else column.threat.steps * column.threat.restarts
    return column.tasks * setting.protocol.way * column.query * (1 + 2 * steps)


def list_left_out(setting: Setting, columns: Sequence[Column]) -> dict[str, str]:
    """Those of some columns that would say nothing, with the reason: transfer columns whose surrogate is near chance.

    The surrogate is trained for this, if there is such a column.
    """
    if not (transferred := [column.name for column in columns if column.surrogate]):
        return {}
    quality = measure_surrogate(train_surrogate(setting), setting.image_set)
    reason = f"the surrogate {quality}: its attack would be little more than random signs"
    return {} if quality.is_useful else dict.fromkeys(transferred, reason)


def name_noise_column(sigma: float) -> str:
    """The name of the column of a sigma: two decimals where they say it all, so that no two share a name."""
    return f"noise {sigma:.2f} query" if float(f"{sigma:.2f}") == sigma else f"noise {sigma:g} query"
