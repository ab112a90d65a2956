"""What marks draw beyond the tables of `reports`: single numbers for sentences, and tables narrow enough for a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from anrot_lib.attacks.suite import TITLES
from anrot_lib.core import paths, statistics, units
from anrot_lib.core.errors import UserError
from anrot_lib.experiments.setting import FROM
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.ranking.attacks import names
from anrot_lib.records import results
from anrot_lib.records.schema import AccuracyRecord, RankingRecord
from anrot_lib.reports import ablation, certificates, cross_domain, figures, levels, ranking, speed, suites, tables

R = TypeVar("R")
T = TypeVar("T")
WEAK = 16 / 255  # up to here an attack is hard to see; the published curves go on to 0.3


def read_experiment(name: str) -> list[AccuracyRecord]:
    """The records of accuracies in a folder below data/results. UserError if there are none."""
    return check_any(results.read_all(paths.results_dir() / name), name)


def check_any(records: list[R], name: str) -> list[R]:
    """The records of an experiment. UserError if there are none."""
    if not records:
        raise UserError(f"there are no result records in {paths.results_dir() / name}; run the experiment first")
    return records


def find_row(name: str, row: str) -> AccuracyRecord:
    """The record of a row of an experiment. UserError if there is none."""
    records = {record["row"]: record for record in read_experiment(name)}
    if row not in records:
        raise UserError(f"there is no record of {row!r} in {name}; there are {', '.join(records)}")
    return records[row]


def format_accuracy(name: str, row: str, column: str) -> str:
    """ "32.0 ± 1.6": a column of the main table by the first word of its heading, such as clean, FGSM, PGD, noise."""
    record = find_row(name, row)
    names = [
        name for heading, name in tables.list_main_columns(record["protocol"]).items() if heading.startswith(column)
    ]
    return tables.format_column(record["columns"].get(_take_only(names, column)))


def format_difference(name: str, row: str, reference: str, column: str) -> str:
    """ "-2.2 ± 0.4": the paired difference to a row on the same episodes."""
    headings, rows = tables.compute_differences(read_experiment(name), reference)
    place = _take_only([k for k, heading in enumerate(headings) if k and heading.startswith(column)], column)
    return _take_only([cells[place] for cells in rows if cells[0] == title_method(row)], row)


def _take_only(matches: Sequence[T], name: str) -> T:
    if len(matches) != 1:
        raise UserError(f"{name!r} names {len(matches)} columns or rows where it has to name one")
    return matches[0]


def format_part(name: str, variant: str, column: str) -> str:
    """ "-1.6 ± 0.4": a variant of the ablation minus its reference, by the first word of the column's heading."""
    records = read_experiment(name)
    columns = ablation.list_columns(records)
    chosen = _take_only([column_name for heading, column_name in columns.items() if heading.startswith(column)], column)
    differences = ablation.compute_part_differences(records, chosen)
    if variant not in differences:
        raise UserError(f"there is no variant {variant!r} beside its reference in {name}")
    return f"{differences[variant].mean:+z.1f} ± {differences[variant].half_width:.1f}"


def format_judge_gap(file: str, attack: str, library: str) -> str:
    """ "+0.2 ± 0.4": what a judge's attack leaves more than ours of that name, on the same queries."""
    judges = results.read(_locate(file), "judges")["judges"]
    gap = _take_only([j["difference"] for j in judges if (j["attack"], j["library"]) == (attack, library)], attack)
    return f"{gap['value']:+z.1f} ± {gap['half_width']:.1f}"


def format_suite_gap(name: str, row: str) -> str:
    """ "-0.4 ± 0.3": what AA leaves less than AA-lite of a row, on the same queries."""
    gap = suites.compare_suites(find_row(name, row))
    if gap is None:
        raise UserError(f"the record of {row!r} in {name} was not tested by both suites")
    return f"{gap.mean:+z.1f} ± {gap.half_width:.1f}"


def format_halving(name: str, row: str, kind: str) -> str:
    """ "10.2/255": where a curve over eps or sigma falls to half its start."""
    return _halving_point(find_row(name, row), kind)


def _halving_point(record: AccuracyRecord, kind: str) -> str:
    x, y = figures.select_curve(record, kind)[:2]
    half = statistics.find_halving_point(x, y)
    if half is None:
        return f"above {x[-1]:g}"
    return f"{255 * half:.1f}/255" if kind == "eps" else f"{half:.2f}"


def count_left_out(name: str) -> str:
    """How many images were left out of the data set of an experiment, because another split has a copy."""
    return str(read_experiment(name)[0]["data"]["left_out"])


def format_level_gain(name: str, row: str) -> str:
    """ "+0.24 ± 0.08": accuracy of a combination of levels minus that of pixels alone, on the same episodes."""
    gain, _ = levels.compute_differences(levels.group_by_row(read_experiment(name)))[row]
    return f"{gain.mean:+z.2f} ± {gain.half_width:.2f}"


def format_checked_score(file: str, which: str) -> str:
    """The robustness score of a record of checks: by "pgd" alone, or by the "worst" attack of all."""
    record = results.read(_locate(file), "ranking-checks")
    return f"{record['pgd'] if which == 'pgd' else record['worst']:.1f}"


def format_score(file: str) -> str:
    """ "43.6 ± 0.8": the robustness score of a ranking model."""
    ers = results.read(_locate(file), "ranking")["ers"]
    return f"{ers['value']:.1f} ± {ers['half_width']:.1f}"


def format_first_rank(file: str) -> str:
    """ "83.7": R@1 of a ranking model on clean images, in per cent."""
    return f"{results.read(_locate(file), 'ranking')['clean']['R@1']:.1f}"


def _locate(file: str) -> Path:
    return paths.results_dir() / f"{file}.json"


def format_speed(file: str, variant: str) -> str:
    """How many times as fast as its reference a variant of a benchmark is."""
    headings, rows = speed.make_table(results.read(_locate(file), "timing"))
    place = _take_only([k for k, heading in enumerate(headings) if heading.startswith("times as fast")], file)
    return _take_only([cells[place] for cells in rows if cells[0] == variant], variant)


def draw_robustness_table(records: list[AccuracyRecord]) -> str:
    """Attacks on the support set and on both sets; of each curve, its mean and the point where it has halved."""
    records = tables.sort_records(records)
    protocol = records[0]["protocol"]
    radius = units.format_pixels(protocol["eps"])
    attacks = [f"PGD-{protocol['steps']} {radius}", f"{TITLES['aa-lite']} {radius}"]
    wanted = [f"{attack} {target}" for attack in attacks for target in ("support", "both")]
    wanted = [name for name in wanted if any(name in record["columns"] for record in records)]
    headings = ["", *(name.replace(" support", " on support").replace(" both", " on both") for name in wanted)]
    headings += ["mean over eps to 16/255", "eps that halves", "mean over sigma", "sigma that halves"]
    rows = []
    for record in records:
        cells = [tables.format_column(record["columns"].get(name)) for name in wanted]
        for kind in ("eps", "sigma"):
            if not figures.has_curve(record, kind):
                cells += ["-", "-"]
                continue
            x, y = figures.select_curve(record, kind)[:2]
            near = x <= WEAK if kind == "eps" else x >= 0
            cells += [f"{statistics.measure_area_under(x[near], y[near]):.1f}", _halving_point(record, kind)]
        if set(cells) != {"-"}:
            rows.append([title_method(record["row"]), *cells])
    note = (
        f"Curves under attack on {records[0]['budget']['curve_tasks']} episodes, under noise on as many as the table "
        "above; means by trapezoids."
    )
    return f"{tables.format_markdown(headings, rows)}\n\n{note}"


SCORES = ("R@1", "ERS", "at eps = 0", "R@2", "mAP", "mAP@10", "NMI", "few-shot", "few-shot, attacked")
ATTACKS = (("CA+", "CA-", "QA+", "QA-", "TMA"), ("ES:D", "ES:R", "LTM", "GTM", "GTT", "GTM as"))


def draw_ranking_tables(folder: str) -> str:
    """Measured rows of ranking models: first the scores, then the ten attacks, and what every row was asked."""
    records: list[RankingRecord] = check_any(results.read_all(paths.results_dir() / folder, "ranking"), folder)
    headings, rows = ranking.list_measured(records)

    def choose(names: tuple[str, ...]) -> str:
        chosen = [0] + [k for name in names for k, h in enumerate(headings) if h.rstrip("↑↓") == name]
        return tables.format_markdown([headings[k] for k in chosen], [[row[k] for k in chosen] for row in rows])

    asked = []
    for record in records:
        threat = names.parse(record["protocol"]["attacks"][0]).threat().name.removesuffix(" query")
        gallery = record["protocol"]["gallery"]
        asked.append(f"{record['data']['name']}, {threat}, all {gallery} test images in the gallery")
    asked += [f"few-shot: {record['few_shot']['settings']['said']}" for record in records if "few_shot" in record]
    note = "± the half-width of the 95 % interval, over test images or queries; at eps = 0: the ceiling of ERS"
    caption = f"{'; '.join(dict.fromkeys(asked))}. {note}."
    return "\n\n".join([choose(SCORES), caption, *(choose(attacks) for attacks in ATTACKS)])


KINDS = {"one": "one_class", "every": "every_class"}  # in which classes shots are replaced


def format_certified_shots(file: str, kind: str, replaced: str) -> str:
    """ "48.7 ± 2.1": right queries that stand so many replaced shots of one class, or of every one, in per cent."""
    record = results.read(paths.results_dir() / f"{file}.json", "poisoning")
    return certificates.format_share(certificates.count_held(record, KINDS[kind], int(replaced)))


def format_certified_part(file: str, kind: str, replaced: str) -> str:
    """ "69": the same in per cent of the queries that are right without replaced shots."""
    record = results.read(paths.results_dir() / f"{file}.json", "poisoning")
    return certificates.format_part(record, KINDS[kind], int(replaced))


def format_certified_radius(file: str, radius: str) -> str:
    """ "41.2 ± 3.0": right queries whose certified radius is at least so large, in per cent; all that are certified
    for 0."""
    record = results.read(paths.results_dir() / f"{file}.json", "smoothing")
    return certificates.format_share(certificates.compute_certified_radii(record) >= max(float(radius), 1e-12))


def count_broken(file: str) -> str:
    """ "0 of 731": certified queries that an attack within their radius broke."""
    attack = results.read(paths.results_dir() / f"{file}.json", "smoothing")["attacks"][0]
    return f"{attack['broken']} of {attack['queries']}"


def draw_cross_domain() -> str:
    """Nets on another set than that of their training, or a line that there are none yet."""
    folders = [path for path in sorted(paths.results_dir().glob(f"*-{FROM}*")) if path.is_dir()]
    if not (foreign := [record for folder in folders for record in results.read_all(folder)]):
        return "No net has been tested on another set yet."
    at_home = dict.fromkeys(paths.results_dir() / folder.name.split(f"-{FROM}")[0] for folder in folders)
    native = [record for folder in at_home if folder.is_dir() for record in results.read_all(folder)]
    pairs = cross_domain.match_nets(foreign, native)
    return f"{tables.format_markdown(*cross_domain.make_table(pairs))}\n\n{cross_domain.write_caption(pairs)}."
