"""The queries of several episodes one by one, each with the fitted model of its episode."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from anrot_lib.attacks.ascent import frozen
from anrot_lib.attacks.episode import EpisodeNet, fit_support
from anrot_lib.attacks.search import make_ordinary
from anrot_lib.core.errors import UserError
from anrot_lib.core.trees import map_tree, pick
from anrot_lib.data.episodes import Episode


@dataclass(frozen=True)
class SingleQueries:
    """N = E n queries.

    model   the head's model of the E episodes, detached.
    images  (N, C, H, W); labels (N,), which class of its episode each is; owners (N,), the number of its episode.
    """

    model: Any
    images: Tensor
    labels: Tensor
    owners: Tensor


def list_queries(net: EpisodeNet, episode: Episode, max_images: int | None = None) -> SingleQueries:
    """The queries of E episodes in the order of the episodes; at most `max_images` support images in one pass."""
    e, n = episode.labels.shape
    labels, images = make_ordinary(episode.labels).flatten(), make_ordinary(episode.query).flatten(0, 1)
    with frozen(net), torch.no_grad():
        model = map_tree(lambda t: make_ordinary(t).detach(), fit_support(net, episode, max_images))
    return SingleQueries(model, images, labels, torch.arange(e, device=labels.device).repeat_interleave(n))


class TaggedClassifier(nn.Module):
    """One classifier of the queries of many episodes, for libraries that ask for a model of images alone.

    Each query carries the number of its episode in binary, in a row of pixels below it: one column a bit. A pixel is
    read as the nearer of 0 and 1, so that the number withstands any change by less than 1/2, and it has no gradient.
    UserError for an eps of 1/2 and more, for the norm l2, where the row would take its share, and for images too
    narrow for so many episodes.
    """

    def __init__(self, net: EpisodeNet, queries: SingleQueries, norm: str, eps: float):
        super().__init__()
        if norm != "linf" or not 0 <= eps < 0.5:
            raise UserError(f"queries of several episodes go together below eps 0.5 in the norm linf, not {norm} {eps}")
        self.net, self.queries = net, queries
        self.last, width = int(queries.owners.max()), queries.images.shape[-1]
        bits = self.last.bit_length()
        if bits > width:
            raise UserError(f"a row of {width} pixels cannot number {self.last + 1} episodes")
        self.bits = 2 ** torch.arange(bits, device=queries.owners.device)

    def tag(self, images: Tensor, owners: Tensor) -> Tensor:
        """Images (B, C, H, W) of the episodes `owners` (B,) with the row below: (B, C, H + 1, W)."""
        row = torch.zeros_like(images[:, :, :1])
        row[..., : len(self.bits)] = (owners.unsqueeze(1) // self.bits % 2).to(images)[:, None, None]
        return torch.cat([images, row], 2)

    def remove_tags(self, tagged: Tensor) -> Tensor:
        """The images (B, C, H, W) of tagged ones."""
        return tagged[:, :, :-1]

    def forward(self, tagged: Tensor) -> Tensor:
        """Logits (B, way) of tagged images; a number that no episode has is that of the last one.

        A library may try a model on an image of ones before it attacks.
        """
        owners = ((tagged[:, 0, -1, : len(self.bits)].detach() > 0.5) * self.bits).sum(1).clamp(max=self.last)
        maps = self.net.encode(self.remove_tags(tagged)).unsqueeze(1)
        logits: Tensor = self.net.head.score(pick(self.queries.model, owners), maps).logits.squeeze(1)
        return logits
