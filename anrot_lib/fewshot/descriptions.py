"""What a head keeps of images, and how many episodes look it up."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from anrot_lib.core.errors import UserError
from anrot_lib.core.trees import map_tree


class Descriptions:
    """What the head keeps of every distinct image of some rows: one encoder pass each, then lookups."""

    def __init__(self, rows: np.ndarray, values: Any):
        self.rows, self.values = rows, values
        self._places = np.full(rows.max(initial=-1) + 2, -1)  # of each row number; the last is for all above
        self._places[rows] = np.arange(len(rows))

    def find(self, rows: np.ndarray) -> Tensor:
        """The places of row numbers of any shape, flat. UserError for a row that was not described."""
        places = torch.from_numpy(self._places.take(rows.reshape(-1), mode="clip"))
        if (places < 0).any() or rows.min(initial=0) < 0:
            raise UserError("the episodes hold images that were not described; are they of the split that was?")
        return places

    def select(self, rows: np.ndarray) -> Any:
        """Descriptions for row numbers of any shape, with that shape leading. UserError as in `find`."""
        places = self.find(rows)

        def gather(values: Tensor) -> Tensor:
            # index_select copies whole rows, five times as fast as indexing with a tensor
            return values.index_select(0, places.to(values.device)).view(*rows.shape, *values.shape[1:])

        return map_tree(gather, self.values)
