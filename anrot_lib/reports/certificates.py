"""Certificates as tables, captions and a figure: accuracy that holds within a radius, or for replaced shots."""

import textwrap
from collections.abc import Callable, Sequence
from typing import TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anrot_lib.core import palette
from anrot_lib.core.statistics import interval
from anrot_lib.fewshot.certificates import Smoothing
from anrot_lib.fewshot.row_names import sort_methods, title_method
from anrot_lib.fewshot.smoothing import compute_radii
from anrot_lib.records.measures import Counts, TurnedRecord
from anrot_lib.records.schema import CertificateHead, PoisoningRecord, SmoothingRecord
from anrot_lib.reports import figures
from anrot_lib.reports.tables import Table

FIGURE = "certificates.png"
RADII = (0.1, 0.2, 0.3, 0.5)  # l2, in units of the pixel range
NOISE_ON = {"query": "query", "both": "support and query"}
KINDS = ("one_class", "every_class")
LEGEND_WIDTH = 52  # characters; a panel is as wide


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
    headings = ["", "not smoothed", "certified", *(f"at {radius:g}" for radius in RADII), "abstains"]
    headings += ["broken within", "broken beyond"]
    rows = []
    for record in sort_certified(records):
        radii = compute_certified_radii(record)
        cells = [format_share(radii > 0), *(format_share(radii >= radius) for radius in RADII)]
        attacks = [f"{attack['broken']} of {attack['queries']}" for attack in record["attacks"]]
        plain = format_share(find_right(record, record["plain"]))
        rows.append([title_smoothed(record), plain, *cells, format_share(count_abstaining(record)), *attacks])
    return headings, rows


C = TypeVar("C", bound=CertificateHead)


def sort_certified(records: Sequence[C]) -> list[C]:
    """Records in the order of the registry of methods."""
    order = sort_methods({record["row"] for record in records})
    return sorted(records, key=lambda record: order.index(record["row"]))


def title_smoothed(record: SmoothingRecord) -> str:
    """Net, sigma, and the images that carry the noise."""
    settings = record["smoothing"]
    return f"{title_certified(record)}, sigma {settings['sigma']:g}, noise on {NOISE_ON[settings['noisy']]}"


def title_certified(record: CertificateHead) -> str:
    """The title of the net of a record; marked if it has seen what it is tested on."""
    return title_method(record["row"]) + (" (SEEN CLASSES)" if "seen" in record else "")


def write_smoothing_caption(records: Sequence[SmoothingRecord]) -> str:
    """On what the certificates were made, and what the columns mean."""
    records = sort_certified(records)
    draws = []
    for settings in (record["smoothing"] for record in records):
        best = compute_radii(np.asarray(settings["draws"]), Smoothing(**settings)).item() / settings["sigma"]
        draws.append(
            f"{settings['first_draws']} noise draws choose the class, {settings['draws']} bound its share, alpha "
            f"{settings['alpha']:g} a query, so no radius exceeds {best:.2f} sigma"
        )
    within, beyond = records[0]["attacks"]
    return (
        f"{_describe_episodes(records, [len(record['hits']) for record in records])}; {_join(draws)}; radii in l2, in "
        f"units of the pixel range; attacks: PGD-{within['steps']} on the mean of {within['samples']} noise draws, "
        f"within the certified radius and at {beyond['factor']:g} times that; broken: {within['draws']} fresh draws "
        "show that the answer has lost"
    )


def _join(texts: Sequence[str]) -> str:
    """One text if all are equal; else all, in the order of the rows."""
    return texts[0] if len(set(texts)) == 1 else f"by rows: {' / '.join(texts)}"


def _describe_episodes(records: Sequence[CertificateHead], tasks: Sequence[int]) -> str:
    """Data, protocol, numbers of episodes and queries, hashes and device, of each row where they differ."""
    data, protocol = records[0]["data"], records[0]["protocol"]
    episodes = _join([f"{n} episodes of {r['queries']} queries" for n, r in zip(tasks, records, strict=True)])
    return (
        f"{data['name']}, {data['size']} px, {protocol['way']}-way {protocol['shot']}-shot; {episodes}; split "
        f"{data['split_hash'][:10]}, manifest {_join([r['manifest']['hash'][:10] for r in records])}; "
        f"{_join([r['run']['device'] for r in records])}"
    )


def count_held(record: PoisoningRecord, kind: str, replaced: int) -> np.ndarray:
    """Which queries (E, n) are right, and stay so when so many shots are replaced: kind "one_class", "every_class"."""
    radii = np.asarray(record["one_class"] if kind == "one_class" else record["every_class"])
    return find_right(record, record["answers"]) & (radii >= replaced)


def format_part(record: PoisoningRecord, kind: str, replaced: int) -> str:
    """ "69": what is certified, in per cent of the queries that are right without replaced shots."""
    held, right = count_held(record, kind, replaced), find_right(record, record["answers"])
    return f"{100 * held.sum() / max(right.sum(), 1):.0f}"


def format_held(record: PoisoningRecord, kind: str, replaced: int) -> str:
    """ "48.7 ± 2.1 (69 %)": the certified accuracy, and what part of the accuracy without replaced shots that is."""
    return f"{format_share(count_held(record, kind, replaced))} ({format_part(record, kind, replaced)} %)"


def make_poisoning_table(records: Sequence[PoisoningRecord]) -> Table:
    """One line for each record and each number of replaced shots that can be left out: what is certified of them."""
    headings = ["", "head of shots", "usual head", "this head", "replaced", "certified, in one class"]
    headings += ["in every class", "certified and broken", "others broken"]
    rows = []
    for record in sort_certified(records):
        plain, answers = (format_share(find_right(record, part)) for part in (record["plain"], record["answers"]))
        start, shots = (
            [title_certified(record), title_method(record["head"]), plain, answers],
            record["protocol"]["shot"],
        )
        for attack in record["attacks"][: record["trimmed"]]:
            cells = [f"{attack['replaced']} of {shots}"]
            cells += [format_held(record, kind, attack["replaced"]) for kind in KINDS]
            parts: list[TurnedRecord] = [attack["one_class"], attack["every_class"]]
            broken, certified = sum(p["broken"] for p in parts), sum(p["certified"] for p in parts)
            turned, others = sum(p["turned"] for p in parts), sum(p["others"] for p in parts)
            rows.append([*start, *cells, f"{broken} of {certified}", f"{turned} of {others}"])
    return headings, rows


def write_poisoning_caption(records: Sequence[PoisoningRecord]) -> str:
    """On what the certificates were made, and what the columns mean."""
    records = sort_certified(records)
    attacked = [record["attacks"][0]["one_class"] for record in records]
    queries = _join([str(part["certified"] + part["others"]) for part in attacked])
    episodes = _describe_episodes(records, [len(record["answers"]) for record in records])
    return (
        f"{episodes}; certified accuracy in per cent if so many shots are replaced by anything, in one class, "
        "whichever is worst, or in every class at once (in brackets: part of the accuracy of this head); attacks "
        f"by images on {queries} queries, with the query itself and an image far from it in place of shots, both kinds "
        "added up"
    )


def draw_certificates(smoothed: Sequence[SmoothingRecord], poisoned: Sequence[PoisoningRecord]) -> Figure:
    """Certified accuracy over the radius, and over the number of replaced shots, as far as there are records."""
    parts: list[Callable[[Axes], None]] = []
    if smoothed:
        parts.append(lambda axes: _draw_radii(axes, smoothed))
    if poisoned:
        parts.append(lambda axes: _draw_shots(axes, poisoned))
    with matplotlib.rc_context(figures.STYLE):
        figure = Figure(figsize=(4.2 * len(parts), 4.8), layout="constrained")
        for axes, draw in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
            draw(axes)
            axes.set(ylabel="certified accuracy, %", ylim=(0, 100))
            lines, labels = axes.get_legend_handles_labels()
            wrapped = [textwrap.fill(label, LEGEND_WIDTH) for label in labels]
            axes.legend(lines, wrapped, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    return figure


def _draw_radii(axes: Axes, records: Sequence[SmoothingRecord]) -> None:
    colours, way = (palette.ORANGE, palette.BLUE, *figures.OTHER_COLOURS), records[0]["protocol"]["way"]
    for k, record in enumerate(sort_certified(records)):
        radii, settings = compute_certified_radii(record), record["smoothing"]
        x = np.linspace(0, 2.5 * settings["sigma"], 126)
        y = [100 * float((radii >= max(r, 1e-12)).mean()) for r in x]
        axes.plot(x, y, color=colours[k % len(colours)], label=title_smoothed(record))
    axes.axhline(100 / way, linestyle=":", color="black", linewidth=1)
    axes.set(xlabel="radius in l2, pixel range [0, 1]")


def _draw_shots(axes: Axes, records: Sequence[PoisoningRecord]) -> None:
    colours = (palette.ORANGE, palette.BLUE, *figures.OTHER_COLOURS)
    for k, record in enumerate(sort_certified(records)):
        label = f"{title_certified(record)}, {title_method(record['head'])}, {record['protocol']['shot']} shots"
        x = range(record["trimmed"] + 2)
        for kind, style in zip(KINDS, ("-", "--"), strict=True):
            y = [100 * float(count_held(record, kind, replaced).mean()) for replaced in x]
            axes.plot(x, y, style, marker="o", markersize=3, color=colours[k % len(colours)], label=label)
            label = ""  # one entry for both lines
    axes.set(xlabel="replaced shots; dashed: of every class", xticks=range(max(r["trimmed"] for r in records) + 2))
