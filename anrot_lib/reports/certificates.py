"""Certificates as tables, captions and a figure: accuracy that holds within a radius, or for replaced shots."""

from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anrot_lib.core.statistics import interval
from anrot_lib.fewshot.certificates import Smoothing
from anrot_lib.fewshot.row_names import title_method
from anrot_lib.fewshot.smoothing import compute_radii
from anrot_lib.records.measures import Counts, TurnedRecord
from anrot_lib.records.schema import CertificateHead, PoisoningRecord, SmoothingRecord
from anrot_lib.reports import figures
from anrot_lib.reports.tables import Table

FIGURE = "certificates.png"
RADII = (0.1, 0.2, 0.3, 0.5)  # l2, in units of the pixel range
NOISE_ON = {"query": "query", "both": "support and query"}
KINDS = ("one_class", "every_class")


def compute_labels(record: CertificateHead) -> np.ndarray:
    """The classes (n,) of the queries of an episode."""
    way = record["protocol"]["way"]
    return np.repeat(np.arange(way), record["queries"] // way)


def format_share(hits: np.ndarray) -> str:
    """ "58.4 ± 1.9": the mean of hits (E, n) over episodes, in per cent, with its 95 % interval."""
    stats = interval(hits.mean(1), bootstrap=False)
    return f"{stats.mean:.1f} ± {stats.half_width:.1f}" if stats.n > 1 else f"{stats.mean:.1f}"


def find_right(record: CertificateHead, answers: Counts) -> np.ndarray:
    """Which queries (E, n) have their class as the answer."""
    right: np.ndarray = np.asarray(answers) == compute_labels(record)
    return right


def compute_certified_radii(record: SmoothingRecord) -> np.ndarray:
    """The radius of each query (E, n) that is certified for its class; -1 for the others."""
    radii = compute_radii(np.asarray(record["hits"]), Smoothing(**record["smoothing"]))
    certified: np.ndarray = np.where(find_right(record, record["chosen"]) & (radii > 0), radii, -1.0)
    return certified


def count_abstaining(record: SmoothingRecord) -> np.ndarray:
    """Which queries (E, n) have no certificate for any class."""
    abstain: np.ndarray = compute_radii(np.asarray(record["hits"]), Smoothing(**record["smoothing"])) == 0
    return abstain


def make_smoothing_table(records: Sequence[SmoothingRecord]) -> Table:
    """One line a record: accuracy of the net itself, certified accuracy at radii, abstentions, attacks."""
    headings = ["", "noise on", "sigma", "not smoothed", "certified", *(f"at {radius:g}" for radius in RADII)]
    headings += ["abstains", "broken within", "broken beyond"]
    rows = []
    for record in records:
        radii = compute_certified_radii(record)
        cells = [format_share(radii > 0), *(format_share(radii >= radius) for radius in RADII)]
        attacks = [f"{attack['broken']} of {attack['queries']}" for attack in record["attacks"]]
        settings = record["smoothing"]
        start = [title_certified(record), NOISE_ON[settings["noisy"]], f"{settings['sigma']:g}"]
        plain = format_share(find_right(record, record["plain"]))
        rows.append([*start, plain, *cells, format_share(count_abstaining(record)), *attacks])
    return headings, rows


def title_certified(record: CertificateHead) -> str:
    """The title of the net of a record; marked if it has seen what it is tested on."""
    return title_method(record["row"]) + (" (SEEN CLASSES)" if "seen" in record else "")


def write_smoothing_caption(records: Sequence[SmoothingRecord]) -> str:
    """On what the certificates were made, and what the columns mean."""
    first = records[0]
    settings, attacks = first["smoothing"], first["attacks"]
    best = compute_radii(np.asarray(settings["draws"]), Smoothing(**settings)).item() / settings["sigma"]
    return (
        f"{_describe_episodes(first, len(first['hits']))}; {settings['first_draws']} noise draws choose the class, "
        f"{settings['draws']} bound its share, alpha {settings['alpha']:g} a query, so no radius exceeds "
        f"{best:.2f} sigma; radii in l2, in units of the pixel range; attacks: PGD-{attacks[0]['steps']} on the mean "
        f"of {attacks[0]['samples']} noise draws, within the certified radius and at {attacks[1]['factor']:g} times "
        f"that; broken: {attacks[0]['draws']} fresh draws show that the answer has lost"
    )


def _describe_episodes(record: CertificateHead, tasks: int) -> str:
    data, protocol = record["data"], record["protocol"]
    return (
        f"{data['name']}, {data['size']} px, {protocol['way']}-way {protocol['shot']}-shot, {tasks} episodes of "
        f"{record['queries']} queries; split {data['split_hash'][:10]}, manifest {record['manifest']['hash'][:10]}; "
        f"{record['run']['device']}"
    )


def count_held(record: PoisoningRecord, kind: str, replaced: int) -> np.ndarray:
    """Which queries (E, n) are right, and stay so when so many shots are replaced: kind "one_class", "every_class"."""
    radii = np.asarray(record["one_class"] if kind == "one_class" else record["every_class"])
    return find_right(record, record["answers"]) & (radii >= replaced)


def make_poisoning_table(records: Sequence[PoisoningRecord]) -> Table:
    """One line for each record and each number of replaced shots that can be left out: what is certified of them."""
    headings = ["", "head", "shots", "usual head", "this head", "replaced", "in one class", "of the right"]
    headings += ["in every class", "of the right", "certified and broken", "others broken"]
    rows = []
    for record in records:
        right = find_right(record, record["answers"])
        start = [title_certified(record), title_method(record["head"]), str(record["protocol"]["shot"])]
        start += [format_share(find_right(record, record["plain"])), format_share(right)]
        for attack in record["attacks"][: record["trimmed"]]:
            cells = [str(attack["replaced"])]
            for kind in KINDS:
                held = count_held(record, kind, attack["replaced"])
                cells += [format_share(held), f"{100 * held.sum() / max(right.sum(), 1):.0f} %"]
            parts: list[TurnedRecord] = [attack["one_class"], attack["every_class"]]
            broken, certified = sum(p["broken"] for p in parts), sum(p["certified"] for p in parts)
            turned, others = sum(p["turned"] for p in parts), sum(p["others"] for p in parts)
            rows.append([*start, *cells, f"{broken} of {certified}", f"{turned} of {others}"])
    return headings, rows


def write_poisoning_caption(records: Sequence[PoisoningRecord]) -> str:
    """On what the certificates were made, and what the columns mean."""
    first = records[0]
    attacked = first["attacks"][0]["one_class"]
    queries = attacked["certified"] + attacked["others"]
    return (
        f"{_describe_episodes(first, len(first['answers']))}; certified accuracy in per cent if so many shots are "
        f"replaced by anything, in one class, whichever is worst, or in every class at once; attacks by images on "
        f"{queries} queries, with the query itself and an image far from it in place of shots, both kinds added up"
    )


def draw_certificates(smoothed: Sequence[SmoothingRecord], poisoned: Sequence[PoisoningRecord]) -> Figure:
    """Certified accuracy over the radius, and over the number of replaced shots, as far as there are records."""
    parts: list[Callable[[Axes], None]] = []
    if smoothed:
        parts.append(lambda axes: _draw_radii(axes, smoothed))
    if poisoned:
        parts.append(lambda axes: _draw_shots(axes, poisoned))
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(3.9 * len(parts), 4.2), layout="constrained")
        for axes, draw in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
            draw(axes)
            axes.set(ylabel="certified accuracy, %", ylim=(0, 100))
            axes.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.08))
    return figure


def _draw_radii(axes: Axes, records: Sequence[SmoothingRecord]) -> None:
    colours, way = ("#D55E00", "#0072B2", *figures.OTHER_COLOURS), records[0]["protocol"]["way"]
    for k, record in enumerate(records):
        radii, settings = compute_certified_radii(record), record["smoothing"]
        x = np.linspace(0, 2.5 * settings["sigma"], 126)
        y = [100 * float((radii >= max(r, 1e-12)).mean()) for r in x]
        label = f"{title_certified(record)}, sigma {settings['sigma']:g}, noise on {NOISE_ON[settings['noisy']]}"
        axes.plot(x, y, color=colours[k % len(colours)], label=label)
    axes.axhline(100 / way, linestyle=":", color="black", linewidth=1)
    axes.set(xlabel="radius in l2, pixel range [0, 1]")


def _draw_shots(axes: Axes, records: Sequence[PoisoningRecord]) -> None:
    colours = ("#D55E00", "#0072B2", *figures.OTHER_COLOURS)
    for k, record in enumerate(records):
        label = f"{title_certified(record)}, {title_method(record['head'])}, {record['protocol']['shot']} shots"
        x = range(record["trimmed"] + 2)
        for kind, style in zip(KINDS, ("-", "--"), strict=True):
            y = [100 * float(count_held(record, kind, replaced).mean()) for replaced in x]
            axes.plot(x, y, style, marker="o", markersize=3, color=colours[k % len(colours)], label=label)
            label = ""  # one entry for both lines
    axes.set(xlabel="replaced shots; dashed: of every class", xticks=range(max(r["trimmed"] for r in records) + 2))
