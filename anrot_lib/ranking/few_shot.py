"""Between ranking and few-shot learning: ranking models under few-shot heads.

A net that metric learning has made robust can be asked the few-shot question: its feature maps, or its embeddings as
maps of one position, go into any head of the kit, and accuracy under attack stands beside the robustness score. The
other way round, the metric H of `distances` brings the Hellinger distance into the triplet loss: names end in H.
"""

import torch
from torch import Tensor, nn

from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.methods import build_head
from anrot_lib.ranking.distances import normalise
from anrot_lib.ranking.embedders import Embedder

# The module of a backbone whose output is its last feature map (B, C, h, w).
LAST_MAP = {"rc2f2": "5", "rlenet": "3", "rres18": "layer4", "rres50": "layer4", "rmnas05": "layers"}
LAST_MAP |= {"rmnas10": "layers", "reffb0": "features"} | dict.fromkeys(
    ("rswint", "rswins", "rswinb", "rswinl"), "permute"
)
KINDS = ("map", "embedding")


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
        maps: Tensor = self(torch.zeros(1, self.in_channels, side, side, device=device))
        self.embedder.train(training)
        return maps.shape[1]


def build_few_shot_net(embedder: Embedder, method: str = "prototypes", kind: str = "map") -> FewShotNet:
    """The embedder under a few-shot head of the kit, by its name there; in eval mode. Nothing is trained.

    Suited are heads without weights of their own beside a scale, such as prototypes, cosine, anrot, hela-vfa and the
    methods of easyfsl; UserError for another.
    """
    encoder = MapEncoder(embedder, kind)
    head = build_head(method, encoder.out_channels)
    if extra := [name for name, _ in head.named_parameters() if name.split(".")[-1] != "log_scale"]:
        raise UserError(f"the head {method!r} has weights to be trained ({extra[0]}, ...); choose prototypes or anrot")
    return FewShotNet(encoder, head).eval()
