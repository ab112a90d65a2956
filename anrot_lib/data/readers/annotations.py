"""A part of a split that is one folder of images with a list of their classes: tiny-imagenet-200's val."""

from pathlib import Path

from anrot_lib.core.errors import UserError
from anrot_lib.data.readers.items import Item, is_image, list_subfolders, make_plain_name, name_folder, walk
from anrot_lib.data.readers.split_names import read_list_part
from anrot_lib.data.readers.tables import SUFFIXES, Entry, read_entries, read_table


def read_annotations(part: Path, root: Path, split: str) -> tuple[list[Item], list[str]]:
    """Items of the images below `part` whose class a list in it names, and the names of the other files."""
    labels = _labels(part, root, split)
    items, ignored = [], []
    for where, files in walk(part):
        prefix = name_folder(where, root)
        for file in files:
            shown = prefix + make_plain_name(file)
            if file in labels:
                items.append(Item(make_plain_name(labels[file]), shown, where / file, split=split))
            else:
                ignored.append(shown)
    return items, ignored


def _labels(part: Path, root: Path, split: str) -> dict[str, str]:
    """{file name: class} of the first list that names classes of the images of a part.

    It lies in the folder of the part, in one of images below, or beside the part under a name such as val_annotations.
    """
    inside = [path for place in (part, *list_subfolders(part)) for path in sorted(place.iterdir())]
    beside = [path for path in sorted(root.iterdir()) if read_list_part(path.stem) == split]
    for path in (*inside, *beside):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            try:
                entries = _entries(path)
            except UserError:
                continue
            labels = {entry.file.replace("\\", "/").rsplit("/", 1)[-1]: entry.label for entry in entries}
            if labels and all(map(is_image, labels)):
                return labels
    return {}


def _entries(path: Path) -> list[Entry]:
    table = read_table(path)
    if table.header or path.suffix.lower() == ".json":
        return read_entries(path)
    return [Entry(row[0], row[1], None, n) for n, row in table.rows if len(row) > 1]  # file, class, then perhaps a box
