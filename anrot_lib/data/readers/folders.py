"""Readers for images as files in folders: a folder a class, with or without folders for train, val and test."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from anrot_lib.core.errors import UserError, escape_control
from anrot_lib.data.readers.annotations import read_annotations
from anrot_lib.data.readers.class_folders import PLAIN, Parts, name_classes, refuse_twins
from anrot_lib.data.readers.items import Item, Source, is_image, list_subfolders, make_plain_name, name_folder, walk
from anrot_lib.data.readers.split_names import find_alike, list_begun_parts, name_parts, read_part

OMNIGLOT_SIDES = ("images_background", "images_evaluation")
Naming = Callable[[Iterable[Parts], object], dict[Parts, Parts]]


class Listing(NamedTuple):
    """Images below a folder, and the names of the files that were passed over."""

    items: list[Item]
    ignored: list[str]


def unwrap(folder: Path) -> Path:
    """The folder itself, or the only folder in it as long as nothing else is there (archives)."""
    while len(inside := list_subfolders(folder)) == 1 and not _has_images(folder):
        if not list_subfolders(inside[0]):
            break
        folder = inside[0]
    return folder


def _has_images(folder: Path) -> bool:
    return any(is_image(path.name) for path in folder.iterdir())


def split_folders(folder: Path) -> dict[str, Path]:
    """{train, val or test: folder} if folders for training and for testing lie beside each other, else {}.

    One of them must hold a folder a class. A class may well be called "train", beside "bus" and "bicycle": then no
    other part is there. UserError for two folders that are called like the same part.
    """
    inside = {path.name: path for path in list_subfolders(folder)}
    if len(inside) < 2 or not find_alike(inside):
        return {}
    holding = [name for name in inside if any(walk_images(inside[name]))]
    parts = {part: inside[name] for name, part in name_parts(holding, folder).items()}
    if "train" not in parts:
        return {}
    order = [part for part in ("train", "val", "test") if part in parts]
    whole = len(order) > 1 and any(_class_folders(parts[part]) for part in order)
    return {part: parts[part] for part in order} if whole else {}


def _class_folders(part: Path) -> bool:
    """Whether a part holds a folder a class: more than a single folder of images, such as val/images."""
    inside = [path for path in list_subfolders(_enter(part)) if any(walk_images(path))]
    return bool(inside) and not (len(inside) == 1 and inside[0].name.casefold() in PLAIN)


def _enter(part: Path) -> Path:
    """The folder that holds the classes: archives often hold theirs twice, seg_train/seg_train, or train/images."""
    inside = list_subfolders(part)
    if len(inside) != 1 or _has_images(part) or not list_subfolders(inside[0]):
        return part
    again = read_part(inside[0].name) == read_part(part.name) or inside[0].name.casefold() in PLAIN
    return _enter(inside[0]) if again else part


def walk_images(folder: Path) -> Iterable[Path]:
    return (where / name for where, names in walk(folder) for name in names if is_image(name))


def list_classes(folder: Path, root: Path, split: str | None = None, naming: Naming | None = None) -> Listing:
    """Items of all images below a folder, and the names of the files that are none.

    A class is a folder that holds images; it is named by its path below `folder`, without a last part "images"
    (<class>/images/*.jpg), or as `naming` says. File names are relative to `root`.
    """
    places = {where.relative_to(folder).parts: (where, files) for where, files in walk(folder)}
    holding = [parts for parts, (_, files) in places.items() if parts and any(map(is_image, files))]
    refuse_twins(["/".join(parts[:n]) for parts in holding for n in range(1, len(parts) + 1)], f"{folder}: the folders")
    classes = (naming or _name_by_path)(holding, folder)
    items, ignored = [], []
    for parts, (where, files) in places.items():
        name = "/".join(make_plain_name(part) for part in classes.get(parts, ()))
        prefix = name_folder(where, root)
        for file in files:
            shown = prefix + make_plain_name(file)
            if name and is_image(file):
                items.append(Item(name, shown, where / file, split=split))
            else:
                ignored.append(shown)
    return Listing(items, ignored)


def _holding(folder: Path) -> list[Parts]:
    """The folders below that hold images, as the names on the way down."""
    places = ((where.relative_to(folder).parts, files) for where, files in walk(folder))
    return [parts for parts, files in places if parts and any(map(is_image, files))]


def _name_by_path(folders: Iterable[Parts], where: object) -> dict[Parts, Parts]:
    return {parts: parts[:-1] if len(parts) > 1 and parts[-1] == "images" else parts for parts in folders}


def read_folders(folder: Path) -> Source:
    """<class>/*.jpg; every folder of images is a class. Class folders may lie in groups (superclass, alphabet)."""
    return _read_folders(unwrap(folder), None)


def read_class_folders(folder: Path) -> Source:
    """The same, but folders of sessions belong to their class, and what may be a split is refused, not mixed."""
    folder = unwrap(folder)
    _refuse_unread_split(folder)
    return _read_folders(folder, name_classes)


def _read_folders(folder: Path, naming: Naming | None) -> Source:
    if _has_images(folder) and not list_subfolders(folder):
        raise UserError(
            f"{folder} holds images, but no folder for each class and no csv file that names their "
            "classes; put the images of every class into a folder of its own"
        )
    what = "a folder for each class"
    if empty := [path.name for path in list_subfolders(folder) if not any(walk_images(path))]:
        what += f"; passed over without images: {', '.join(empty[:8])}"
    return _source(folder, "folders", what, list_classes(folder, folder, naming=naming))


def _refuse_unread_split(folder: Path) -> None:
    """UserError for folders that are called like the parts of a split but cannot be read as one."""
    inside = [path for path in list_subfolders(folder) if any(walk_images(path))]
    parts = [path for path in inside if read_part(path.name)]
    if len({read_part(path.name) for path in parts}) > 1:
        names = " and ".join(repr(path.name) for path in parts)
        raise UserError(
            f"{folder}: the folders {names} look like the parts of a split, but hold no folder for each class; give "
            "the classes in a csv file with the columns filename, label and split, or choose --layout folders, which "
            "takes each of them for a class"
        )
    if len(parts) == 1 and len(inside) > 1 and _class_folders(parts[0]):
        other = next(path.name for path in inside if path != parts[0])
        raise UserError(
            f"{folder}: {parts[0].name!r} looks like a part of a split, and {other!r} beside it does not; call the "
            "parts train, val and test, or choose --layout folders, which takes every folder of images for a class"
        )
    if len(inside) > len(list_begun_parts([path.name for path in inside])) > 1:
        raise UserError(
            f"{folder}: the names of all folders, such as {inside[0].name!r} and {inside[-1].name!r}, say a part of a "
            "split; put those of each part into a folder train, val or test, or choose --layout folders, which takes "
            "every folder of images for a class"
        )
    _refuse_alike_parts(folder, inside)


def _refuse_alike_parts(folder: Path, inside: list[Path]) -> None:
    """UserError for folders of class folders that may be parts of a split: in another language, or further down."""
    alike = [path for path in inside if path.name in find_alike([p.name for p in inside])]
    if sum(map(_class_folders, alike)) > 1:
        names = " and ".join(repr(path.name) for path in alike)
        raise UserError(
            f"{folder}: the folders {names} may be the parts of a split; call them train, val and test, or choose "
            "--layout folders, which takes every folder of images for a class"
        )
    for path in inside:
        if split_folders(path):
            raise UserError(
                f"{folder}: {path.name!r} is split into {' and '.join(p.name for p in split_folders(path).values())}, "
                f"but other folders of images lie beside it; prepare {path}, or choose --layout folders, which takes "
                "every folder of images for a class"
            )
        _refuse_alike_parts(path, list_subfolders(path))


def read_split_folders(folder: Path) -> Source:
    """train|val|test/<class>/*.jpg, under any of the names that `split_names` knows.

    A part may also be val/images/*.jpg with a list of classes beside it (tiny-imagenet-200). Photos without a class,
    and folders beside the parts, are passed over.
    """
    folder = unwrap(folder)
    parts = split_folders(folder)
    if not parts:
        raise UserError(f"{folder} has no folders train, val and test with a folder a class in each")
    items: list[Item] = []
    ignored: list[str] = []
    unlabelled = []
    holding = {split: _holding(_enter(path)) for split, path in parts.items() if _class_folders(path)}
    classes = name_classes({place for places in holding.values() for place in places}, folder)
    for split, path in parts.items():
        if split in holding:
            listing = list_classes(_enter(path), folder, split, lambda folders, _: {f: classes[f] for f in folders})
        else:
            listing = Listing(*read_annotations(path, folder, split))
            _refuse_other_names(path, {i.class_name for i in listing.items}, {c[-1] for c in classes.values()})
            unlabelled += [] if listing.items else [path.name]
        items += listing.items
        ignored += listing.ignored
    what = f"folders {', '.join(path.name for path in parts.values())} with a folder for each class"
    if unlabelled:
        what += f"; images without classes in {', '.join(unlabelled)} were passed over"
    if beside := [path.name for path in list_subfolders(folder) if path not in parts.values()]:
        what += f"; passed over beside them: {', '.join(beside[:8])}"
    return _source(folder, "split-folders", what, Listing(items, ignored))


def _refuse_other_names(part: Path, listed: set[str], names: set[str]) -> None:
    """UserError for a list that numbers the classes which folders name: nobody knows which of them are the same."""
    if listed and all(name.isdecimal() for name in listed) and not any(name.isdecimal() for name in names):
        raise UserError(
            f"{part}: its list calls the classes by numbers, such as {min(listed)!r}, and the other folders by names, "
            f"such as {min(names)!r}; write the names into the list"
        )


def read_cub(folder: Path) -> Source:
    """CUB_200_2011/images/<class>/*.jpg, or its images folder alone."""
    folder = unwrap(folder)
    images = next((p for p in (folder / "images", folder / "CUB_200_2011/images") if p.is_dir()), folder)
    return _source(images, "cub", "CUB, a folder for each bird", list_classes(images, images))


def find_omniglot_sides(folder: Path) -> list[Path]:
    """The folders of background and evaluation that are there; of the background also one of its two small cuts."""
    sides = [folder / side for side in OMNIGLOT_SIDES if (folder / side).is_dir()]
    small = [folder / f"{OMNIGLOT_SIDES[0]}_small{k}" for k in (1, 2)]
    if folder / OMNIGLOT_SIDES[0] in sides or not any(path.is_dir() for path in small):
        return sides
    if all(path.is_dir() for path in small):
        raise UserError(f"{folder}: {small[0].name} and {small[1].name} hold the same drawings; keep one of them")
    return [*(path for path in small if path.is_dir()), *sides]


def read_omniglot(folder: Path) -> Source:
    """images_background and images_evaluation/<alphabet>/<character>/*.png, 1 channel.

    A class is "alphabet/character", and "alphabet" is a further label level.
    """
    sides = find_omniglot_sides(folder)
    if not sides:
        raise UserError(f"{folder} has neither images_background nor images_evaluation (Omniglot)")
    parts = ("train", "test") if len(sides) > 1 else (None,)
    listings = [list_classes(side, folder, part) for side, part in zip(sides, parts, strict=True)]
    items = [i._replace(levels=(i.class_name.split("/")[0],)) for listing in listings for i in listing.items]
    ignored = [name for listing in listings for name in listing.ignored]
    summary = describe("Omniglot, characters in folders of their alphabets", items, ignored)
    return Source(folder, "omniglot", summary, tuple(items), tuple(ignored), ("alphabet",), 1)


def _source(folder: Path, layout: str, what: str, listing: Listing) -> Source:
    """A source of class folders; folders of class folders give the further level "group"."""
    items, ignored = listing
    grouped = bool(items) and all("/" in item.class_name for item in items)
    if grouped:
        items = [item._replace(levels=(item.class_name.rsplit("/", 1)[0],)) for item in items]
    level_names = ("group",) if grouped else ()
    return Source(folder, layout, describe(what, items, ignored), tuple(items), tuple(ignored), level_names)


def describe(what: str, items: list[Item], ignored: list[str]) -> str:
    """What the folder was taken for, in one sentence."""
    n_classes = len({item.class_name for item in items})
    loose = sum(map(is_image, (name.rsplit("/", 1)[-1] for name in ignored)))
    text = f"{what}: {len(items)} images of {n_classes} classes"
    if len(ignored) > loose:
        text += f"; {len(ignored) - loose} files that are no images were passed over"
    if loose:
        text += f"; {loose} images without a class were passed over"
    return escape_control(text)
