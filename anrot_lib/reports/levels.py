"""Records of the experiments on levels as table and verdict: what each level adds to pixels, and which breaks first.

Two kinds of records: of `anrot levels`, whose variants share one encoder a seed, and of `anrot run`, whose rows are
trained end to end each. Several seeds are averaged episode by episode; intervals and tests are over the episodes, for
the encoders at hand. A row is compared with pixels of the same seeds.
"""

from collections.abc import Sequence

import numpy as np

from anrot_lib.core.configs import from_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.statistics import (
    Interval,
    adjust_holm,
    compare_paired,
    compute_paired_p,
    describe_bound,
    interval,
)
from anrot_lib.experiments.levels import LEVELS, VARIANTS, list_attacks
from anrot_lib.fewshot.levels import combine
from anrot_lib.fewshot.levels.names import TITLES
from anrot_lib.fewshot.levels.pixel import PixelLevel
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.records.results import compute_accuracies
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import tables
from anrot_lib.reports.tables import format_markdown
from anrot_lib.settings import Budget, Protocol

Record = AccuracyRecord
REFERENCE = "levels:pixel"
CLEAN, FEW = "clean", "clean, attacked tasks"
SURE = 0.05
RESAMPLES, FEWEST = 2_000, 10  # of the bootstrap over episodes, and how many episodes it takes


def is_study(records: Sequence[Record]) -> bool:
    """Whether these are records of `anrot levels`."""
    return bool(records) and all("fusion" in record["training"] for record in records)


def is_of_levels(records: Sequence[Record]) -> bool:
    """Whether pixels alone are among these records, to compare other levels with."""
    return any(record["row"] == REFERENCE for record in records)


def group_by_row(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Row -> its records, one a seed, in the order of VARIANTS.

    UserError for several manifests, for no pixels, and for records of `anrot levels` with two encoders of one seed.
    """
    if len({record["manifest"]["hash"] for record in records}) > 1:
        raise UserError("these records are of different episodes, so their levels cannot be compared")
    if not is_of_levels(records):
        raise UserError("there is no record of pixels alone to compare with; run anrot levels first")
    encoders = {(get_seed(r), r["training"].get("checkpoint")) for r in records}
    if is_study(records) and len(encoders) > len({seed for seed, _ in encoders}):
        raise UserError("these records are of different encoders with one seed, so their levels cannot be compared")
    names = [f"levels:{variant}" for variant in VARIANTS]
    names += [record["row"] for record in tables.sort_records(records)]
    rows = {name: [r for r in records if r["row"] == name] for name in names}
    return {name: group for name, group in rows.items() if group}


def get_seed(record: Record) -> int:
    return record["recipe"]["seed"]


def select_seeds(records: Sequence[Record], seeds: set[int]) -> list[Record]:
    return [record for record in records if get_seed(record) in seeds]


def average_over_seeds(records: Sequence[Record], column: str) -> np.ndarray:
    """Accuracy in [0, 1] of every episode (E,), averaged over seeds."""
    return np.asarray(np.mean([compute_accuracies(record["columns"][column]) for record in records], axis=0))


def list_attack_columns(record: Record) -> list[str]:
    """The columns under attack that a record of this kind shows, from weak to strong."""
    if not is_study([record]):
        return [
            name for name in tables.list_main_columns(record["protocol"]).values() if name.startswith(("FGSM", "PGD"))
        ]
    columns = list_attacks(from_dict(Protocol, dict(record["protocol"])), from_dict(Budget, dict(record["budget"])))
    return [column.name for column in columns]


def compute_differences(rows: dict[str, list[Record]], column: str = CLEAN) -> dict[str, tuple[Interval, float]]:
    """Row -> (accuracy minus that of pixels with the same seeds, clean or under attack, p after Holm's correction)."""
    base, pairs = rows[REFERENCE], {}
    for name, group in rows.items():
        common = {get_seed(r) for r in group} & {get_seed(r) for r in base}
        if name != REFERENCE and common:
            pairs[name] = (
                average_over_seeds(select_seeds(base, common), column),
                average_over_seeds(select_seeds(group, common), column),
            )
    adjusted = adjust_holm([compute_paired_p(first, second) for first, second in pairs.values()])
    return {
        name: (compare_paired(first, second, bootstrap=False), p)
        for (name, (first, second)), p in zip(pairs.items(), adjusted, strict=True)
    }


def make_table(records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """(headings, rows): one row a variant, or a training."""
    rows = group_by_row(records)
    gains, attacks = compute_differences(rows), list_attack_columns(records[0])
    first = "levels" if is_study(records) else "trained with"
    headings = [first, CLEAN, "minus pixels", "p (Holm)", "share of each level, %"]
    headings += [name.removesuffix(" query") for name in attacks]
    lines = []
    for name, group in rows.items():
        gain, p = gains.get(name, (None, None))
        cells = [_format_accuracy(group, CLEAN), "-" if gain is None else f"{gain.mean:+z.2f} ± {gain.half_width:.2f}"]
        cells += ["-" if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001", _format_shares(group)]
        lines.append([title_method(name), *cells, *(_format_accuracy(group, column) for column in attacks)])
    return headings, lines


def _format_accuracy(records: Sequence[Record], column: str) -> str:
    accuracy = interval(average_over_seeds(records, column), bootstrap=False)
    if accuracy.mean in (0, 100):  # the limit of one seed: further seeds ask the same queries
        first = records[0]["columns"][column]
        n = first["queries"] * len(first["correct"])
        return describe_bound(0 if accuracy.mean == 0 else n, n) or ""
    return f"{accuracy.mean:.1f} ± {accuracy.half_width:.1f}"


def _format_shares(records: Sequence[Record]) -> str:
    shares_by_record = [get_shares(record) for record in records]
    names = [name for name in TITLES if name in shares_by_record[0]]
    return " : ".join(f"{100 * np.mean([shares[name] for shares in shares_by_record]):.0f}" for name in names)


def get_shares(record: Record) -> dict[str, float]:
    """Each level's share of the logits, summing to 1: on test episodes, or at a training's last validation."""
    training = record["training"]
    if "fusion" in training:
        return training["fusion"]["shares"]
    return training["history"][-1].get("shares") or {record["row"].removeprefix("levels:"): 1.0}


def write_caption(records: Sequence[Record]) -> str:
    """What the table is about: data, encoder, episodes, seeds, hashes, device."""
    record = records[0]
    data, budget, protocol = record["data"], record["budget"], record["protocol"]
    seeds = sorted({get_seed(r) for r in records})
    plural = "s" if len(seeds) > 1 else ""
    robust = any(r["recipe"]["adversarial"] or r["recipe"]["noisy"] for r in records)
    trained = f"for {budget['episodes']} {'' if robust else 'clean '}episodes, seed{plural} {_join(seeds)}"
    fewer = [
        f"{title_method(name)} {_join(group_seeds)}"
        for name, group_seeds in ((n, sorted(get_seed(r) for r in rs)) for n, rs in group_by_row(records).items())
        if group_seeds != seeds
    ]
    trained += f" ({'; '.join(fewer)})" if fewer else ""
    fitted = f"fusion fitted to {budget['validation_tasks']} validation episodes"
    how = f"trained on pixels alone {trained}; {fitted}" if is_study(records) else f"trained with each row {trained}"
    pixels = (LEVELS if is_study(records) else combine.LEVELS)["pixel"]()
    k = pixels.k if isinstance(pixels, PixelLevel) else 1
    how += f"; pixels by their {'nearest neighbour' if k == 1 else f'{k} nearest neighbours'}"
    how += ", KL from query to class" if is_study(records) else ""
    return (
        f"{data['name']}, {data['size']} px, {protocol['way']}-way {protocol['shot']}-shot, preset {budget['preset']}; "
        f"encoder {budget['encoder']}, {how}; {record['manifest']['n_tasks']} clean test episodes of "
        f"{budget['clean_query']} queries a class, attacked ones the first {budget['attacked_tasks']} with "
        f"{budget['attacked_query']}; split {data['split_hash'][:10]}, manifest {record['manifest']['hash'][:10]}; "
        f"{record['run']['device']}; ± and p over episodes, for the encoder{plural} at hand"
    )


def _join(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def write_markdown(records: Sequence[Record]) -> str:
    """Table, caption and verdict."""
    return f"{format_markdown(*make_table(records))}\n\n{write_caption(records)}.\n\n{write_verdict(records)}"


def write_verdict(records: Sequence[Record]) -> str:
    """From the records: what beats pixels alone, and which single level an attack takes first."""
    rows, attacks = group_by_row(records), list_attack_columns(records[0])
    if is_study(records):
        return f"{_describe_differences(rows, 'combinations')} {_describe_attacks(rows, attacks)}"
    return " ".join(_describe_differences(rows, "trainings", column) for column in (CLEAN, *attacks))


def _describe_differences(rows: dict[str, list[Record]], kind: str, column: str = CLEAN) -> str:
    gains = compute_differences(rows, column)
    better = {name: gain for name, (gain, p) in gains.items() if p <= SURE and gain.mean > 0}
    worse = sum(p <= SURE and gain.mean < 0 for gain, p in gains.values())
    first = "Of" if column == CLEAN else f"Under {column.removesuffix(' query')}, of"
    text = f"{first} {len(gains)} other {kind} {len(better)} are better than pixels alone and {worse} worse"
    text += f" (Holm, {100 * SURE:.0f} %)"
    if not better:
        return f"{text}."
    best = max(better, key=lambda name: better[name].mean)
    gain = better[best]
    return f"{text}; the best is {title_method(best)}, {gain.mean:+z.2f} ± {gain.half_width:.2f} points."


def _describe_attacks(rows: dict[str, list[Record]], attacks: list[str]) -> str:
    """The weakest attack tells levels apart best: a strong one leaves nothing of any of them.

    What breaks first keeps the smallest part of its clean accuracy, in 95 % of resampled sets of episodes.
    """
    weakest, strongest = attacks[0], attacks[-1]
    levels = {name: rows[f"levels:{name}"] for name in LEVELS if f"levels:{name}" in rows}
    common = set.intersection(*({get_seed(r) for r in group} for group in levels.values()))
    left = max(100 * average_over_seeds(group, strongest).mean() for group in levels.values())
    tail = f"under {strongest.removesuffix(' query')} the best single level has {left:.1f} % left."
    start = f"Each attacked alone under {weakest.removesuffix(' query')},"
    unsure = f"{start} no single level can be said to break first; {tail}"
    if len(levels) < 2 or not common:
        return unsure
    attacked, clean = (
        np.stack([average_over_seeds(select_seeds(group, common), column) for group in levels.values()], 1)
        for column in (weakest, FEW)
    )
    n = len(attacked)
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    whole, resampled = (w @ attacked / np.maximum(1e-9, w @ clean) for w in (np.ones(n), weights))
    first, last = whole.argmin(), whole.argmax()
    lowest = (resampled.argmin(1) == first).mean()
    if n < FEWEST or lowest < 1 - SURE:
        return unsure
    names = [TITLES[name] for name in levels]
    return (
        f"{start} the first to break is {names[first]}: it keeps {100 * whole[first]:.0f} % of its clean accuracy, "
        f"the least in {100 * lowest:.0f} % of resampled sets of episodes; {names[last]} keeps "
        f"{100 * whole[last]:.0f} %; {tail}"
    )
