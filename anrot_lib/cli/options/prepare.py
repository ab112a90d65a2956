"""TODO."""

from pathlib import Path
from typing import Any

from anrot_lib.core.units import fraction


def _prepare(verbs: Any) -> None:
    prepare = verbs.add_parser(
        "prepare",
        help="check a folder of images and pack it, or pack a perturbed copy of a set",
        description="Class folders (with or without train/val/test), images + csv, mini-ImageNet pickles, "
        "cifar-100-python, Omniglot, tieredImageNet, CUB, or any folder with one folder of images a class.",
    )
    prepare.add_argument("source", nargs="?", help="the folder; or, with --perturb, the name of a prepared set")
    prepare.add_argument("--name", help="name of the prepared set (default: the folder's)")
    prepare.add_argument("--size", type=int, default=32, help="side of the stored images in pixels (default 32)")
    prepare.add_argument("--layout", default="auto", help="how the folder is laid out (default: found out)")
    prepare.add_argument(
        "--split",
        default="auto",
        help="auto, folders, random, or mini-imagenet, tiered-imagenet, cifar-fs, fc100, omniglot, cub-100-50-50, ...",
    )
    prepare.add_argument("--seed", type=int, default=0, help="of a random split, or of a perturbation")
    prepare.add_argument("--on-bad", default="error", choices=("error", "quarantine"), help="unreadable images")
    prepare.add_argument("--on-duplicates", default="error", choices=("error", "quarantine", "report"))
    prepare.add_argument("--rotations", action="store_true", help="turned classes as new ones (Omniglot)")
    prepare.add_argument("--download", choices=("cifar100", "omniglot"), help="fetch a set first, through torchvision")
    prepare.add_argument("--dry-run", action="store_true", help="say what was found, how long it takes, and stop")
    prepare.add_argument("--perturb", choices=("noise", "fgsm", "transfer"), help="store a perturbed copy of a set")
    prepare.add_argument("--eps", type=fraction, help="radius of fgsm or transfer, such as 8/255")
    prepare.add_argument("--sigma", type=float, help="strength of the noise")
    prepare.add_argument("--checkpoint", type=Path, help="the net that fgsm attacks")
