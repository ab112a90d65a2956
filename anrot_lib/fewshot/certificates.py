"""What a certificate is asked for: settings that the command line offers, in a module that loads no torch."""

import math
from dataclasses import dataclass
from typing import Annotated

from anrot_lib.core.configs import check_at_least, check_at_most, check_types
from anrot_lib.core.errors import UserError
from anrot_lib.core.options import Option

NOISY = ("query", "both")  # images that carry the noise: the query alone, or support images and query
MOST_DRAWS = 1_000_000


@dataclass(frozen=True)
class Smoothing:
    """Randomised smoothing of an episode classifier (Cohen et al. 2019, arXiv 1902.02918).

    sigma        standard deviation of the noise, in units of the pixel range, above 0.
    noisy        "query": the certificate holds for changes of the query. "both": for changes of all images of the
                 episode together, whose squared lengths add up; the support set is drawn and fitted anew every time.
    first_draws  choose the class; draws, which are others, give the lower limit of its share.
    alpha        probability that the certificate of a query is wrong.

    UserError for values out of range, and for too few draws to certify anything: with n draws that all agree the limit
    of the share is alpha^(1/n), which must exceed 1/2.
    """

    sigma: float
    noisy: Annotated[str, Option("images that carry the noise: query, or support images and query", choices=NOISY)] = (
        "query"
    )
    first_draws: Annotated[int, Option("noise draws of a query that choose its class")] = 100
    draws: Annotated[int, Option("noise draws of a query that bound the share of its class")] = 1000
    alpha: Annotated[float, Option("probability that the certificate of a query is wrong")] = 0.001

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(self, sigma=1e-6, first_draws=1, draws=1, alpha=1e-12)
        check_at_most(self, sigma=1, first_draws=MOST_DRAWS, draws=MOST_DRAWS, alpha=0.5)
        if self.noisy not in NOISY:
            raise UserError(f"noisy must be one of {', '.join(NOISY)}, got {self.noisy!r}")
        least = math.floor(math.log(self.alpha) / math.log(0.5)) + 1
        if self.draws < least:
            raise UserError(
                f"with {self.draws} draws no share can be shown to exceed 1/2 at alpha {self.alpha:g}, so every query "
                f"would abstain; take at least {least}"
            )
