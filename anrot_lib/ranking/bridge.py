"""Between ranking and few-shot learning: ranking models under few-shot heads.

A net that metric learning has made robust can be asked the few-shot question: its feature maps, or its embeddings as
maps of one position, go into any head of the kit, and accuracy under attack stands beside the robustness score. The
other way round, the metric H of `distances` brings the Hellinger distance into the triplet loss: names end in H.
"""

from collections.abc import Callable, MutableMapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anrot_lib import evaluation, results
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.checks import UserError
from anrot_lib.classifiers import FewShotNet, build_head
from anrot_lib.data.episodes import EpisodeSampler
from anrot_lib.embedders import Embedder
from anrot_lib.ranking.data import Part
from anrot_lib.ranking.distances import normalise

# The module of a backbone whose output is its last feature map (B, C, h, w).
LAST_MAP = {"rc2f2": "5", "rlenet": "3", "rres18": "layer4", "rres50": "layer4", "rmnas05": "layers"}
LAST_MAP |= {"rmnas10": "layers", "reffb0": "features"} | dict.fromkeys(
    ("rswint", "rswins", "rswinb", "rswinl"), "permute"
)
KINDS = ("map", "embedding")
TASKS_PER_PART = 20


class MapEncoder(nn.Module):
    """An embedder as an encoder for few-shot heads: images (B, C, H, W) to maps (B, out_channels, h, w).

    kind "map": the backbone's last feature map, before pooling or flattening; "embedding": the embedding, normalised as
    its metric says, as a map of one position. The embedder is shared, not copied.
    """

    def __init__(self, embedder: Embedder, kind: str = "map"):
        super().__init__()
        if kind not in KINDS:
            raise UserError(f"unknown kind of map {kind!r}; choose map or embedding")
        self.embedder, self.kind, self.in_channels = embedder, kind, embedder.in_channels
        self.out_channels = self._channels()

    def forward(self, images: Tensor) -> Tensor:
        if self.kind == "embedding":
            return normalise(self.embedder(images), self.embedder.metric)[..., None, None]
        seen: list[Tensor] = []
        module = self.embedder.trunk.get_submodule(LAST_MAP[self.embedder.backbone])
        hook = module.register_forward_hook(lambda _, inputs, output: seen.append(output))
        try:
            self.embedder(images)
        finally:
            hook.remove()
        return seen[0]

    @torch.no_grad()
    def _channels(self) -> int:
        if self.kind == "embedding":
            return self.embedder.dim
        side = self.embedder.size or 64
        training = self.embedder.training
        device = next(self.embedder.parameters()).device
        self.embedder.eval()  # one image of zeros must not move the statistics of batch norms
        maps = self(torch.zeros(1, self.in_channels, side, side, device=device))
        self.embedder.train(training)
        return maps.shape[1]


def few_shot_net(embedder: Embedder, method: str = "prototypes", kind: str = "map") -> FewShotNet:
    """The embedder under a few-shot head of the kit, by its name there; in eval mode. Nothing is trained.

    Suited are heads without weights of their own beside a scale, such as prototypes, cosine, anrot, hela-vfa and the
    methods of easyfsl; UserError for another.
    """
    encoder = MapEncoder(embedder, kind)
    head = build_head(method, encoder.out_channels)
    if extra := [name for name, _ in head.named_parameters() if name.split(".")[-1] != "log_scale"]:
        raise UserError(f"the head {method!r} has weights to be trained ({extra[0]}, ...); choose prototypes or anrot")
    return FewShotNet(encoder, head).eval()


class PartImages:
    """The images of a part by numbers of any shape, as `evaluation` asks for them."""

    def __init__(self, part: Part):
        self.part = part

    def batch(self, rows: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
        rows = np.asarray(rows)
        images = self.part.batch(rows.reshape(-1), device)
        return images.reshape(*rows.shape, *images.shape[1:])


def few_shot_columns(
    net: FewShotNet,
    part: Part,
    threat: ThreatModel,
    way: int,
    shot: int,
    tasks: int,
    queries: int = 5,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
    journal: MutableMapping[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Few-shot accuracy on test images, clean and under the white-box attack `threat`: columns of a record.

    The same `tasks` episodes of `way` classes for both, `queries` a class. UserError if the classes do not suffice.
    progress is called with the tasks done under attack; finished parts are kept in the journal.
    """
    labels = part.labels.cpu().numpy()
    enough = np.flatnonzero(np.bincount(labels)[labels] >= shot + queries)  # classes of Stanford products may be small
    rows = EpisodeSampler(labels, way, shot, queries, tasks, seed=seed, rows=enough).draw()
    images: Any = PartImages(part)
    clean = evaluation.clean_counts(net, images, rows, device)
    journal = {} if journal is None else journal
    for at in range(0, tasks, TASKS_PER_PART):
        key = f"few-shot/{at}"
        if key not in journal:
            some = rows[at : at + TASKS_PER_PART]
            counts = evaluation.attacked_counts(net, images, some, threat, seed, device, at)
            journal[key] = [int(count) for count in counts]
        if progress is not None:
            progress(min(at + TASKS_PER_PART, tasks))
    attacked = np.array([count for at in range(0, tasks, TASKS_PER_PART) for count in journal[f"few-shot/{at}"]])
    return {
        "clean": results.column(clean, way * queries, 0.0),
        threat.name: results.column(attacked, way * queries, 0.0, threat=results.describe_threat(threat)),
    }
