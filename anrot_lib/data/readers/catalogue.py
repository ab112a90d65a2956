"""The usual few-shot sets: size, terms, homepage; and the downloads of those that allow it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from anrot_lib.core import paths, torchvision_compat
from anrot_lib.core.errors import UserError


class Known(NamedTuple):
    title: str
    classes: int
    images: int
    licence: str
    homepage: str


_IMAGENET = "ImageNet terms: non-commercial research and education"
_CIFAR = "no licence stated; cite Krizhevsky 2009"

CATALOGUE: dict[str, Known] = {
    "mini-imagenet": Known(
        "mini-ImageNet (Vinyals et al. 2016; classes of Ravi & Larochelle 2017)",
        100, 60_000, _IMAGENET, "https://image-net.org",
    ),
    "tiered-imagenet": Known(
        "tieredImageNet (Ren et al. 2018)", 608, 779_165, _IMAGENET, "https://image-net.org"
    ),
    "cifar-fs": Known(
        "CIFAR-FS: CIFAR-100 split by classes (Bertinetto et al. 2019)",
        100, 60_000, _CIFAR, "https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "fc100": Known(
        "FC100: CIFAR-100 split by superclasses (Oreshkin et al. 2018)",
        100, 60_000, _CIFAR, "https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
    "omniglot": Known(
        "Omniglot (Lake et al. 2015)", 1623, 32_460, "MIT", "https://github.com/brendenlake/omniglot"
    ),
    "cub": Known(
        "CUB-200-2011 (Wah et al. 2011)", 200, 11_788, "non-commercial research and education",
        "https://www.vision.caltech.edu/datasets/cub_200_2011/",
    ),
}  # fmt: skip


def describe_known(split_name: str, n_images: int) -> dict[str, str]:
    """Title, licence and homepage of the set that a standard split belongs to; empty if unknown.

    With a note if the number of images is another one: results on a cut, or on another edition
    (CUB-200 of 2010), cannot be set beside published ones.
    """
    entry = CATALOGUE.get("cub" if split_name.startswith("cub-") else split_name)
    if entry is None:
        return {}
    known = {"title": entry.title, "licence": entry.licence, "url": entry.homepage}
    if n_images == entry.images:
        return known
    note = f"{n_images} images where the published set has {entry.images}: not comparable with it"
    return known | {"note": note}


def _fetch_cifar100(folder: Path) -> Path:
    datasets = torchvision_compat.load_torchvision().datasets
    datasets.CIFAR100(str(folder), download=True)
    return folder / "cifar-100-python"


def _fetch_omniglot(folder: Path) -> Path:
    datasets = torchvision_compat.load_torchvision().datasets
    for background in (True, False):
        datasets.Omniglot(str(folder), background=background, download=True)
    return folder / "omniglot-py"


DOWNLOADS: dict[str, Callable[[Path], Path]] = {
    "cifar100": _fetch_cifar100,
    "omniglot": _fetch_omniglot,
}


def download(name: str) -> Path:
    """Fetch a set into paths.raw_dir() with torchvision, which checks its md5; return its folder.

    Only ever called when the user asks for it. A set that is there already is checked, not fetched
    again. UserError for a set that cannot be fetched, without a network, and for a wrong md5.
    """
    if name not in DOWNLOADS:
        known = ", ".join(DOWNLOADS)
        raise UserError(f"{name!r} cannot be downloaded, only {known}; get it from its homepage")
    folder = paths.raw_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return DOWNLOADS[name](folder)
    except (OSError, RuntimeError) as error:  # no route, refused, cut off, or a wrong md5
        reason = getattr(error, "reason", None) or error
        raise UserError(
            f"{name} could not be downloaded to {folder} ({reason}); check the network, or get the "
            "set by other means and prepare it from its folder"
        ) from None
