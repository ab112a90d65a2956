"""Readers for images as files in folders: a folder a class, with or without train, val and test."""

from pathlib import Path

from anrot_lib.core.errors import UserError
from anrot_lib.data.readers.items import SPLIT_OF, Item, Source, is_image, plain_name, subfolders, walk

OMNIGLOT_SIDES = ("images_background", "images_evaluation")


def unwrap(folder: Path) -> Path:
    """The folder itself, or the only folder in it as long as nothing else is there (archives)."""
    while len(inside := subfolders(folder)) == 1 and not _has_images(folder):
        if not subfolders(inside[0]):
            break
        folder = inside[0]
    return folder


def _has_images(folder: Path) -> bool:
    return any(is_image(path.name) for path in folder.iterdir() if path.is_file())


def split_folders(folder: Path) -> dict[str, Path]:
    """train, val and test folders, if every subfolder is one of them and holds folders itself.

    A class may well be called "train", beside "bus" and "bicycle": then there are other folders.
    """
    inside = subfolders(folder)
    parts = {SPLIT_OF.get(path.name.lower(), path.name): path for path in inside}
    order = [split for split in ("train", "val", "test") if split in parts]
    whole = len(parts) == len(inside) > 1 and set(parts) <= set(SPLIT_OF.values())
    return {s: parts[s] for s in order} if whole and all(map(subfolders, inside)) else {}


def list_classes(folder: Path, root: Path, split: str | None = None) -> tuple[list[Item], list[str]]:
    """Items of all images below a folder, and the names of the files that are none.

    A class is a folder that holds images; it is named by its path below `folder`, without a last
    part "images" (<class>/images/*.jpg). File names are relative to `root`.
    """
    items, ignored = [], []
    for where, files in walk(folder):
        parts = [plain_name(part) for part in where.relative_to(folder).parts]
        name = "/".join(parts[:-1] if len(parts) > 1 and parts[-1] == "images" else parts)
        for file in files:
            shown = plain_name((where / file).relative_to(root).as_posix())
            if name and is_image(file):
                items.append(Item(name, shown, where / file, split=split))
            else:
                ignored.append(shown)
    return items, ignored


def read_folders(folder: Path) -> Source:
    """<class>/*.jpg; class folders may lie in group folders (superclass, alphabet)."""
    folder = unwrap(folder)
    if _has_images(folder) and not subfolders(folder):
        raise UserError(
            f"{folder} holds images, but no folder for each class and no csv file that names their "
            "classes; put the images of every class into a folder of its own"
        )
    items, ignored = list_classes(folder, folder)
    return _source(folder, "folders", "a folder for each class", items, ignored)


def read_split_folders(folder: Path) -> Source:
    """train|val|test/<class>/*.jpg; also named base, valid, validation and novel."""
    folder = unwrap(folder)
    parts = split_folders(folder)
    if not parts:
        raise UserError(f"{folder} has no folders train, val and test with a folder a class in each")
    items, ignored = [], []
    for split, path in parts.items():
        members, others = list_classes(path, folder, split)
        items += members
        ignored += others
    what = f"folders {', '.join(path.name for path in parts.values())} with a folder for each class"
    return _source(folder, "split-folders", what, items, ignored)


def read_cub(folder: Path) -> Source:
    """CUB_200_2011/images/<class>/*.jpg, or its images folder alone."""
    folder = unwrap(folder)
    images = next((p for p in (folder / "images", folder / "CUB_200_2011/images") if p.is_dir()), folder)
    items, ignored = list_classes(images, images)
    return _source(images, "cub", "CUB, a folder for each bird", items, ignored)


def omniglot_sides(folder: Path) -> list[Path]:
    return [folder / side for side in OMNIGLOT_SIDES if (folder / side).is_dir()]


def read_omniglot(folder: Path) -> Source:
    """images_background and images_evaluation/<alphabet>/<character>/*.png, 1 channel.

    A class is "alphabet/character", and "alphabet" is a further label level.
    """
    sides = omniglot_sides(folder)
    if not sides:
        raise UserError(f"{folder} has neither images_background nor images_evaluation (Omniglot)")
    items, ignored = [], []
    for side in sides:
        members, others = list_classes(side, folder)
        items += [item._replace(levels=(item.class_name.split("/")[0],)) for item in members]
        ignored += others
    summary = _say("Omniglot, characters in folders of their alphabets", items, ignored)
    return Source(folder, "omniglot", summary, tuple(items), tuple(ignored), ("alphabet",), 1)


def _source(folder: Path, layout: str, what: str, items: list[Item], ignored: list[str]) -> Source:
    """A source of class folders; folders of class folders give the further level "group"."""
    grouped = bool(items) and all("/" in item.class_name for item in items)
    if grouped:
        items = [item._replace(levels=(item.class_name.rsplit("/", 1)[0],)) for item in items]
    level_names = ("group",) if grouped else ()
    summary = _say(what, items, ignored)
    return Source(folder, layout, summary, tuple(items), tuple(ignored), level_names)


def _say(what: str, items: list[Item], ignored: list[str]) -> str:
    """What the folder was taken for, in one sentence."""
    n_classes = len({item.class_name for item in items})
    passed = f"; {len(ignored)} files that are no images were passed over" if ignored else ""
    return f"{what}: {len(items)} images of {n_classes} classes{passed}"
