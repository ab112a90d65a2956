"""The image set that a name or a folder stands for."""

from pathlib import Path

from anrot_lib.core import paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import counting_bar
from anrot_lib.data import image_set as image_sets
from anrot_lib.data.embedded.names import open_embedded
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.preparation import assemble
from anrot_lib.data.preparation.prepare import prepare
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.settings import FIGURES, SIZES, Budget


def open_images(
    name: str,
    budget: Budget,
    split: str = "auto",
    seed: int = 0,
    on_bad: str = "error",
    on_duplicates: str = "error",
    packs: bool = True,
) -> ImageSet:
    """The images to train, validate and test on, of the size that the budget says.

    name   that of an embedded set ("omniglot-300", "synthetic") or of a prepared one, or a folder, which is prepared on
           the way; how, say split, seed, on_bad and on_duplicates.
    packs  whether a folder may be prepared.

    Raises UserError if there is no such set, its images have another size, or a split has no classes.
    """
    folder = Path(name).expanduser()
    if name in SIZES:
        image_set = _check_size(open_embedded(name), budget.size, "leave out --size")
    elif name == FIGURES:
        image_set = synthetic(budget.classes, budget.per_class, budget.size)
    elif (paths.packed_dir() / name / "set.json").is_file():
        image_set = _load_prepared(name, budget.size)
    elif not folder.is_dir():
        known = sorted(path.parent.name for path in paths.packed_dir().glob("*/set.json"))
        raise UserError(
            f"--data {name}: no such folder, and no prepared set of that name (there are: {known or 'none'})"
        )
    elif not packs:
        raise UserError(
            f"{folder} is not prepared yet, and --dry-run writes nothing; "
            f"first: anrot prepare {folder} --size {budget.size}"
        )
    else:
        title = assemble.make_set_name(folder.resolve().name) if split in ("auto", "folders", "random") else split
        title = f"{title}-{budget.size}"
        if seed and split in ("auto", "random"):  # a random split hangs on the seed: another seed, another set
            title = f"{title}-seed{seed}"
        with counting_bar(f"prepare {title}") as progress:
            image_set = prepare(
                folder,
                name=title,
                size=budget.size,
                split=split,
                seed=seed,
                on_bad=on_bad,
                on_duplicates=on_duplicates,
                progress=progress,
            )
    for part in ("train", "val", "test"):
        if part not in image_set.splits:
            raise UserError(f"the set {image_set.name!r} has no {part} classes; prepare it with --split random")
    return image_set


def _load_prepared(name: str, size: int) -> ImageSet:
    again = f"add --size {{stored}}, or prepare it again with --size {size}"
    return _check_size(image_sets.load(paths.packed_dir() / name), size, again)


def _check_size(image_set: ImageSet, size: int, advice: str) -> ImageSet:
    """The set, if its images have this size. UserError with the advice, in which {stored} is their size, if not."""
    stored = image_set.images.shape[1]
    if stored != size:
        kind = "embedded" if image_set.name in SIZES else "prepared"
        raise UserError(
            f"the {kind} set {image_set.name!r} holds images of {stored} px, the run wants {size}; "
            f"{advice.format(stored=stored)}"
        )
    return image_set
