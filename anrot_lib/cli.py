"""The command line: `anrot VERB`, also `python -m anrot_lib VERB`. Parsing and printing only; the work is elsewhere."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anrot_lib import __version__, ranking_options, settings
from anrot_lib.errors import UserError

# Heads beyond the table, as the help names them.
OTHER_METHODS = (
    "easyfsl:NAME; several levels: mml, mml-wasserstein2, mml-hellinger, mml-2022, adm; one level: dn4 (pixels), part, "
    "distribution-kl, distribution-wasserstein2, distribution-hellinger, ...; any combination, and its fusion: "
    "levels:NAME+NAME, levels:NAME+NAME@zscore"
)

WHAT_TO_TIME = ("step", "episodes", "reconstruction", "levels", "ranking")


def fraction(text: str) -> float:
    """A number or k/255, as people write eps."""
    try:
        top, _, bottom = text.partition("/")
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a fraction such as 8/255") from None


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


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="anrot",
        description="Few-shot classification that stands up to attacks and noise: train, attack, measure.",
        epilog="Start with: anrot run    (a few minutes on two cores; then: anrot run --data FOLDER --preset laptop)",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    run = verbs.add_parser("run", help="train and test all rows of the table, print it, write records and curves")
    _common(run)
    run.add_argument(
        "--rows", nargs="+", help=f"rows to run: prototypes published hela-vfa anrot-clean anrot, or {OTHER_METHODS}"
    )
    run.add_argument("--reconstruct", action="store_true", help="then also what `anrot reconstruct` does")
    _recipe(run)

    train = verbs.add_parser("train", help="train one net and write its checkpoint")
    _common(train)
    train.add_argument(
        "--method",
        default="anrot",
        help=f"prototypes, cosine, published, hela-vfa, anrot (default), variational, {OTHER_METHODS}",
    )
    train.add_argument("--out", type=Path, help="where the checkpoint goes")
    _recipe(train)

    evaluate = verbs.add_parser("evaluate", help="test a checkpoint: clean, under attack, under noise")
    evaluate.add_argument("checkpoint", type=Path)
    _common(evaluate)

    predict = verbs.add_parser("predict", help="name your own photos, from a folder of examples a class")
    predict.add_argument("checkpoint", type=Path)
    predict.add_argument("--support", type=Path, required=True, help="a folder that holds one folder of photos a class")
    predict.add_argument("--query", type=Path, required=True, help="a photo, or a folder of photos, to be named")
    predict.add_argument("--json", action="store_true", help="print JSON instead of a table")

    _prepare(verbs)
    _levels(verbs)
    _reconstruct(verbs)
    ranking_options.retrieve(verbs)
    report = verbs.add_parser("report", help="redraw the tables of README.md and the figures from the result records")
    report.add_argument("--check", action="store_true", help="change nothing; exit code 1 if something is out of date")
    report.add_argument(
        "--site",
        type=Path,
        nargs="?",
        const=Path("site"),
        metavar="FOLDER",
        help="write notebooks, tables and API reference as HTML pages (default folder: site)",
    )
    bench = verbs.add_parser(
        "bench", help="time a training step, 10,000 clean episodes, an autoencoder, levels, ranking under attack"
    )
    bench.add_argument("what", nargs="?", choices=WHAT_TO_TIME, default="step")
    bench.add_argument("--size", type=int, help="side of the images, for the first three (episodes: 84, else 32)")
    bench.add_argument("--repeats", type=int)
    return parser


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


def _levels(verbs: Any) -> None:
    verb = verbs.add_parser(
        "levels",
        help="what pixels, parts and distributions add to each other, on one encoder, clean and under attack",
        description="One encoder a shot and seed, trained on pixels alone; then 15 combinations of levels on its "
        "feature maps, fused by weights fitted to validation episodes, all tested on the same episodes.",
    )
    _data(verb)
    group = verb.add_argument_group("study")
    group.add_argument("--way", type=int, default=5)
    group.add_argument("--shots", type=int, nargs="+", help="one table each (default: 5 1, smoke: 5)")
    group.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the encoders; --seed is of the episodes")
    group.add_argument("--variants", nargs="+", help="some of: pixel part kl wasserstein2 hellinger pixel+part ...")
    group.add_argument("--encoder", help="default: conv64f")
    group.add_argument("--episodes", type=int, help="length of training (default: the preset's)")
    group.add_argument("--tasks", type=int, help="clean test episodes")
    group.add_argument("--attacked-tasks", type=int, help="attacked test episodes")
    group.add_argument("--eps", type=fraction, help="radius of the strong attacks, such as 8/255 (default)")


def _reconstruct(verbs: Any) -> None:
    verb = verbs.add_parser(
        "reconstruct",
        help="autoencoders that differ in their divergence, and how far their images are from the originals",
        description="Exit code 3: paused by --minutes; the same command goes on.",
    )
    _data(verb)
    group = verb.add_argument_group("models")
    group.add_argument("--divergences", nargs="+", help="kl wasserstein2 hellinger2 (default), bhattacharyya hellinger")
    group.add_argument("--beta", type=fraction, help="weight of the divergence at which all seeds are trained")
    group.add_argument("--betas", type=fraction, nargs="*", help="further betas, for the first seed")
    group.add_argument("--seeds", type=int, nargs="+", default=[0])
    group.add_argument("--model", help="published or small (default: the preset's)")
    group.add_argument("--train-images", type=int)
    group.add_argument("--epochs", type=int, help="of training; the learning rate falls to 0 over them")
    group.add_argument("--learning-rate", type=float)
    test = verb.add_argument_group("testing")
    test.add_argument("--test-images", type=int)
    test.add_argument(
        "--extractor",
        default="own",
        help="own (default: the preset's encoder, trained on the base classes), inception, or a file: "
        ".pth (Inception), .npz (MobileNet v1), .pt2 (torch.export), .pt (a net of train)",
    )
    test.add_argument("--extractor-size", type=int, help="side to which images are resized for it")
    test.add_argument("--extractor-sha256", help="hash of Inception weights that are not the published ones")
    test.add_argument("--download", action="store_true", help="fetch the Inception weights if they are not there")
    test.add_argument(
        "--decode", nargs="+", default=["sample", "mean"], help="from a sample of the posterior, its mean"
    )
    test.add_argument("--resamples", type=int, default=50, help="of the bootstrap")
    verb.add_argument("--minutes", type=float, help="stop after so long, to go on later")


def recipe_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The recipe's fields that the command line sets."""
    names = ("clean", "adversarial", "noisy", "hesim", "learning_rate", "schedule", "two_views", "mix")
    changes = {name: getattr(arguments, name, None) for name in (*names, "attention", "pretrain", "attack_steps")}
    changes["eps"] = getattr(arguments, "train_eps", None)
    changes["augment"] = tuple(arguments.augment) if getattr(arguments, "augment", None) else None
    if sigma := getattr(arguments, "train_sigma", None):
        changes |= {"sigma_low": sigma[0], "sigma_high": sigma[1]}
    return changes | {"seed": arguments.seed}


def budget_of(arguments: argparse.Namespace) -> settings.Budget:
    budget = settings.preset(arguments.preset)
    tasks = arguments.tasks
    return settings.change(
        budget,
        size=arguments.size,
        encoder=arguments.encoder,
        episodes=arguments.episodes,
        precision=arguments.compute,
        attacked_tasks=tasks,
        curve_tasks=None if tasks is None else min(tasks, budget.curve_tasks),
        validate_every=None if arguments.episodes is None else max(1, min(budget.validate_every, arguments.episodes)),
    )


def protocol_of(arguments: argparse.Namespace) -> settings.Protocol:
    protocol = settings.Protocol(way=arguments.way, shot=arguments.shot, seed=arguments.seed)
    step = None if arguments.eps is None else arguments.eps / 4
    return settings.change(protocol, eps=arguments.eps, step=step, sigma=arguments.sigma)


UNREACHABLE = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError, FileNotFoundError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 a mistake of the user in one sentence, 130 interrupted.

    arguments: None for those of this process, whose arithmetic and memory are then set for speed.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parsed = build_parser().parse_args(arguments)
    from anrot_lib import (  # torch only now, so that --help answers at once
        commands,
        devices,
        level_commands,
        paths,
        ranking_commands,
        reconstruct_commands,
    )

    verbs = commands.VERBS | level_commands.VERBS | reconstruct_commands.VERBS | ranking_commands.VERBS
    if arguments is None:  # a process of our own: what holds for all of it
        devices.flush_denormals()
        if parsed.verb != "prepare":  # which trains nothing, and is to stay small
            devices.keep_memory()
    try:
        code = verbs[parsed.verb](parsed)
        return code or (reconstruct_commands.after_run(parsed) if getattr(parsed, "reconstruct", False) else 0)
    except UserError as error:
        print(f"anrot: {error}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError) as error:
        if paths.is_full(error):
            said = "what was there before stands; make room, and the same command goes on from the last checkpoint"
            print(f"anrot: the disk is full; {said}", file=sys.stderr)
        elif isinstance(error, UNREACHABLE) and error.filename is not None:
            print(f"anrot: cannot read or write {error.filename}: {error.strerror}", file=sys.stderr)
        else:
            raise
        return 2
    except KeyboardInterrupt:
        print("anrot: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
