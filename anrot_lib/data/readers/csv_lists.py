"""Reader for a folder of images with lists that say the class, or the part of the split, of each."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from anrot_lib.core.errors import UserError, escape_control
from anrot_lib.data.readers.class_folders import refuse_twins
from anrot_lib.data.readers.folders import list_classes, unwrap
from anrot_lib.data.readers.items import Item, Source, is_image, list_subfolders, make_plain_name, walk
from anrot_lib.data.readers.split_names import name_parts, read_list_part
from anrot_lib.data.readers.tables import (
    SUFFIXES,
    Entry,
    find_by_header,
    find_columns,
    has_parts,
    read_entries,
    read_table,
)

FOLDERS = {
    "split",
    "splits",
    "data_split",
    "list",
    "lists",
    "filelist",
    "filelists",
    "csv",
    "labels",
    "annotations",
    "meta",
}
TABLES = (".csv", ".tsv")
OTHER_FORMS = (
    ".yaml", ".yml", ".jsonl", ".ndjson", ".toml", ".xml", ".xlsx", ".xls", ".ods", ".mat", ".npz", ".npy", ".pkl",
    ".pickle", ".p", ".h5", ".hdf5", ".parquet", ".feather", ".sqlite", ".db",
)  # fmt: skip


class ImageLists(NamedTuple):
    """The lists of a folder: which are read, and which are not understood."""

    root: Path  # where their file names begin
    files: list[Path]
    parts: dict[Path, str]  # of a split; empty for lists that are called like none
    unread: dict[Path, str]  # with the reason

    @property
    def unread_split(self) -> dict[Path, str]:
        """Lists that are called like a split or hold one, and were not understood, with the reason."""
        return {path: why for path, why in self.unread.items() if _is_split_list(path) or has_parts(path)}

    def describe_unread(self) -> str:
        """The end of a sentence that names what was not understood; "" for nothing."""
        names = ", ".join(path.name for path in self.unread)
        return f"; {names} was not understood as a list of images" if names else ""


def find_lists(folder: Path) -> ImageLists:
    """The lists of images in a folder: those called train, val and test if they are there, else every csv list."""
    unread: dict[Path, str] = {}
    others: ImageLists | None = None
    roots = _chain(folder)
    for root in roots:
        for place in (root, *(p for p in list_subfolders(root) if p.name.casefold() in FOLDERS)):
            good = _understood(place, root, unread)
            if parts := _split_lists(good, place):
                return ImageLists(root, list(parts), parts, unread)
            if tables := [p for p in good if p.suffix.lower() in TABLES]:
                others = others or ImageLists(root, tables, {}, unread)
    deep = _find_deep_lists(roots[-1], unread)
    if len(deep) == 1:
        return ImageLists(roots[-1], list(deep[0]), deep[0], unread)
    for parts in deep:
        place = next(iter(parts)).parent
        unread |= {path: f"{place} is one of {len(deep)} folders with lists of a split" for path in parts}
    return others or ImageLists(folder, [], {}, unread)


def _understood(place: Path, root: Path, unread: dict[Path, str]) -> list[Path]:
    """The lists of images right in a folder; reasons why others are none are added to `unread`."""
    files = sorted(p for p in place.iterdir() if p.suffix.lower() in (*SUFFIXES, *OTHER_FORMS) and p.is_file())
    reasons = {path: why for path in files if (why := _fault(path, root))}
    unread |= {p: why for p, why in reasons.items() if _is_split_list(p) or p.suffix.lower() in TABLES or has_parts(p)}
    return [path for path in files if path not in reasons]


def _find_deep_lists(root: Path, unread: dict[Path, str]) -> list[dict[Path, str]]:
    """The lists of a split in folders with other names or further down, {file: part} for each folder of some."""
    deep = []
    for where, names in walk(root):
        named = [
            where / n for n in names if n.lower().endswith((*SUFFIXES, *OTHER_FORMS)) and _is_split_list(where / n)
        ]
        files = [path for path in named if path not in unread and path.is_file()]
        reasons = {path: why for path in files if (why := _fault(path, root))}
        unread |= reasons
        if parts := _split_lists([path for path in files if path not in reasons], where):
            deep.append(parts)
    return deep


def _chain(folder: Path) -> list[Path]:
    """The folder, and the folders on the way to the first that holds more than one (archives)."""
    last = unwrap(folder)
    return [folder, *reversed([p for p in (last, *last.parents) if folder in p.parents])]


def _is_split_list(path: Path) -> bool:
    return read_list_part(path.stem) is not None or "split" in path.stem.casefold()


def _split_lists(files: list[Path], place: Path) -> dict[Path, str]:
    """The lists of train, val and test, in this order, with their part."""
    named = [p for p in files if read_list_part(p.stem) is not None]
    if len({read_list_part(p.stem) for p in named}) > 1:
        named = [p for p in named if "trainval" not in p.stem.casefold().replace("_", "")] or named
    parts = name_parts([p.stem for p in named], place, lists=True)
    order = ("train", "val", "test")
    return {path: parts[path.stem] for path in sorted(named, key=lambda p: order.index(parts[p.stem]))}


def _fault(path: Path, root: Path) -> str:
    """Why a file is not a list of images, or "". A list with the right header may still have a faulty line."""
    if path.suffix.lower() in OTHER_FORMS:
        return f"{path} is no csv, txt or json file"
    try:
        if path.suffix.lower() == ".json":
            read_entries(path)
            return ""
        table = read_table(path)
        if {"file", "label"} <= find_by_header(table.header).keys():
            return ""
        columns = find_columns(table, path)
        if "file" not in columns:
            known = {make_plain_name(where.name) for where, _ in walk(root)}
            for number, row in table.rows:
                if row[columns["label"]].replace("\\", "/").rsplit("/", 1)[-1] not in known:
                    return (
                        f"{path}, line {number}: {row[columns['label']]!r} is neither an image nor a folder of images"
                    )
    except UserError as error:
        return str(error)
    return ""


def read_csv(folder: Path) -> Source:
    """images/*.jpg with lists train, val and test (csv or txt), or one csv list with a column "split".

    A list has the columns filename and label, under the usual names, or a column of classes whose folders hold the
    images. A listed image that is missing becomes an item with that problem. UserError with the line that is wrong.
    """
    lists = find_lists(folder)
    files = lists.files or [p for p in lists.unread if p.suffix.lower() in TABLES]
    if not files:
        raise UserError(f"{folder} has no csv file with the columns filename and label")
    entries = [(path, entry) for path in files for entry in read_entries(path, lists.parts.get(path))]
    refuse_twins(sorted({entry.label for _, entry in entries}), f"{folder}: the classes")
    tree = Tree(lists.root)
    items = [item for path, entry in entries for item in tree.items_of(path, entry)]
    _refuse_repeats(folder, items)
    listed = {item.path for item in items}
    ignored = [make_plain_name(name) for name, path in tree.paths.items() if path not in listed and path not in files]
    n_classes = len({item.class_name for item in items})
    summary = f"{', '.join(p.name for p in files)}: {len(items)} images of {n_classes} classes"
    if ignored:
        summary += f"; {len(ignored)} files that they do not list were passed over"
    unread = tuple(lists.unread_split.values())
    return Source(lists.root, "csv", escape_control(summary), tuple(items), tuple(ignored), unread=unread)


class Tree:
    """The files below a folder, to look up what a list calls them."""

    def __init__(self, root: Path):
        self.root = root
        self.paths: dict[str, Path] = {}
        for where, names in walk(root):
            prefix = "".join(f"{part}/" for part in where.relative_to(root).parts)
            self.paths |= {prefix + name: where / name for name in names}
        self.classes: dict[str, list[Item]] | None = None

    def items_of(self, path: Path, entry: Entry) -> list[Item]:
        """The image of a line, or the images of its class."""
        if not entry.file:
            return [item._replace(split=entry.split) for item in self._class(path, entry)]
        image, problem = self.locate(path, entry)
        return [
            Item(make_plain_name(entry.label), make_plain_name(entry.file), image, split=entry.split, problem=problem)
        ]

    def _class(self, path: Path, entry: Entry) -> list[Item]:
        if self.classes is None:
            self.classes = defaultdict(list)
            images = unwrap(self.root / "images" if (self.root / "images").is_dir() else self.root)
            for item in list_classes(images, self.root).items:
                for name in {item.class_name, item.class_name.rsplit("/", 1)[-1]}:
                    self.classes[name].append(item)
        members = self.classes.get(make_plain_name(entry.label), [])
        if not members:
            raise UserError(f"{path}, line {entry.line}: {entry.label!r} is neither an image nor a folder of images")
        return members

    def locate(self, path: Path, entry: Entry) -> tuple[Path, str]:
        """The image that a line names, and what is wrong with it."""
        file = entry.file.replace("\\", "/")
        name = "/".join(part for part in file.split("/") if part not in ("", "."))
        if ".." in name.split("/") or "\0" in name:
            return self.root / "outside", f"{path.name} names a file outside of the folder"
        for candidate in self._candidates(path, name, entry):
            if candidate in self.paths:
                return self.paths[candidate], ""
        if file.startswith("/") or ":" in file:  # of another machine: the longest tail that is here
            parts = name.split("/")
            tails = ["/".join(parts[k:]) for k in range(1, len(parts))]
            tail = next((c for t in tails for c in (f"images/{t}", t) if c in self.paths), None)
            return (
                (self.paths[tail], "")
                if tail
                else (self.root / "outside", f"{path.name} names a file outside of the folder")
            )
        alike = self.by_name.get(name, [])
        if len(alike) == 1:
            return alike[0], ""
        problem = "but several files are called so" if alike else "but it is missing"
        return self.root / file, f"{path.name} lists it, {problem}"

    @cached_property
    def by_name(self) -> dict[str, list[Path]]:
        """The files that are called so, with or without what follows the last dot."""
        files: dict[str, list[Path]] = defaultdict(list)
        for path in self.paths.values():
            for name in {path.name, path.stem}:
                files[name].append(path)
        return files

    def _candidates(self, path: Path, name: str, entry: Entry) -> Iterator[str]:
        """Where the file may lie, the likeliest place first."""
        beside = "" if path.parent == self.root else f"{path.parent.name}/"
        places = ("images/", "", *((beside, f"{beside}images/") if beside else ()))
        suffixes = ("",) if is_image(name) else ("", ".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
        inner = [name, f"{entry.label}/{name}"]
        if entry.split:
            inner += [f"{entry.split}/{name}", f"{entry.split}/{entry.label}/{name}"]
        return (place + text + suffix for text in inner for place in places for suffix in suffixes)


def _refuse_repeats(folder: Path, items: list[Item]) -> None:
    """UserError if an image is listed twice: it would be in two classes, or count double."""
    first: dict[Path, Item] = {}
    for item in items:
        other = first.setdefault(item.path, item)
        if other is not item and not item.problem:
            labels = f"{other.class_name!r} and {item.class_name!r}"
            raise UserError(f"{folder}: {item.file!r} is listed twice, as {labels}; keep one line")
