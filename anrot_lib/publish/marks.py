"""Marks in Markdown files: tables and numbers drawn from records, so that no measured number is typed by hand.

`<!-- table: KIND ... -->` ... `<!-- end -->` holds a table, `<!-- number: KIND ... -->...<!-- end -->` a number within
a sentence. The kinds are those of `TABLES` and `NUMBERS`; a table's KIND can also be the folder of an experiment below
data/results, for its main table and caption. An argument that contains spaces stands in quotation marks.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from functools import partial

from anrot_lib.audit.claims import join_claims, read_located, select_claims
from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue
from anrot_lib.fewshot.methods import get_method, list_rows
from anrot_lib.publish import citations, courses, numbers, rooms, times
from anrot_lib.publish.numbers import read_experiment
from anrot_lib.records import results
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.reports import (
    card,
    certificates,
    claims,
    consequences,
    growth,
    judges,
    leaky_split,
    lengths,
    levels,
    ranking,
    reconstruction,
    rescore,
    seeds,
    sizes,
    speed,
    suites,
    tables,
    twins,
)
from anrot_lib.reports.studies import REPORTS
from anrot_lib.settings import preset

MARK = re.compile(
    r"(?P<open><!-- (?P<sort>table|number): (?P<what>[^>]+?) -->)(?P<old>.*?)(?P<close><!-- end -->)", re.DOTALL
)
Kinds = Mapping[str, tuple[str, Callable[..., str]]]  # kind -> the arguments that follow it, and what draws it


def draw_main_table(name: str, rows: str = "") -> str:
    """Main table and caption of an experiment; of some rows, with commas between their names. UserError for another."""
    records = seeds.select_first_seeds(read_experiment(name))
    if rows:
        wanted, known = rows.split(","), [record["row"] for record in records]
        if missing := [row for row in wanted if row not in known]:
            raise UserError(f"{name} has no row {missing[0]!r}; it has {', '.join(known)}")
        records = [record for record in records if record["row"] in wanted]
    bounds = tables.explain_bounds(tables.select_main_columns(records))
    table = tables.format_markdown(*add_cards(tables.make_table(records), name, records))
    caption = tables.write_caption(records[0]) + sizes.describe_lengths(records) + tables.describe_fewer(records)
    return f"{table}\n\n{caption}{tables.describe_former_steps(records)}{tables.describe_peak(records)}{bounds}."


def add_cards(table: tables.Table, name: str, records: list[AccuracyRecord]) -> tables.Table:
    """A table of some records of an experiment, with what the masking cards of that experiment say of their nets."""
    return card.add_verdicts(table, records, results.read_all(paths.results_dir() / name, "card"))


def draw_seeds(name: str) -> str:
    """Means over the seeds of the rows that were trained with several."""
    return tables.format_markdown(*seeds.make_table(read_experiment(name)))


def draw_study(study: str, name: str) -> str:
    """The table of a study of few-shot recipes, and its caption."""
    records, report = read_experiment(name), REPORTS[study]
    table = tables.format_markdown(*add_cards(report.make_table(records), name, records))
    return f"{table}\n\n{report.write_caption(records)}{tables.describe_former_steps(records)}."


def draw_lengths(name: str) -> str:
    """Time to accuracy: which recipe reached an accuracy first, and all trainings below."""
    records = lengths.read_lengths(paths.results_dir(), name)
    parts = [tables.format_markdown(*make(records)) for make in (lengths.make_targets_table, lengths.make_table)]
    return "\n\n".join([*parts, f"{lengths.write_caption(records)}."])


def draw_differences(name: str, row: str) -> str:
    """Paired differences to a row of the same experiment."""
    records = seeds.select_first_seeds(read_experiment(name))
    return tables.format_markdown(*tables.compute_differences(records, row))


def draw_commands(name: str) -> str:
    """The commands that wrote the records of an experiment, or of one file, each once."""
    path = paths.results_dir() / name
    records = results.read_all(path if path.is_dir() else path.with_name(f"{path.name}.json"), None)
    commands = dict.fromkeys(record["run"]["command"] for record in records)
    return "\n".join(["```sh", *commands, "```"])


def draw_robustness(name: str) -> str:
    """What the main table leaves out: attacks on support and on both sets, and what the curves come to."""
    return numbers.draw_robustness_table(seeds.select_first_seeds(read_experiment(name)))


def draw_levels(name: str) -> str:
    """The experiment on levels, with its verdict."""
    return levels.write_markdown(read_experiment(name))


def draw_reconstruction(name: str) -> str:
    """Claims beside measurements, or a line that there are none yet."""
    return reconstruction.write_claims(results.read_all(paths.results_dir() / name, "reconstruction"))


def draw_claims(system: str) -> str:
    """The claims of a system beside the nearest measurements; of "all" how many have which status."""
    verdicts = join_claims(select_claims(() if system == "all" else (system,)), read_located())
    return (
        tables.format_markdown(*claims.count_statuses(verdicts)) if system == "all" else claims.write_markdown(verdicts)
    )


def draw_consequences(name: str) -> str:
    """What defects of the published evaluation do to each net of an experiment, and what a hundred tasks can say."""
    parts = []
    for record in tables.sort_records(read_experiment(name)):
        parts += [tables.format_markdown(*consequences.make_table(record)), consequences.describe_few_tasks(record)]
    return "\n\n".join(f"{part}." if part and not part.startswith("|") else part for part in parts if part)


def draw_leaky_split(name: str) -> str:
    """What the split of the release is worth; the records of the classes of the release lie beside the folder."""
    pairs = leaky_split.match_splits(read_experiment(name), read_experiment(f"{name}-released"))
    caption = leaky_split.write_split_caption(pairs)
    return f"{tables.format_markdown(*leaky_split.make_split_table(pairs))}\n\n{caption}."


def draw_checks(file: str) -> str:
    """Whether the gradient of a ranking model is masked."""
    record = results.read(paths.results_dir() / f"{file}.json", "ranking-checks")
    return tables.format_markdown(*ranking.list_checks(record), numbers=False)


def draw_judges(file: str) -> str:
    """Our attacks beside those of other libraries, with what they were compared on."""
    record = results.read(paths.results_dir() / f"{file}.json", "judges")
    return f"{tables.format_markdown(*judges.make_table(record))}\n\n{judges.write_caption(record)}."


def draw_card(file: str) -> str:
    """The masking card of a net, with what it was made on."""
    record = results.read(paths.results_dir() / f"{file}.json", "card")
    return f"{tables.format_markdown(*card.make_table(record), numbers=False)}\n\n{card.write_caption(record)}."


def draw_suites(name: str) -> str:
    """AA beside AA-lite, of the rows of an experiment that have both."""
    records = read_experiment(name)
    table = tables.format_markdown(*add_cards(suites.make_table(records), name, records))
    return f"{table}\n\n{suites.write_caption(records)}{tables.describe_former_steps(records)}."


def draw_challenges(name: str) -> str:
    """Rows of an experiment that were challenged by stored adversarial images."""
    return tables.format_markdown(*rescore.make_table(results.read_all(paths.results_dir() / name, "rescore")))


def draw_course() -> str:
    """The notebooks and their questions, with links from the root of the repository."""
    rows = [[f"[{n.number:02d} {n.title}](notebooks/{n.stem}.ipynb)", n.question] for n in catalogue.list_ready()]
    return tables.format_markdown(["notebook", "question"], rows, numbers=False)


def draw_methods() -> str:
    """The rows of the main table: title, name, what they are trained on, and where they are published."""
    rows = []
    for method in (get_method(name) for name in list_rows()):
        recipe = method.recipe
        shares = {"clean": recipe.clean, "attacked": recipe.adversarial, "noisy": recipe.noisy}
        queries = " + ".join(kind for kind, share in shares.items() if share)
        loss = f"cross-entropy + {recipe.hesim:g} Hesim" if recipe.hesim else "cross-entropy"
        publication = citations.attach_link(method.publication)
        rows.append([method.title, f"`{method.name}`", queries, loss, publication])
    return tables.format_markdown(["row", "name", "queries in training", "loss", "published in"], rows, numbers=False)


def draw_smoothing(name: str) -> str:
    """Certificates of randomised smoothing in a folder."""
    records = numbers.check_any(results.read_all(paths.results_dir() / name, "smoothing"), name)
    caption = certificates.write_smoothing_caption(records)
    return f"{tables.format_markdown(*certificates.make_smoothing_table(records))}\n\n{caption}."


def draw_poisoning(name: str) -> str:
    """Certificates against replaced shots in a folder."""
    records = numbers.check_any(results.read_all(paths.results_dir() / name, "poisoning"), name)
    caption = certificates.write_poisoning_caption(records)
    return f"{tables.format_markdown(*certificates.make_poisoning_table(records))}\n\n{caption}."


PRESETS = ("smoke", "laptop", "paper")


def draw_presets() -> str:
    """Sizes and lengths of the presets."""
    budgets = [preset(name) for name in PRESETS]
    lines = {
        "image side, px": [f"{b.size}" for b in budgets],
        "encoder": [b.encoder for b in budgets],
        "training episodes": [f"{b.episodes:,}" for b in budgets],
        "clean test episodes": [f"{b.clean_tasks:,}" for b in budgets],
        "attacked test episodes x queries a class": [f"{b.attacked_tasks} x {b.attacked_query}" for b in budgets],
    }
    return tables.format_markdown(["", *PRESETS], [[name, *cells] for name, cells in lines.items()])


TABLES: Kinds = {
    "card": ("FILE", draw_card),
    "challenges": ("NAME", draw_challenges),
    "checks": ("FILE", draw_checks),
    "claims": ("SYSTEM|all", draw_claims),
    "commands": ("NAME", draw_commands),
    "consequences": ("NAME", draw_consequences),
    "course": ("", draw_course),
    "cross-domain": ("", numbers.draw_cross_domain),
    "courses": ("", courses.draw_courses),
    "differences": ("NAME ROW", draw_differences),
    "growth": ("FILE", growth.write_tables),
    "judges": ("FILE", draw_judges),
    "leaky-split": ("NAME", draw_leaky_split),
    "lengths": ("NAME", draw_lengths),
    "levels": ("NAME", draw_levels),
    "methods": ("", draw_methods),
    "poisoning": ("NAME", draw_poisoning),
    "presets": ("", draw_presets),
    "ranking": ("NAME", numbers.draw_ranking_tables),
    **{study: ("NAME", partial(draw_study, study)) for study in REPORTS},
    "reconstruction": ("NAME", draw_reconstruction),
    "references": ("", citations.draw_references),
    "robustness": ("NAME", draw_robustness),
    "rooms": ("", rooms.draw_map),
    "rooms-picture": ("", rooms.draw_picture),
    "rows": ("NAME ROW,ROW,...", draw_main_table),
    "seeds": ("NAME", draw_seeds),
    "suites": ("NAME", draw_suites),
    "smoothing": ("NAME", draw_smoothing),
    "notebook-times": ("", times.draw_notebook_times),
    "timing": ("FILE", speed.write_table),
    "twins": ("NAME NAME TITLE", twins.write_table),
}
NUMBERS: Kinds = {
    "ablation": ("NAME VARIANT COLUMN", numbers.format_part),
    "accuracy": ("NAME ROW COLUMN", numbers.format_accuracy),
    "broken": ("FILE", numbers.count_broken),
    "certified-part": ("FILE one|every SHOTS", numbers.format_certified_part),
    "certified-radius": ("FILE RADIUS", numbers.format_certified_radius),
    "certified-shots": ("FILE one|every SHOTS", numbers.format_certified_shots),
    "checked-score": ("FILE pgd|worst", numbers.format_checked_score),
    "difference": ("NAME ROW REFERENCE COLUMN", numbers.format_difference),
    "first-rank": ("FILE", numbers.format_first_rank),
    "halving": ("NAME ROW eps|sigma", numbers.format_halving),
    "judge-gap": ("FILE ATTACK LIBRARY", numbers.format_judge_gap),
    "left-out": ("NAME", numbers.count_left_out),
    "level-gain": ("NAME ROW", numbers.format_level_gain),
    "score": ("FILE", numbers.format_score),
    "seconds": ("NAME VARIANT", times.format_seconds),
    "slowest": ("NAME", times.format_slowest),
    "speed": ("FILE VARIANT", numbers.format_speed),
    "suite-gap": ("NAME ROW", numbers.format_suite_gap),
}


def draw(what: str, sort: str = "table") -> str:
    """The text between a mark's two comments. UserError for an unknown mark, or if there are no records.

    sort: "table" or "number".
    """
    kinds = TABLES if sort == "table" else NUMBERS
    kind, *arguments = shlex.split(what)
    if sort == "table" and kind not in kinds and not arguments:
        return draw_main_table(kind)
    if kind not in kinds or len(arguments) != len(kinds[kind][0].split()):
        known = ", ".join(f"{name} {follows}".strip() for name, (follows, _) in kinds.items())
        names = f"NAME, {known}" if sort == "table" else known
        raise UserError(f"cannot draw the {sort} {what!r}; marks are: {names}")
    return kinds[kind][1](*arguments)


def redraw(text: str) -> str:
    """The text of a Markdown file with all its marks drawn anew."""

    def replace(mark: re.Match[str]) -> str:
        drawn = draw(mark["what"], mark["sort"])
        between = f"\n{drawn}\n" if mark["sort"] == "table" else drawn
        return f"{mark['open']}{between}{mark['close']}"

    return MARK.sub(replace, text)
