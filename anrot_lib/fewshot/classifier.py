"""FewShotNet = encoder + head, with easyfsl's support/query contract, a bound form for attack libraries, a probe."""

from typing import Any

import torch
from torch import Tensor, nn

from anrot_lib.core.checks import check_images
from anrot_lib.core.devices import store_channels_last
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.core.trees import pick
from anrot_lib.data.episodes import Episode
from anrot_lib.data.leakage.seen import Origin, get_origin
from anrot_lib.fewshot import encoders
from anrot_lib.fewshot.heads.contract import Head, Scores
from anrot_lib.fewshot.heads.easyfsl import easyfsl
from anrot_lib.fewshot.methods import build_head

SLACK = 0.1  # of the pixel range: how far outside an attack of another library may try a point


def _add_episode(labels: Tensor) -> Tensor:
    """Labels (S,) of one episode as (1, S). What is no tensor stays, for `check_labels` to name it."""
    return labels[None] if isinstance(labels, Tensor) else labels


class BoundEpisodes(nn.Module):
    """Classifier of images for fixed support sets: images (B, C, H, W) -> logits (B, way).

    `index` (B,) names the episode of each image; None means episode 0, so that for one episode any attack
    library can take this module as an ordinary classifier.
    """

    def __init__(self, net: "FewShotNet", model: Any):
        super().__init__()
        self.net, self.model = net, model

    def forward(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        maps = self.net.encode(self.net.check(images, "images", slack=SLACK))
        if index is None:
            return self.net.head.score(self.model, maps[None]).logits[0]
        return self.net.head.score(pick(self.model, index), maps[:, None]).logits[:, 0]


class FewShotNet(easyfsl.FewShotClassifier):
    """An encoder and a head. One episode the easyfsl way, many at once by `scores`.

    `process_support_set(images (S, C, H, W), labels (S,))`, then `net(query (n, C, H, W)) -> logits (n, way)`.
    """

    backbone: encoders.Encoder

    def __init__(self, encoder: nn.Module, head: Head):
        super().__init__(backbone=encoder)
        self.head = head
        self.model: Any = None

    def encode(self, images: Tensor) -> Tensor:
        """Images (..., C, H, W) in [0, 1] to feature maps (..., C', h, w), stored channels-last."""
        flat = images.flatten(0, -4).contiguous(memory_format=torch.channels_last)
        maps: Tensor = self.head.look(self.backbone, flat).unflatten(0, images.shape[:-3])
        return maps

    def check(self, images: Tensor, name: str, slack: float = 0.0) -> Tensor:
        """The images (..., C, H, W), if they are several and have the channels of the encoder; UserError if not."""
        check_images(images, name, slack)
        if images.ndim < 4 or images.shape[-3] != self.backbone.in_channels:
            shape = f"(..., {self.backbone.in_channels}, H, W)"
            raise UserError(f"{name} must have the shape {shape} that the net takes, got {tuple(images.shape)}")
        return images

    def compute_features(self, images: Tensor) -> Tensor:
        """Averaged maps (n, C), for the tools of easyfsl such as `compute_prototypes_and_store_support_set`."""
        return self.encode(images).mean((-2, -1)).float()

    def process_support_set(self, support_images: Tensor, support_labels: Tensor) -> None:
        self.check(support_images, "support images")
        self.model = self.fit(support_images[None], _add_episode(support_labels))

    def forward(self, query_images: Tensor) -> Tensor:
        if self.model is None:
            raise UserError("call process_support_set(images, labels) before asking for query logits")
        self.check(query_images, "query images")
        logits = self.head.score(self.model, self.encode(query_images)[None]).logits[0]
        if not torch.isfinite(logits).all():
            raise NotFinite("the net's logits are not finite, so it names no class; train it again, at a smaller rate")
        return logits

    def is_transductive(self) -> bool:  # type: ignore[override]
        return self.head.batch_dependent

    @property
    def origin(self) -> Origin | None:
        """What the encoder was trained on; None if that is not known."""
        return get_origin(self.backbone)

    def fit(self, support: Tensor, labels: Tensor, mask: Tensor | None = None) -> Any:
        """Support images (E, S, C, H, W), labels (E, S), mask (E, S) to the head's model of E episodes."""
        return self.head.fit(self.encode(support), labels, mask)

    def bind(self, support: Tensor, labels: Tensor, mask: Tensor | None = None) -> BoundEpisodes:
        """A module that maps query images to logits, for one support set (S, ...) or E of them (E, S, ...).

        The support set is fitted once, without a graph, so that an attack may go backward through the module as often
        as it likes. Put the net in eval mode first.
        """
        self.check(support, "support images")
        if support.ndim == 4:
            support, labels = support[None], _add_episode(labels)
            mask = None if mask is None else mask[None]
        with torch.no_grad():
            return BoundEpisodes(self, self.fit(support, labels, mask))

    def scores(self, episode: Episode) -> Scores:
        """Scores of all queries of E episodes; support and queries go through the encoder as one batch."""
        support = episode.support.flatten(1, 2)
        maps = self.encode(torch.cat([support, episode.query], 1))
        support_maps, query_maps = maps.split([support.shape[1], episode.query.shape[1]], 1)
        model = self.head.fit(support_maps, episode.support_labels, episode.mask.flatten(1))
        return self.head.score(model, query_maps)


def create_net(
    encoder: str,
    method: str,
    in_channels: int = 3,
    attention: bool | None = None,
    generator: torch.Generator | None = None,
) -> FewShotNet:
    """An encoder by name with a method's head, weights drawn from `generator`."""
    return _add_head(encoders.build(encoder, in_channels, attention, generator), method, generator)


def change_head(net: FewShotNet, method: str, generator: torch.Generator | None = None) -> FewShotNet:
    """The encoder of a net, shared with it, under the head of another method, in eval mode."""
    return _add_head(net.backbone, method, generator).eval()


def _add_head(encoder: encoders.Encoder, method: str, generator: torch.Generator | None) -> FewShotNet:
    with torch.random.fork_rng(devices=[], enabled=generator is not None):
        if generator is not None:  # layers draw from torch's global generator; what they draw must come from ours
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        head = build_head(method, encoder.out_channels)
    return store_channels_last(FewShotNet(encoder, head))


def fold_net(net: FewShotNet) -> FewShotNet:
    """The net with its batch norms folded into its convolutions (see `encoders.fold`), for testing; shares the head."""
    return store_channels_last(FewShotNet(encoders.fold(net.backbone), net.head).eval())
