"""Read what people have on disk: find out the layout of a folder, and list its images.

`read` returns a Source: an Item for every image (class, name, where to read it) that nothing has
decoded yet. `prepare` turns a Source into a packed ImageSet.
"""

import csv
from collections.abc import Callable
from pathlib import Path

from anrot_lib.core.errors import UserError
from anrot_lib.data.readers.catalogue import CATALOGUE, download
from anrot_lib.data.readers.csv_lists import COLUMNS, csv_files, read_csv
from anrot_lib.data.readers.folders import (
    omniglot_sides,
    read_cub,
    read_folders,
    read_omniglot,
    read_split_folders,
    split_folders,
    unwrap,
)
from anrot_lib.data.readers.items import Item, Source, add_rotations
from anrot_lib.data.readers.pickles import cifar_folder, mini_pickles, read_cifar100, read_mini_pickle
from anrot_lib.data.readers.tiered import read_tiered, tiered_files

__all__ = ["CATALOGUE", "LAYOUTS", "Item", "Source", "detect", "download", "read"]
__all__ += ["add_rotations"]

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")

# how to read each layout, and how to recognise it; the first that fits is taken
LAYOUTS: dict[str, tuple[Callable[[Path], Source], Callable[[Path], bool]]] = {
    "cifar100": (read_cifar100, lambda folder: cifar_folder(folder) is not None),
    "pickle": (read_mini_pickle, lambda folder: bool(mini_pickles(folder))),
    "tiered": (read_tiered, lambda folder: bool(tiered_files(folder))),
    "omniglot": (read_omniglot, lambda folder: bool(omniglot_sides(folder))),
    "cub": (read_cub, lambda folder: _is_cub(folder)),
    "split-folders": (read_split_folders, lambda folder: bool(split_folders(unwrap(folder)))),
    "csv": (read_csv, lambda folder: any(_names_images(path) for path in csv_files(folder))),
    "folders": (read_folders, lambda folder: True),
}


def read(source: Path | str, layout: str = "auto") -> Source:
    """List the images of a folder in one of the LAYOUTS, recognised for "auto".

    `summary` of the answer says in a sentence what the folder was taken for. Raises UserError for a
    missing or empty folder, an archive, an unknown layout, a folder that does not have the layout
    asked for, and one without a single image.
    """
    folder = _folder(Path(source).expanduser())
    layout = detect(folder) if layout == "auto" else layout
    if layout not in LAYOUTS:
        raise UserError(f"unknown layout {layout!r}; the layouts are auto, {', '.join(LAYOUTS)}")
    listed = LAYOUTS[layout][0](folder)
    if not listed.items:
        n = len(listed.ignored)
        raise UserError(f"no image found in {folder} ({n} files of other kinds, read as {layout})")
    return listed


def detect(folder: Path) -> str:
    """The name of the first layout that a folder fits; "folders" if none."""
    return next(name for name, (_, fits) in LAYOUTS.items() if fits(folder))


def _folder(source: Path) -> Path:
    """The folder itself; UserError says what else it is."""
    if not source.exists():
        raise UserError(f"there is no folder {source}; check the path")
    if not source.is_dir():
        hint = "unpack it" if source.suffix.lower() in ARCHIVES else "name the folder that holds it"
        raise UserError(f"{source} is a file, not a folder of images; {hint} first")
    try:
        names = [path.name for path in source.iterdir()]
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror}") from None
    if not names:
        raise UserError(f"the folder {source} is empty; point to the folder that holds the images")
    if {"set.json", "images.npy"} <= set(names):
        raise UserError(f"{source} is a packed image set already; use it as it is")
    return source


def _is_cub(folder: Path) -> bool:
    """CUB_200_2011 comes with the lists images.txt and classes.txt beside its images."""
    places = (folder, folder / "CUB_200_2011")
    return any((p / "images").is_dir() and (p / "classes.txt").is_file() for p in places)


def _names_images(path: Path) -> bool:
    """Does a csv file have the columns of a list of images? Others lie about in many folders."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header = {str(name).strip().lower() for name in next(csv.reader(file), [])}
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return all(header & set(COLUMNS[what]) for what in ("file", "label"))
