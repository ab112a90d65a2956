"""TODO."""

from collections.abc import Callable

from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.heads.contract import Head
from anrot_lib.fewshot.heads.easyfsl import EasyFSLHead
from anrot_lib.fewshot.heads.gaussian import GaussianHead, VariationalHead
from anrot_lib.fewshot.heads.prototypes import Prototypes
from anrot_lib.fewshot.levels import combine


def _published(channels: int) -> Head:
    from anrot_lib.fewshot.heads.published import PublishedHead

    return PublishedHead(channels)


# Method name -> head for an encoder of that width. The names that `--method` and the tables use.
METHODS: dict[str, Callable[[int], Head]] = {
    "prototypes": Prototypes,
    "cosine": lambda c: Prototypes(c, "cosine"),
    "published": _published,
    "hela-vfa": lambda c: GaussianHead(c, "hellinger"),
    "anrot": GaussianHead,
    "variational": VariationalHead,
    "joint-hellinger": lambda c: GaussianHead(c, "joint-hellinger"),
    "gaussian-kl": lambda c: GaussianHead(c, "kl"),
    "gaussian-wasserstein2": lambda c: GaussianHead(c, "wasserstein2"),
    **combine.METHODS,
}


def build_head(method: str, channels: int) -> Head:
    """The head of a method: a name of METHODS, easyfsl:NAME, or levels:NAME+NAME. UserError for anything else."""
    if method.startswith(combine.PREFIX):
        return combine.build(method.removeprefix(combine.PREFIX), channels)
    if method.startswith("easyfsl:"):
        return EasyFSLHead(channels, method.removeprefix("easyfsl:"))
    known = METHODS | combine.OF_IMAGES
    if method not in known:
        raise UserError(
            f"unknown method {method!r}; choose one of {', '.join(known)}, or easyfsl:NAME, or levels:NAME+NAME"
        )
    return known[method](channels)
