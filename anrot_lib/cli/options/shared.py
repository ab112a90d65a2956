"""TODO."""

import argparse
from typing import Any

from anrot_lib.core.units import fraction


def _data(parser: argparse.ArgumentParser) -> Any:
    group = parser.add_argument_group("what to run on")
    group.add_argument(
        "--data",
        default="synthetic",
        help="'synthetic' (the embedded set, default), the name of a prepared set, or a folder of images",
    )
    group.add_argument("--size", type=int, help="side of the images in pixels (default: the preset's)")
    group.add_argument(
        "--split", default="auto", help="class split of a folder given by --data (see: anrot prepare -h)"
    )
    group.add_argument("--on-duplicates", default="error", choices=("error", "quarantine", "report"))
    group.add_argument("--on-bad", default="error", choices=("error", "quarantine"))
    group.add_argument("--preset", help="smoke (default), laptop or paper: sizes and lengths")
    group.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    group.add_argument("--seed", type=int, default=0)
    group.add_argument("--compute", choices=("auto", "fp32", "bf16"), help="arithmetic of training (default: preset's)")
    group.add_argument("--tag", default="", help="a word appended to the name of the results' folder")
    group.add_argument("--reference", action="store_true", help="write to data/results instead of data/runs")
    group.add_argument("--dry-run", action="store_true", help="say what would be done, how long it takes, and stop")
    return group


def _common(parser: argparse.ArgumentParser) -> None:
    group = _data(parser)
    group.add_argument("--way", type=int, default=5)
    group.add_argument("--shot", type=int, default=5)
    group.add_argument("--encoder", help="resnet12_anrot, resnet12, conv4, conv64f or tiny (default: the preset's)")
    group.add_argument("--episodes", type=int, help="length of training in episodes (default: the preset's)")
    test = parser.add_argument_group("testing")
    test.add_argument("--eps", type=fraction, help="radius of the attacks, such as 8/255 (default)")
    test.add_argument("--sigma", type=float, help="strength of the noise column, in units of the pixel range")
    test.add_argument("--tasks", type=int, help="attacked test episodes (default: the preset's)")
    test.add_argument("--columns", nargs="+", help="columns to test, by first words: clean FGSM PGD-20 noise curve ...")
    test.add_argument("--precision", type=float, metavar="POINTS", help="choose the clean episodes for this half-width")


def _recipe(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recipe")
    group.add_argument("--clean", type=float, help="share of clean queries in the loss")
    group.add_argument("--adversarial", type=float, help="share of adversarial queries")
    group.add_argument("--noisy", type=float, help="share of noisy queries")
    group.add_argument("--train-eps", type=fraction, help="radius of the training attack, such as 8/255")
    group.add_argument("--attack-steps", type=int, help="1: FGSM with a random start (default); more: PGD")
    group.add_argument(
        "--train-sigma", type=float, nargs=2, metavar=("LOW", "HIGH"), help="range of the training noise"
    )
    group.add_argument("--hesim", type=float, help="weight of the Hesim loss")
    group.add_argument("--learning-rate", type=float)
    group.add_argument("--schedule", choices=("cosine", "constant"))
    group.add_argument("--augment", nargs="+", help="flip rotate90 color_jitter blur")
    group.add_argument(
        "--two-views", action="store_true", default=None, help="a jittered, blurred view beside the image"
    )
    group.add_argument("--mix", choices=("mixup", "cutmix"))
    group.add_argument("--attention", action=argparse.BooleanOptionalAction, help="the encoder's gates on or off")
    group.add_argument("--pretrain", action="store_true", default=None, help="classical pre-training first")
