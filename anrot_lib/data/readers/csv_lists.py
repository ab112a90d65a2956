"""Reader for a folder of images with csv files that say the class, and maybe the split, of each."""

import csv
import os
from pathlib import Path

from anrot_lib.core.errors import UserError
from anrot_lib.data.readers.items import SPLIT_OF, Item, Source, plain_name, walk

COLUMNS = {
    "file": ("filename", "file", "image", "path"),
    "label": ("label", "class", "class_name"),
    "split": ("split", "set", "phase"),
}


def csv_files(folder: Path) -> list[Path]:
    """The csv files of a folder: train, val and test alone if they are there, else all."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() == ".csv")
    parts = [p for p in files if p.stem.lower() in SPLIT_OF]
    order = ("train", "val", "test")
    return sorted(parts, key=lambda p: order.index(SPLIT_OF[p.stem.lower()])) or files


def read_csv(folder: Path) -> Source:
    """images/*.jpg with train.csv, val.csv and test.csv, or one csv with a column "split".

    The csv files have the columns filename and label; a filename is looked for in images/, then
    beside the csv file. A listed image that is missing becomes an item with that problem.
    """
    files = csv_files(folder)
    if not files:
        raise UserError(f"{folder} has no csv file with the columns filename and label")
    items = [item for path in files for item in _read_one(path)]
    _refuse_repeats(folder, items)
    listed = {item.path for item in items}
    ignored = [
        plain_name((where / name).relative_to(folder).as_posix())
        for where, names in walk(folder)
        for name in names
        if where / name not in listed and where / name not in files
    ]
    n_classes = len({item.class_name for item in items})
    summary = f"{', '.join(p.name for p in files)}: {len(items)} images of {n_classes} classes"
    if ignored:
        summary += f"; {len(ignored)} files that they do not list were passed over"
    return Source(folder, "csv", summary, tuple(items), tuple(ignored))


def _read_one(path: Path) -> list[Item]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a csv file in UTF-8: {error}") from None
    if not rows:
        raise UserError(f"{path} lists no image; it needs the columns filename and label")
    columns = {what: _column(rows[0], names) for what, names in COLUMNS.items()}
    for what in ("file", "label"):
        if columns[what] is None:
            raise UserError(f"{path} has no column {COLUMNS[what][0]!r}; it needs filename and label")
    return [_item(path, number, row, columns) for number, row in enumerate(rows, 2)]


def _column(row: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((key for key in row if key and key.strip().lower() in names), None)


def _item(path: Path, line: int, row: dict[str, str], columns: dict[str, str | None]) -> Item:
    file, label = ((row[columns[what] or ""] or "").strip() for what in ("file", "label"))
    if not file or not label:
        raise UserError(f"{path}, line {line}: the filename or the label is empty")
    image, problem = _locate(path, file)
    split = _split(path, line, row, columns["split"])
    return Item(plain_name(label), plain_name(file), image, split=split, problem=problem)


def _split(path: Path, line: int, row: dict[str, str], column: str | None) -> str | None:
    """The split column if there is one, else what the file is called, if that is a split."""
    name = (row[column] or "") if column else path.stem
    split = SPLIT_OF.get(name.strip().lower())
    if column and split is None:
        raise UserError(f"{path}, line {line}: unknown split {name!r}; it is train, val or test")
    return split


def _locate(path: Path, file: str) -> tuple[Path, str]:
    """The image that a line names, and what is wrong with it."""
    folder = path.parent
    if os.path.isabs(file) or os.path.normpath(file).startswith(".."):
        return folder / "outside", f"{path.name} names a file outside of the folder"
    for candidate in (folder / "images" / file, folder / file):
        if candidate.is_file():
            return candidate, ""
    return folder / file, f"{path.name} lists it, but it is missing"


def _refuse_repeats(folder: Path, items: list[Item]) -> None:
    """UserError if an image is listed twice: it would be in two classes, or count double."""
    first: dict[Path, Item] = {}
    for item in items:
        other = first.setdefault(item.path, item)
        if other is not item and not item.problem:
            labels = f"{other.class_name!r} and {item.class_name!r}"
            raise UserError(f"{folder}: {item.file!r} is listed twice, as {labels}; keep one line")
