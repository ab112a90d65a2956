"""The options of `anrot retrieve attack`, `score` and `table`. Loads no torch, so that --help answers at once."""

import argparse
from pathlib import Path
from typing import Any

CHECKS = ("gradient", "restarts", "steps", "eps", "nes", "transfer")
PUBLISHED = ("cub", "cars", "sop", "mnist", "fashion")


def add(actions: Any) -> None:
    """The three actions."""
    _attack(actions)
    _score(actions)
    _table(actions)


def _which(parser: argparse.ArgumentParser) -> None:
    from anrot_lib.cli.options.retrieve_shared import NAME_HELP  # which imports this module

    parser.add_argument("-C", "--config", metavar="NAME", help=NAME_HELP)


def _attack(actions: Any) -> None:
    from anrot_lib.cli.options.retrieve_shared import where_images_are
    from anrot_lib.core.units import fraction

    attack = actions.add_parser(
        "attack",
        help="test a trained ranking model: retrieval, ten attack numbers, the robustness score; writes a record",
        description="Every test image is in the gallery; --queries says how many are attacked. "
        "An attack that was stopped goes on with the same command.",
    )
    _which(attack)
    attack.add_argument("--checkpoint", type=Path, help="the model, where its name fits none or several checkpoints")
    where_images_are(attack)
    group = attack.add_argument_group("attacks")
    group.add_argument("--profile", help="rob28 or rob224, also called cvpr (default: the one of the backbone)")
    group.add_argument("--queries", type=int, help="images to attack, drawn at random (default: all)")
    group.add_argument("--eps", type=fraction, help="radius in place of the profile's, such as 8/255")
    group.add_argument("--steps", type=int, help="steps in place of the profile's 32")
    group.add_argument(
        "--parity",
        default="fixed",
        choices=("fixed", "robrank"),
        help="robrank: as the original code has it",
    )
    group.add_argument("--seed", type=int, default=0, help="of queries and partners")
    more = attack.add_argument_group("more than the score")
    more.add_argument(
        "--checks",
        nargs="*",
        choices=CHECKS,
        metavar="CHECK",
        help=f"in place of the score: is the gradient masked? all of, or some of: {' '.join(CHECKS)}",
    )
    more.add_argument("--other", type=Path, help="checkpoint of another net, for the check 'transfer'")
    more.add_argument("--few-shot", type=int, metavar="TASKS", help="also few-shot accuracy, clean and under attack")
    more.add_argument("--way", type=int, default=5)
    more.add_argument("--shot", type=int, default=5)
    more.add_argument("--head", default="prototypes", help="few-shot head: prototypes, cosine, anrot, hela-vfa, ...")
    more.add_argument("--maps", default="map", choices=("map", "embedding"), help="what the few-shot head sees")
    run = attack.add_argument_group("run")
    run.add_argument("--no-nmi", action="store_true", help="leave out NMI, which takes long for thousands of classes")
    run.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    run.add_argument("--tag", default="", help="a word appended to the name of the record")
    run.add_argument("--reference", action="store_true", help="write to data/results instead of data/runs")
    run.add_argument("--dry-run", action="store_true", help="say how long it takes, and stop")


def _score(actions: Any) -> None:
    score = actions.add_parser("score", help="the robustness score of records, or of ten numbers")
    _which(score)
    score.add_argument("records", nargs="*", type=Path, help="records of attack (default: all, or those of -C)")
    score.add_argument(
        "--numbers",
        nargs=10,
        type=float,
        metavar=("CA+", "CA-", "QA+", "QA-", "TMA", "ES:D", "ES:R", "LTM", "GTM", "GTT"),
        help="ten numbers as tables print them",
    )


def _table(actions: Any) -> None:
    table = actions.add_parser(
        "table", help="the columns of the papers: what was published, and what was measured here"
    )
    _which(table)
    table.add_argument("--set", choices=PUBLISHED, help="rows of this data set only")
    table.add_argument("--markdown", action="store_true")
