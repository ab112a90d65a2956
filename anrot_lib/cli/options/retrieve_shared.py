"""TODO."""

import argparse
from typing import Any

NAME_HELP = "dataset:model:loss, such as fashion:rc2f2ghmetsm:ptripletN or cub:rres18ghmetsmi:ptripletN"


def where_images_are(parser: argparse.ArgumentParser) -> Any:
    """Options that say which images, shared by all actions that look at some."""
    group = parser.add_argument_group("images")
    group.add_argument(
        "--data",
        help="a folder: of IDX files for mnist and fashion, in its published layout for cub, cars, sop; "
        "else a folder of images or the name of a prepared set",
    )
    group.add_argument("--download", action="store_true", help="fetch mnist or fashion first, through torchvision")
    group.add_argument(
        "--split", default="auto", help="of a prepared set: set (its own classes), halves (first half trains) or auto"
    )
    group.add_argument("--limit-images", type=int, help="at most so many training and test images, evenly by class")
    return group
