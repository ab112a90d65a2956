"""The options of `anrot retrieve`. Loads no torch, so that --help answers at once."""

import argparse
from pathlib import Path
from typing import Any

from anrot_lib.cli.options import retrieve_attack
from anrot_lib.cli.options.retrieve_shared import NAME_HELP, where_images_are


def retrieve(verbs: Any) -> None:
    """The verb with its actions: each a subparser made by a function here, and run by `ranking_commands.ACTIONS`."""
    verb = verbs.add_parser("retrieve", help="robust metric learning: train a ranking model, attack it, score it")
    actions = verb.add_subparsers(dest="action", required=True, metavar="ACTION")
    _train(actions)
    retrieve_attack.add(actions)


def _train(actions: Any) -> None:
    from anrot_lib.core.units import fraction  # which imports this module

    train = actions.add_parser(
        "train",
        help="train a ranking model and write its checkpoint and record",
        description="The defaults follow from the name. A run that was stopped goes on with the same command.",
    )
    train.add_argument("-C", "--config", required=True, metavar="NAME", help=NAME_HELP)
    where_images_are(train)
    group = train.add_argument_group("recipe (defaults: the published ones of the name)")
    group.add_argument("--epochs", type=int, help="passes over the training images; 0: the net as it begins")
    group.add_argument("--batch", type=int, help="pairs in a batch")
    group.add_argument("--learning-rate", type=float)
    group.add_argument("--weight-decay", type=float)
    group.add_argument("--margin", type=float, help="of the triplet loss")
    group.add_argument("--eps", type=fraction, help="radius of the training attack, such as 8/255")
    group.add_argument("--step", type=fraction, help="length of one step of the attack, such as 1/255")
    group.add_argument("--eta", type=int, help="steps of the attack (32 for 28 px, 8 for 224 px)")
    group.add_argument(
        "--destination", help="hardness to aim at: lga, lga2, lga0.5, boost, a miner (r m s d h) or a number in [-2, 2]"
    )
    group.add_argument("--structure-weight", type=float, help="of the intra-class structure loss")
    group.add_argument("--size", type=int, help="side that the net sees, for 224 px backbones")
    group.add_argument("--freeze-bn", action=argparse.BooleanOptionalAction, help="batch norms keep their statistics")
    group.add_argument(
        "--weights", help="file with the state of torchvision's ImageNet classifier, or 'imagenet' to fetch it"
    )
    group.add_argument("--pretrain-epochs", type=int, help="of the classifier that stands in for missing weights")
    group.add_argument("--parity", choices=("fixed", "robrank"), help="robrank: with the oddities of the original code")
    group.add_argument("--seed", type=int, default=0)
    run = train.add_argument_group("run")
    run.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    run.add_argument("--compute", default="auto", choices=("auto", "fp32", "bf16"), help="arithmetic of training")
    run.add_argument("--attack-precision", choices=("fp32", "bf16"), help="arithmetic of the attack (default fp32)")
    run.add_argument("--evaluate-every", type=int, help="epochs between two tests (1 for 28 px, 5 for 224 px)")
    run.add_argument("--tag", default="", help="a word appended to the name of checkpoint and record")
    run.add_argument("--out", type=Path, help="where the checkpoint goes")
    run.add_argument("--reference", action="store_true", help="write to data/results instead of data/runs")
    run.add_argument("--dry-run", action="store_true", help="time a few steps, say how long it takes, and stop")
