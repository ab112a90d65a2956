"""A net that answers alike whatever it sees: at chance, unmoved by any attack, with an interval of no width."""

import numpy as np
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.data.image_set import ImageSet
from anrot_lib.fewshot.classifier import FewShotNet

CLASSES = 8  # of the split that are looked at


@torch.no_grad()
def refuse_collapsed(net: FewShotNet, image_set: ImageSet, split: str, device: torch.device | str) -> None:
    """UserError if a net in eval mode gives images of up to 8 classes the same logits, or all classes the same logit.

    It names one class whatever it sees (the largest of equal logits is class 0): such a net, whose training exploded or
    died, would be recorded at chance with an interval of 0.0, and, as it has no gradient, so under every attack, too.
    """
    rows = image_set.rows(split)
    _, first = np.unique(image_set.labels[rows], return_index=True)
    _, last = np.unique(image_set.labels[rows][::-1], return_index=True)
    support, query = (image_set.batch(part[:CLASSES], device) for part in (rows[first], rows[::-1][last]))
    model = net.fit(support[None], torch.arange(len(support), device=device)[None])
    logits = net.head.score(model, net.encode(query)[None]).logits
    alike = [bool((logits == first).all()) for first in (logits[:, :1], logits[..., :1])]
    if len(support) > 1 and any(alike):
        raise UserError(
            "the net gives the same logits whatever image it sees, so it tells no class from another; train it again, "
            "at a smaller rate"
        )
