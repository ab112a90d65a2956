"""Lists of images as people write them: csv with any separator and encoding, with or without a header, txt, json."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anrot_lib.core.errors import UserError
from anrot_lib.data.readers.items import is_image
from anrot_lib.data.readers.split_names import read_list_part, read_part

SUFFIXES = (".csv", ".tsv", ".txt", ".lst", ".list", ".json")
MOST_BYTES = 1 << 28  # of a list; more is no list
COLUMNS = {  # the names of a column, the surest first
    "file": "filename file_name image_name imagename image_path img_path img_name filepath file_path image_file file "
    "image img path image_id img_id id",
    "label": "class_name classname category_name label_name class_label label class category species breed "
    "labels target",
    "split": "split set phase subset partition usage fold",
}
FLAG = re.compile(r"(?:(?:is|for|in|used_for)_?)?(.+)")  # is_train, used_for_test
TRUE, FALSE = {"1", "true", "yes", "y", "t", "x"}, {"0", "false", "no", "n", "f", ""}


class Entry(NamedTuple):
    """One line of a list: an image file, or a whole class if `file` is empty."""

    file: str
    label: str
    split: str | None
    line: int


class Table(NamedTuple):
    header: list[str]  # normalised column names; empty if the file has none
    rows: list[tuple[int, list[str]]]  # line number, cells


def read_table(path: Path) -> Table:
    """The cells of a csv, tsv or txt file in UTF-8, UTF-16 or Latin-1, with , ; tab | or spaces between them."""
    text = _read_text(path)
    while text.startswith(("#", "sep=")) and "\n" in text:
        text = text.split("\n", 1)[1]  # a remark, or what a spreadsheet says of itself
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return Table([], [])
    separator = _separator(lines[:50])
    try:
        cells = _split_by_spaces(text) if separator is None else _split_by_separator(text, separator)
        rows = [(n, row) for n, row in cells if any(row)]
    except csv.Error as error:
        raise UserError(f"{path} is not a csv file: {error}") from None
    names = [re.sub(r"[\s.\-]+", "_", cell.strip().casefold()) for cell in rows[0][1]]
    known = {name for names in COLUMNS.values() for name in names.split()}
    if set(names) & known and not any(is_image(cell) for cell in rows[0][1]):
        return Table(names, rows[1:])
    return Table([], rows)


def _read_text(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} is no list of images: it is no regular file, or larger than {MOST_BYTES >> 20} MiB")
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    if b"\0" in raw:
        raise UserError(f"{path} is not a text file: it holds zero bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _separator(lines: Sequence[str]) -> str | None:
    """The separator that stands in all lines, the one that stands there most often; None for spaces."""
    common = {s: min(line.count(s) for line in lines) for s in ("\t", ";", ",", "|")}
    best = max(common, key=lambda s: common[s])
    return best if common[best] else None


def _split_by_separator(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    for row in reader:
        yield reader.line_num, [cell.strip() for cell in row]


def _split_by_spaces(text: str) -> Iterator[tuple[int, list[str]]]:
    """ "photo 1.jpg 3" is a file and a label; other lines are one cell."""
    for number, line in enumerate(text.splitlines(), 1):
        image = re.fullmatch(r"(.*\.\w{2,4})\s+(\S+)", line.strip())
        yield number, [image[1], image[2]] if image and is_image(image[1]) else [line.strip()]


def find_columns(table: Table, path: Path) -> dict[str, int]:
    """{file, label or split: number of its column}, by the header, else by what the cells look like.

    UserError that says what is missing: a list needs a file and a label, or a class and its split.
    """
    if not table.rows:
        raise UserError(f"{path} lists no image; it needs the columns filename and label")
    columns = find_by_header(table.header) if table.header else _find_by_content(table, path)
    if "split" not in columns:
        columns |= _find_flags(table, columns)
    named_part = read_list_part(path.stem) is not None
    others = len(table.header) - len(columns) if table.header else 0
    if "file" in columns and ("label" in columns or not others):
        return columns
    if "label" in columns and "file" not in columns and (named_part or "split" in columns):
        return columns  # whole classes
    missing = "label" if "file" in columns else "filename"
    raise UserError(f"{path} has no column {missing!r}; it needs filename and label")


def has_parts(path: Path) -> bool:
    """Whether a column of a table names parts of a split, whatever the table and the column are called."""
    if path.suffix.lower() not in SUFFIXES or path.suffix.lower() == ".json":
        return False
    try:
        rows = read_table(path).rows
    except UserError:
        return False
    width = min((len(row) for _, row in rows), default=0)
    columns = [{read_part(row[c]) for _, row in rows[1:]} for c in range(width)]  # the first may be a header
    return width > 1 and any(len(parts) > 1 and None not in parts for parts in columns)


def find_by_header(header: list[str]) -> dict[str, int]:
    """{file, label or split: number of its column} by the names of the columns."""
    columns = {}
    for what, names in COLUMNS.items():
        place = next((header.index(name) for name in names.split() if name in header), None)
        if place is not None:
            columns[what] = place
    return columns


def _find_flags(table: Table, columns: dict[str, int]) -> dict[str, int]:
    """{"is train": number of its column} and so on: columns of 0 and 1, or no and yes, that say the part of a split."""
    flags: dict[str, int] = {}
    for c, name in enumerate(table.header):
        part = read_part(re.sub(FLAG, r"\1", name))
        if part and c not in columns.values():
            cells = {row[c].casefold() if c < len(row) else "" for _, row in table.rows}
            flags |= {f"is {part}": c} if cells <= TRUE | FALSE else {}
    return flags


def _find_by_content(table: Table, path: Path) -> dict[str, int]:
    width = min(len(row) for _, row in table.rows)
    columns: dict[str, int] = {}
    others: dict[int, list[str]] = {}
    for c in range(width):
        cells = [row[c] for _, row in table.rows]
        if "file" not in columns and all(map(is_image, cells)):
            columns["file"] = c
        elif "split" not in columns and width > 1 and all(read_part(cell) for cell in cells):
            columns["split"] = c
        elif any(cells):
            others[c] = cells
    if others:
        columns["label"] = _choose_label(others, table, columns, path)
    return columns


def _choose_label(others: dict[int, list[str]], table: Table, columns: dict[str, int], path: Path) -> int:
    """Which of the columns without a header is the label: the folder of the file, the only text, or no line number.

    UserError if two of them may be.
    """
    if "file" in columns:
        folders = [_parent(row[columns["file"]]) for _, row in table.rows]
        if same := [c for c, cells in others.items() if cells == folders]:
            return same[0]
    number = re.compile(r"[-+]?[\d.]+")
    texts = [c for c, cells in others.items() if not all(map(number.fullmatch, cells))]
    left = texts or [c for c, cells in others.items() if len(set(cells)) < len(cells)] or list(others)
    if len(left) > 1:
        places = " and ".join(str(c + 1) for c in left)
        raise UserError(
            f"{path}: any of the columns {places} may be the label; name the columns in a first line, such as "
            "filename,label"
        )
    return left[0]


def read_entries(path: Path, part: str | None = None) -> list[Entry]:
    """The lines of a list, of a part of a split unless they say it themselves; by default what the file's name says.

    UserError, with the line, for one that is not understood.
    """
    part = part or read_list_part(path.stem)
    if path.suffix.lower() == ".json":
        return _read_json(path, part)
    table = read_table(path)
    columns = find_columns(table, path)
    return [_entry(path, number, row, columns, part) for number, row in table.rows]


def _entry(path: Path, line: int, row: list[str], columns: dict[str, int], part: str | None) -> Entry:
    cells = {what: row[c] if c < len(row) else "" for what, c in columns.items()}
    file, label = cells.get("file", ""), cells.get("label", "")
    if ("file" in cells and not file) or ("label" in cells and not label):
        raise UserError(f"{path}, line {line}: the filename or the label is empty")
    if "label" not in cells:
        label = _parent(file)
        if not label:
            raise UserError(f"{path}, line {line}: {file!r} has no label and lies in no class folder")
    flags = {what.removeprefix("is "): cell.casefold() in TRUE for what, cell in cells.items() if what[:3] == "is "}
    split = read_part(cells["split"]) if "split" in cells else _read_flags(flags) if flags else part
    if split is None and "split" in cells:
        raise UserError(f"{path}, line {line}: unknown split {cells['split']!r}; it is train, val or test")
    if split is None and flags:
        raise UserError(f"{path}, line {line}: its columns say no part of the split; give one in a column split")
    return Entry(file, label, split, line)


def _read_flags(flags: dict[str, bool]) -> str | None:
    if len(flags) == 1 and not flags.get("val", True):
        return None
    if len(flags) == 1 and not any(flags.values()):
        return "train" if "test" in flags else "test"
    true = [part for part, flag in flags.items() if flag]
    return true[0] if len(true) == 1 else None


def _parent(file: str) -> str:
    parts = file.replace("\\", "/").split("/")
    return parts[-2] if len(parts) > 1 and parts[-2] not in (".", "..", "images") else ""


def _read_json(path: Path, part: str | None) -> list[Entry]:
    """The lists of CloserLookFewShot (base.json ...): label_names, image_names and image_labels."""
    try:
        content: Any = json.loads(_read_text(path))
        names, files, labels = (content[key] for key in ("label_names", "image_names", "image_labels"))
        return [
            Entry(str(file), str(names[_index(label, names)]), part, n)
            for n, (file, label) in enumerate(zip(files, labels, strict=True), 1)
        ]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        raise UserError(f"{path} is no list with label_names, image_names and image_labels") from None


def _index(label: Any, names: Sequence[str]) -> int:
    if not isinstance(label, int) or not 0 <= label < len(names):
        raise ValueError(label)
    return label
