"""The threat model: what an adversary may do to an image. Every field is required, there is no default."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.core.units import format_pixels
from anrot_lib.settings import NORMS

STARTS = ("clean", "random")
TARGETS = ("query", "support", "both")


@dataclass(frozen=True, kw_only=True)
class ThreatModel:
    """The ball an adversary may search, and how it searches it.

    norm      "linf" (largest change of a pixel) or "l2" (Euclidean length of the change), always of one image.
    eps       radius of the ball, in units of the pixel range [0, 1]: write 8/255. 0 allows no change.
    step      length of one step in that norm; may exceed eps (FGSM with a random start uses 1.25 eps).
    steps     number of gradient steps, at least 1; restarts: number of runs, at least 1.
    start     "clean": each run starts at the image; "random": uniformly in the ball.
    target    which images of an episode are changed: "query", "support" or "both".

    Raises UserError for a value outside its range.
    """

    norm: str
    eps: float
    step: float
    steps: int
    restarts: int
    start: str
    target: str

    def __post_init__(self) -> None:
        for field, allowed in (("norm", NORMS), ("start", STARTS), ("target", TARGETS)):
            if getattr(self, field) not in allowed:
                raise UserError(
                    f"threat model: {field} must be one of {', '.join(allowed)}, got {getattr(self, field)!r}"
                )
        for field in ("steps", "restarts"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"threat model: {field} must be a whole number of at least 1, got {value!r}")
        self._check_lengths()
        if self.restarts > 1 and self.start == "clean":
            raise UserError("threat model: several restarts from the clean image repeat one run; use start='random'")

    def _check_lengths(self) -> None:
        for field in ("eps", "step"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise UserError(f"threat model: {field} must be a finite number of at least 0, got {value!r}")
        if self.norm == "linf" and self.eps > 1:
            raise UserError(f"threat model: eps is in units of the pixel range [0, 1], got {self.eps:g}; write k/255")
        if self.step == 0 and self.eps > 0:
            raise UserError("threat model: step must be above 0 when eps is, or the attack does nothing")

    @property
    def name(self) -> str:
        """Short name for tables: "PGD-20 8/255 query", "FGSM-RS 8/255 query", "PGD-10x5 l2 0.5 both"."""
        attack = f"PGD-{self.steps}" if self.steps > 1 else "FGSM-RS" if self.start == "random" else "FGSM"
        runs = f"x{self.restarts}" if self.restarts > 1 else ""
        norm = "" if self.norm == "linf" else f"{self.norm} "
        return f"{attack}{runs} {norm}{format_pixels(self.eps)} {self.target}"

    def project(self, points: Tensor, clean: Tensor) -> Tensor:
        """The points of shape (..., C, H, W) brought back into the eps-ball around `clean` and into [0, 1]."""
        if self.norm == "linf":
            return torch.clamp(points, (clean - self.eps).clamp_(min=0), (clean + self.eps).clamp_(max=1))
        change = points - clean
        length: Tensor = torch.linalg.vector_norm(change, dim=(-3, -2, -1), keepdim=True)
        # Clamping to the box comes last and cannot leave the ball: its centre lies in the box, and both are convex.
        return (clean + change * (self.eps / length.clamp_min(1e-12)).clamp(max=1)).clamp_(0, 1)

    def move(self, points: Tensor, gradient: Tensor, clean: Tensor, length: float | Tensor | None = None) -> Tensor:
        """One ascent step from `points`, projected: along the sign (linf) or the unit gradient of each image (l2).

        `length` replaces `step`; a tensor that broadcasts gives each image its own. A gradient entry that is NaN
        counts as 0: that pixel stays.
        """
        length = self.step if length is None else length
        direction = gradient.nan_to_num(nan=0.0)
        if self.norm == "linf":
            return self.project(points + length * direction.sign_(), clean)
        # Dividing by the largest entry first keeps the squares of very small or large gradients in range.
        direction /= direction.abs().amax((-3, -2, -1), keepdim=True).clamp_min(torch.finfo(direction.dtype).tiny)
        norm = torch.linalg.vector_norm(direction, dim=(-3, -2, -1), keepdim=True)
        return self.project(points + length * direction / norm.clamp_min(1e-12), clean)

    def random_start(self, clean: Tensor, generator: torch.Generator | None) -> Tensor:
        """A point drawn uniformly from the eps-ball around each image, then clamped to [0, 1].

        Numbers are drawn on the generator's device, so that a CPU generator starts a GPU attack at the same point.
        """
        if generator is None:
            raise UserError(f"{self.name}: a random start needs a torch.Generator, pass generator=")
        at, kind = generator.device, clean.dtype
        if self.norm == "linf":
            change = (2 * torch.rand(clean.shape, generator=generator, device=at, dtype=kind) - 1) * self.eps
        else:
            change = torch.randn(clean.shape, generator=generator, device=at, dtype=kind)
            uniform = torch.rand((*clean.shape[:-3], 1, 1, 1), generator=generator, device=at, dtype=kind)
            radius = uniform ** (1 / math.prod(clean.shape[-3:]))
            change *= self.eps * radius / torch.linalg.vector_norm(change, dim=(-3, -2, -1), keepdim=True)
        return self.project(clean + change.to(clean.device), clean)
