"""How an autoencoder is trained. Loads no torch, so that the command line can show its fields at once."""

from dataclasses import dataclass
from typing import Annotated

from anrot_lib.core.configs import check_at_least, check_at_most, check_types
from anrot_lib.core.errors import UserError
from anrot_lib.core.options import Option
from anrot_lib.divergences.names import NAMES

MOST_BATCH = 65_536


@dataclass(frozen=True)
class VaeRecipe:
    """How an autoencoder is trained. `subset_seed` chooses the images, `seed` the weights, the order and the noise."""

    divergence: str = "hellinger2"
    beta: Annotated[float, Option("weight of the divergence, for all seeds")] = 0.1
    seed: int = 0
    model: Annotated[str, Option("size of the autoencoder: published or small")] = "published"
    batch: int = 128
    learning_rate: Annotated[float, Option("highest learning rate of the training; it falls to 0")] = 2e-3
    train_images: Annotated[int, Option("number of training images")] = 12_800
    validation_images: int = 1_000
    epochs: Annotated[int, Option("passes over the training images")] = 40
    subset_seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_at_least(self, beta=0, batch=1, learning_rate=0, train_images=1, validation_images=1, epochs=1)
        check_at_most(self, beta=1e6, batch=MOST_BATCH)
        if self.divergence not in NAMES:
            raise UserError(f"unknown divergence {self.divergence!r}; choose one of {', '.join(NAMES)}")
