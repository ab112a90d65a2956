"""TODO."""

from typing import Any

from anrot_lib.cli.options.shared import _data
from anrot_lib.core.units import fraction


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
