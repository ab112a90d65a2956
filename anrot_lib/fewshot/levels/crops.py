"""The later multi-level model: pixels, 13 crops of the image as parts, and a global level (MML of 2022).

It shares its name with the model of pixels, channel maps and distributions, but not its levels. A head of this kind
wants more of an image than its map, so it encodes by itself: `FewShotNet.encode` calls `look`.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anrot_lib.core.errors import UserError
from anrot_lib.divergences.gaussian import full_precision
from anrot_lib.fewshot.heads.contract import Head, Scores
from anrot_lib.fewshot.levels.head import describe_maps
from anrot_lib.fewshot.levels.matching import compute_similarity, group_by_class, make_unit, mark_counted

GRIDS = (3, 2)
N_PARTS = sum(n * n for n in GRIDS)
ENLARGED = 2.0  # a cell's side is doubled about its centre and clipped to the image, as published for testing
WEIGHTS = {"part": 1.0, "pixel": 0.5, "global": 0.5}
HIDDEN = 4  # width of the graph layers' middle, in channels


def list_boxes() -> Tensor:
    """The 13 crops as (top, bottom, left, right) in [0, 1]: cells of a 3 x 3 and a 2 x 2 grid, enlarged, clipped."""
    corners = []
    for n in GRIDS:
        for cell in range(n * n):
            sides = []
            for at in (cell // n, cell % n):
                centre, half = (at + 0.5) / n, 0.5 * ENLARGED / n
                sides += [max(0.0, centre - half), min(1.0, centre + half)]
            corners.append(sides)
    return torch.tensor(corners)


def cut_crops(images: Tensor) -> Tensor:
    """Images (B, C, H, W) to their 13 crops, each brought to H x W bilinearly: (B, 13, C, H, W). Differentiable."""
    views = []
    for top, bottom, left, right in list_boxes().tolist():
        theta = images.new_tensor([[right - left, 0, right + left - 1], [0, bottom - top, bottom + top - 1]])
        grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        views.append(F.grid_sample(images, grid, padding_mode="border", align_corners=False))
    return torch.stack(views, 1)


class PartGraph(nn.Module):
    """Two graph layers with a residual over the support parts of a class: h + A relu(A h W1) W2.

    adjacency "class": A averages over all parts of the class's shots, so that every part hears of the others;
    "self": A is the identity, which is what the released code computes. No dropout: it would draw random numbers
    outside the named streams.
    """

    def __init__(self, channels: int, adjacency: str = "class"):
        super().__init__()
        if adjacency not in ("class", "self"):
            raise UserError(f"unknown adjacency {adjacency!r}; choose class or self")
        self.adjacency = adjacency
        self.widen = nn.Linear(channels, HIDDEN * channels)
        self.narrow = nn.Linear(HIDDEN * channels, channels)

    def forward(self, parts: Tensor, valid: Tensor) -> Tensor:
        """parts (E, way, M, 13, C), valid (E, way, M) -> the same shape."""
        return parts + self._heard(self.narrow(self._heard(self.widen(parts), valid).relu()), valid)

    def _heard(self, x: Tensor, valid: Tensor) -> Tensor:
        if self.adjacency == "self":
            return x
        weights = valid[..., None, None].to(x.dtype)
        total = (x * weights).sum((2, 3), keepdim=True)
        return (total / (weights.sum((2, 3), keepdim=True) * N_PARTS).clamp_min(1)).expand_as(x)


class CropHead(Head):
    """Pixels, crops and the global level, mixed as probabilities: logits = ln sum_l w_l softmax(scale_l x score_l).

    part: mean over the 13 crops of a query of the best cosine to an adapted crop of the class; pixel: as in DN4;
    global: minus the squared distance of averaged maps, by C. Weights 1, 0.5, 0.5 as published; the scales are
    learnt, one a level, the same in training and test (the released code divides the global score by 64 in training
    only). In training the loss is that of the mixture, where the released code adds three losses.
    `Scores.levels` holds each level's own logits.
    """

    def __init__(self, channels: int, adjacency: str = "class"):
        super().__init__()
        self.channels = channels
        self.graph = PartGraph(channels, adjacency)
        starts = torch.tensor([float(N_PARTS), 25.0, channels / 64])  # of published scores: sums over 13 and 25, 1/64
        self.log_scales = nn.Parameter(starts.log())

    def look(self, backbone: nn.Module, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to (B, C', 1, h w + 13): the map's positions, then averaged crops. 14 passes."""
        views = torch.cat([images.unsqueeze(1), cut_crops(images)], 1)
        flat = views.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        maps = backbone(flat).unflatten(0, views.shape[:2])
        parts = maps[:, 1:].mean((-2, -1)).mT  # (B, C', 13)
        return torch.cat([maps[:, 0].flatten(2), parts], -1).unsqueeze(2)

    def describe(self, maps: Tensor) -> Tensor:
        if maps.shape[-2] != 1 or maps.shape[-1] <= N_PARTS:
            raise UserError(
                f"this head needs maps with {N_PARTS} crops behind their positions, as FewShotNet.encode gives them; "
                f"got maps of {maps.shape[-2]} x {maps.shape[-1]}"
            )
        return describe_maps(maps)

    @full_precision
    def fit_described(self, support: Tensor, labels: Tensor, mask: Tensor | None = None) -> dict[str, Any]:
        pool = group_by_class(support.squeeze(-2), labels, mask)  # (E, way, M, C, h w + 13)
        parts = self.graph(pool.maps[..., -N_PARTS:].mT, pool.valid)
        shots = pool.maps[..., :-N_PARTS].mean(-1) * pool.valid.unsqueeze(-1)
        means = shots.sum(2) / pool.valid.sum(-1, keepdim=True).clamp_min(1)
        return {"pool": pool, "parts": make_unit(parts), "means": means}

    @full_precision
    def score_described(self, model: dict[str, Any], query: Tensor, generator: torch.Generator | None = None) -> Scores:
        query, pool = query.squeeze(-2), model["pool"]
        pixels, means = query[..., :-N_PARTS], query[..., :-N_PARTS].mean(-1)
        at = make_unit(pool.maps[..., :-N_PARTS].mT).flatten(2, 3)
        scores = {
            "part": compute_similarity(
                make_unit(query[..., -N_PARTS:].mT), model["parts"].flatten(2, 3), mark_counted(pool, N_PARTS)
            ),
            "pixel": compute_similarity(make_unit(pixels.mT), at, mark_counted(pool, pixels.shape[-1])),
            "global": -(means.unsqueeze(2) - model["means"].unsqueeze(1)).square().mean(-1),
        }
        levels = {name: scale * scores[name] for name, scale in zip(scores, self.log_scales.exp(), strict=True)}
        total = sum(WEIGHTS.values())
        mixed = [logits.log_softmax(-1) + torch.tensor(WEIGHTS[name] / total).log() for name, logits in levels.items()]
        return Scores(torch.stack(mixed).logsumexp(0), levels, means)
