"""Read what people have on disk: find out the layout of a folder, and list its images.

`read` returns a Source: an Item for every image (class, name, where to read it) that nothing has
decoded yet. `prepare` turns a Source into a packed ImageSet.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from anrot_lib.core.errors import UserError
from anrot_lib.data.readers.class_folders import refuse_twins
from anrot_lib.data.readers.csv_lists import find_lists, read_csv
from anrot_lib.data.readers.folders import (
    find_omniglot_sides,
    read_class_folders,
    read_cub,
    read_folders,
    read_omniglot,
    read_split_folders,
    split_folders,
    unwrap,
)
from anrot_lib.data.readers.idx import find_idx_pairs, read_idx_folder
from anrot_lib.data.readers.items import Source, is_hidden
from anrot_lib.data.readers.labelled_pickles import find_labelled_pickles, read_labelled_pickles
from anrot_lib.data.readers.pickles import find_cifar_folder, find_mini_pickles, read_cifar100, read_mini_pickle
from anrot_lib.data.readers.split_names import read_list_part
from anrot_lib.data.readers.tiered import find_tiered_files, read_tiered

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
OTHER_FORMS = (
    *ARCHIVES, ".h5", ".hdf5", ".npz", ".npy", ".mat", ".tfrecord", ".tfrecords", ".lmdb", ".mdb", ".parquet", ".arrow",
    ".pt", ".pth", ".pkl", ".pickle",
)  # fmt: skip
FORMS = (
    "folders of images (a folder a class, or train, val and test with a folder a class in each), images with csv or "
    "txt lists, mini-imagenet-cache-*.pkl, pickles {data, labels}, cifar-100-python, tieredImageNet, Omniglot, CUB, IDX"
)

# how to read each layout, and how to recognise it; the first that fits is taken
LAYOUTS: dict[str, tuple[Callable[[Path], Source], Callable[[Path], bool]]] = {
    "cifar100": (read_cifar100, lambda folder: find_cifar_folder(folder) is not None),
    "pickle": (read_mini_pickle, lambda folder: bool(find_mini_pickles(folder))),
    "tiered": (read_tiered, lambda folder: bool(find_tiered_files(folder))),
    "labelled-pickles": (read_labelled_pickles, lambda folder: bool(find_labelled_pickles(folder))),
    "idx": (read_idx_folder, lambda folder: bool(find_idx_pairs(folder))),
    "omniglot": (read_omniglot, lambda folder: bool(find_omniglot_sides(folder))),
    "cub": (read_cub, lambda folder: _is_cub(folder)),
    "split-folders": (read_split_folders, lambda folder: bool(split_folders(unwrap(folder)))),
    "csv": (read_csv, lambda folder: bool(find_lists(folder).files)),
    "folders": (read_folders, lambda folder: True),
}


def read(source: Path | str, layout: str = "auto") -> Source:
    """List the images of a folder in one of the LAYOUTS, recognised for "auto".

    `summary` of the answer says in a sentence what the folder was taken for. "folders" takes every folder of images for
    a class; where "auto" comes to it, sessions of a class are put together, and what may be a split is refused.
    Raises UserError for a missing or empty folder, an archive, an unknown layout, a folder that does not have the
    layout asked for, one without a single image, and two classes of one part whose names differ in case only.
    """
    folder = _folder(source)
    if layout not in ("auto", *LAYOUTS):
        raise UserError(f"unknown layout {layout!r}; the layouts are auto, {', '.join(LAYOUTS)}")
    try:
        listed = LAYOUTS[layout][0](folder) if layout != "auto" else _read_recognised(folder)
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be read: {error.strerror or error}") from None
    if not listed.items:
        raise UserError(_nothing_read(folder, listed))
    for part in {item.split for item in listed.items}:
        refuse_twins(sorted({i.class_name for i in listed.items if i.split == part}), f"{folder}: the classes")
    return listed


def _read_recognised(folder: Path) -> Source:
    layout, below = "folders", folder
    while layout == "folders":  # of an archive, the folder in it
        layout, place = detect(below), below
        inside = list(below.iterdir())
        if len(inside) != 1 or not inside[0].is_dir() or is_hidden(inside[0].name):
            break
        below = inside[0]
    if layout != "folders":
        return LAYOUTS[layout][0](place)
    lists = find_lists(folder)
    not_understood = lists.describe_unread()
    try:
        listed = read_class_folders(folder)
    except UserError as error:
        raise UserError(f"{error}{not_understood}") from None
    summary = listed.summary + (f"{not_understood}, and was passed over" if not_understood else "")
    return replace(listed, unread=tuple(lists.unread_split.values()), not_understood=not_understood, summary=summary)


def detect(folder: Path) -> str:
    """The name of the first layout that a folder fits; "folders" if none."""
    return next(name for name, (_, fits) in LAYOUTS.items() if fits(folder))


def _nothing_read(folder: Path, listed: Source) -> str:
    text = f"no image found in {folder} ({len(listed.ignored)} files of other kinds, read as {listed.layout})"
    others = [name for name in listed.ignored if name.lower().endswith(OTHER_FORMS)]
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        text += f"; {', '.join(others[:3])}{more} cannot be read"
    return f"{text}; what can be read: {FORMS}"


def _folder(source: Path | str) -> Path:
    """The folder itself; UserError says what else it is."""
    try:
        folder = Path(source).expanduser()
        exists, is_folder = folder.exists(), folder.is_dir()
        names = [path.name for path in folder.iterdir()] if is_folder else []
    except (OSError, ValueError, RuntimeError) as error:  # no permission, a name too long, a zero byte, no such user
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{source} cannot be read: {reason}") from None
    if not exists:
        raise UserError(f"there is no folder {folder}; check the path")
    if not is_folder:
        hint = "unpack it" if folder.suffix.lower() in ARCHIVES else "name the folder that holds it"
        raise UserError(f"{folder} is a file, not a folder of images; {hint} first")
    if not names:
        raise UserError(f"the folder {folder} is empty; point to the folder that holds the images")
    if {"set.json", "images.npy"} <= set(names):
        raise UserError(f"{folder} is a packed image set already; use it as it is")
    return folder


def _is_cub(folder: Path) -> bool:
    """CUB_200_2011 comes with classes.txt beside its images; lists of train, val and test are somebody's split."""
    places = (folder, folder / "CUB_200_2011")
    cub = any((p / "images").is_dir() and (p / "classes.txt").is_file() for p in places)
    return cub and not any(read_list_part(path.stem) for path in find_lists(folder).files)
