"""Tables drawn from result records: the rows of a run, paired differences, the ladder of the README."""

from collections.abc import Iterable, Sequence

from anrot_lib.attacks.suite import choose_rule
from anrot_lib.attacks.transfer import Quality
from anrot_lib.core.errors import UserError, escape_control
from anrot_lib.core.statistics import compare_paired, describe_bound
from anrot_lib.core.units import format_pixels
from anrot_lib.experiments.columns import name_noise_column
from anrot_lib.fewshot.row_names import sort_methods, title_method
from anrot_lib.records.parts import ColumnRecord
from anrot_lib.records.results import compute_accuracies
from anrot_lib.records.schema import AccuracyRecord
from anrot_lib.records.settings import ProtocolRecord
from anrot_lib.reports.sizes import count_pretrained, count_trained

Record = AccuracyRecord
Table = tuple[list[str], list[list[str]]]  # headings, rows


def sort_records(records: Sequence[Record]) -> list[Record]:
    """Records in the order of the registry of methods, others behind."""
    order = sort_methods(record["row"] for record in records)
    return sorted(records, key=lambda record: order.index(record["row"]))


def list_main_columns(protocol: ProtocolRecord) -> dict[str, str]:
    """Heading -> column name, of the columns that the main table shows."""
    eps = format_pixels(protocol["eps"])
    return {
        "clean": "clean",
        f"FGSM {eps}": f"FGSM {eps} query",
        f"PGD-{protocol['steps']} {eps}": f"PGD-{protocol['steps']} {eps} query",
        f"transfer {eps}": f"transfer FGSM {eps} query",
        f"noise {protocol['sigma']:g}": name_noise_column(protocol["sigma"]),
    }


OVERSTATED = 3.0  # points between PGD and the worst case of strong attacks, beyond which a table says so


def list_suite_columns(records: Sequence[Record]) -> dict[str, str]:
    """Heading -> column name, of the worst cases of strong attacks on queries that some record has."""
    names = {name for record in records for name, c in record["columns"].items() if "suite" in c}
    return {name.removesuffix(" query"): name for name in sorted(names) if name.endswith(" query")}


def describe_overstatement(record: Record) -> str:
    """A mark for a row whose accuracy under PGD is more than OVERSTATED points above that under strong attacks on the
    same episodes; "" for others."""
    strong = record["columns"].get(list(list_main_columns(record["protocol"]).values())[2])
    gaps = []
    for name in list_suite_columns([record]).values():
        worst = record["columns"][name]
        n = min(len(worst["correct"]), len(strong["correct"])) if strong else 0
        if strong and n:
            gap = compute_accuracies(strong)[:n] - compute_accuracies(worst)[:n]
            gaps.append(100 * float(gap.mean()))
    worst_gap = max(gaps, default=0.0)
    return f" (PGD overstates by {worst_gap:.1f})" if worst_gap > OVERSTATED else ""


def format_column(column: ColumnRecord | None) -> str:
    """ "58.4 +/- 1.9", or "-" for a column that was not run; "< 0.3" or "> 99.7" where all episodes agree.

    That no query is right in n, or every one, bounds the accuracy (`describe_bound`), and is no interval of width 0.
    """
    if column is None:
        return "-"
    bound = describe_bound(sum(column["correct"]), column["queries"] * len(column["correct"]))
    return bound or f"{column['mean']:.1f} ± {column['half_width']:.1f}"


BOUND = "< and >: no query, or every one, was right; the exact one-sided 95 % limit over queries"


def explain_bounds(columns: Iterable[ColumnRecord | None]) -> str:
    """What < and > in a table of these columns mean, as the end of its caption; nothing if there are none."""
    return f"; {BOUND}" if any(format_column(column)[0] in "<>" for column in columns) else ""


def select_main_columns(records: Sequence[Record]) -> list[ColumnRecord | None]:
    """The columns of records that the main table shows."""
    return [
        record["columns"].get(name) for record in records for name in list_main_columns(record["protocol"]).values()
    ]


def format_cost(record: Record, records: Sequence[Record]) -> str:
    """Time of a training step, in steps of ANROT trained clean, measured where one command trained both.

    Elsewhere "(2.89)", its passes of the encoder in those of a clean step (`episode_loss.compute_cost_limit`).
    """
    if record["training"].get("pretraining_steps"):  # a step of its pre-training is no episode
        return "-"
    reference = {r["row"]: r for r in records}.get("anrot-clean")
    if reference is not None and _have_one_run(record, reference):
        seconds, base = (r["training"].get("seconds_per_step") for r in (record, reference))
        if seconds is not None and base is not None:
            return f"{seconds / base:.2f}"
    limit = record["training"].get("cost_limit")
    return "-" if limit is None else f"({limit:.2f})"


def _have_one_run(first: Record, second: Record) -> bool:
    """Whether one command trained both; a record that a notebook has just made names no run."""
    if "run" not in first or "run" not in second:
        return "run" not in first and "run" not in second
    a, b = first["run"], second["run"]
    if "also" in a or "also" in b:  # the record does not state which command trained it
        return False
    return (a["command"], a["commit"], a["device"]) == (b["command"], b["commit"], b["device"])


def count_seconds(record: Record) -> float | None:
    """Seconds of training, pre-training included; None for a net that was trained elsewhere."""
    training = record["training"]
    return training["seconds"] + training.get("pretraining_seconds", 0.0) if "seconds" in training else None


def make_table(records: Sequence[Record]) -> Table:
    """(headings, rows) of the main table of one experiment."""
    records = sort_records(records)
    columns = list_main_columns(records[0]["protocol"])
    place = list(columns)[2]  # strong attacks stand beside PGD
    columns = {
        heading: name
        for key, value in columns.items()
        for heading, name in ({key: value} | (list_suite_columns(records) if key == place else {})).items()
    }
    headings = ["", *columns, "step cost", "training"]
    rows = []
    for record in records:
        values = [format_column(record["columns"].get(name)) for name in columns.values()]
        seconds = count_seconds(record)
        duration = "-" if seconds is None else f"{seconds:.0f} s"
        rows.append([title_row(record), *values, format_cost(record, records), duration])
    return headings, rows


def title_row(record: Record) -> str:
    """The title of a record's method, with what must be known of its numbers: transductive, seen, unknown origin."""
    marks = " (transductive)" if record["transductive"] else ""
    marks += " (SEEN CLASSES)" if "seen" in record else ""
    marks += " (ORIGIN UNKNOWN)" if "unknown_origin" in record else ""
    return title_method(record["row"]) + marks + describe_overstatement(record)


def describe_training(record: Record) -> str:
    """How long the net of a record was trained and on what, as a part of a sentence that begins with a comma."""
    steps = count_trained(record)
    stages = [("pre-trained", count_pretrained(record)), ("trained", steps)]
    trained = "".join(f", {verb} for {n} steps" for verb, n in stages if n)
    if "size" in record["training"]:
        trained = f"{trained or ', trained'} on images of {record['training']['size']} px"
    if "shot" in record["training"] and steps:  # classification draws no support set
        trained = f"{trained or ', trained'} with {record['training']['shot']} support images a class"
    return trained


CLOSE = "test classes of a kind that the net has seen under another name"


def write_caption(record: Record, trained: str | None = None) -> str:
    """What a table of this experiment is about, in one line: data, protocol, episodes, hashes, device.

    trained  what it says of the training; None: what the record says. "" where the lines of a table differ in it.
    """
    data, budget, recipe = record["data"], record["budget"], record["protocol"]
    trained = describe_training(record) if trained is None else trained
    seen = record.get("seen")
    warning = (
        ""
        if seen is None
        else (
            f"NO FEW-SHOT ACCURACY: {seen['trained_classes']} test classes trained the net, {seen['selected_classes']} "
            f"selected it, {seen['images']} test images are among those; "
        )
    )
    if "unknown_origin" in record:
        warning += "nobody knows whether the net was trained on these classes; "
    if record["manifest"]["split"] != "test":
        warning += f"classes of the split {record['manifest']['split']}, for a choice: no test; "
    without = data.get("without", [])
    left = f" without {', '.join(without)}, which the net has seen" if without else ""
    close = f"; {CLOSE}: {', '.join(record['close'])}" if "close" in record else ""
    return (
        f"{warning}{data['name']}{left}, {data['size']} px, {recipe['way']}-way {recipe['shot']}-shot, "
        f"preset {budget['preset']}; "
        f"{record['manifest']['n_tasks']} clean episodes of {budget['clean_query']} queries a class, attacked and "
        f"noisy columns on the first {budget['attacked_tasks']} with {budget['attacked_query']}; encoder "
        f"{budget['encoder']}{trained}; split {data['split_hash'][:10]}, manifest "
        f"{record['manifest']['hash'][:10]}; {record['run']['device']}{_describe_surrogate(record)}{close}"
    )


def _describe_surrogate(record: Record) -> str:
    """How good the surrogate of the transfer columns is, or why there is no such column; nothing in older records."""
    for column in record["columns"].values():
        about = column.get("surrogate", {})
        if "accuracy" in about:
            return "; the surrogate of the transfer attack " + str(
                Quality(about["accuracy"], about["images"], about["classes"])
            )
    return "".join(f"; no column {name!r}: {reason}" for name, reason in record.get("left_out", {}).items())


def describe_former_steps(records: Sequence[Record]) -> str:
    """Which rows of a table have a worst case by former adaptive steps, which found less; nothing if none has."""
    rows = {
        title_method(record["row"]): None
        for record in sort_records(records)
        for column in record["columns"].values()
        if "suite" in column and column.get("rule") != choose_rule(column["suite"], column["threat"]["target"])
    }
    return f"; strong attacks by former adaptive steps, which found less: {', '.join(rows)}" if rows else ""


def describe_fewer(records: Sequence[Record]) -> str:
    """On how many episodes the worst cases of the main table stand, where on fewer than its other attacked columns."""
    fewer = {
        (heading, len(record["columns"][name]["correct"]))
        for record in records
        for heading, name in list_suite_columns(records).items()
        if name in record["columns"] and len(record["columns"][name]["correct"]) < record["budget"]["attacked_tasks"]
    }
    return "".join(f"; {heading} on the first {n}" for heading, n in sorted(fewer))


def describe_peak(records: Sequence[Record]) -> str:
    """How much memory the processes held that wrote these records, for a caption; nothing if not all say it."""
    peaks = [record["run"].get("peak_gib") for record in records]
    known = [peak for peak in peaks if peak is not None]
    return f"; at most {max(known):.1f} GiB of memory" if len(known) == len(peaks) else ""


def compute_differences(records: Sequence[Record], reference: str) -> Table:
    """Paired differences to a row on the same episodes, in points, with their 95 % t-intervals."""
    by_row = {record["row"]: record for record in records}
    if reference not in by_row:
        raise UserError(f"there is no record of {reference!r} to compare with; there are {', '.join(by_row)}")
    base = by_row[reference]
    columns = list_main_columns(base["protocol"])
    headings = [f"difference to {title_method(reference)}", *columns]
    rows = []
    for record in sort_records(records):
        if record["row"] == reference or record["manifest"]["hash"] != base["manifest"]["hash"]:
            continue
        cells = [format_difference(base["columns"].get(c), record["columns"].get(c)) for c in columns.values()]
        rows.append([title_method(record["row"]), *cells])
    return headings, rows


def format_difference(first: ColumnRecord | None, second: ColumnRecord | None) -> str:
    """ "-2.2 ± 0.4": second - first in points, over the episodes that both have; "-" without one of them."""
    if first is None or second is None:
        return "-"
    n = min(len(first["correct"]), len(second["correct"]))  # the first tasks of a manifest are the same
    difference = compare_paired(compute_accuracies(first)[:n], compute_accuracies(second)[:n], bootstrap=False)
    return f"{difference.mean:+z.1f} ± {difference.half_width:.1f}"


def format_text(headings: list[str], rows: list[list[str]]) -> str:
    """Plain text with aligned columns, for a terminal, which no name of a stranger's file can command."""
    headings, *rows = ([escape_control(cell) for cell in line] for line in (headings, *rows))
    widths = [max(len(line[k]) for line in (headings, *rows)) for k in range(len(headings))]
    lines = [
        "  ".join(cell.ljust(width) if k == 0 else cell.rjust(width) for k, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in (headings, *rows))
    ]
    return "\n".join(line.rstrip() for line in (lines[0], "-" * len(lines[0]), *lines[1:]))


def escape_cell(text: str) -> str:
    """A cell on one line, without the signs that end a cell or begin a mark of a page."""
    return " ".join(text.replace("|", r"\|").replace("<!--", "&lt;!--").split("\n"))


def format_markdown(headings: list[str], rows: list[list[str]], numbers: bool = True) -> str:
    """numbers: whether all columns but the first are numbers, and stand at the right. No cell ends a cell or a mark."""
    headings, *rows = ([escape_cell(cell) for cell in line] for line in (headings, *rows))
    lines = [headings, ["---"] + ["---:" if numbers else "---"] * (len(headings) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
