"""The first stage of a few-shot recipe, ranking models among them: an encoder that learns by hardness manipulation.

The encoder is the budget's, like that of every other recipe, and its embedding is the mean of its feature maps, so any
head of the kit can follow. Optimizer, rate, steps, batch and augmentation are those of pre-training on classes.
"""

from typing import Any

import torch
from torch import Tensor, nn

from anrot_lib.core import devices
from anrot_lib.core.errors import UserError
from anrot_lib.data.image_set import ImageSet
from anrot_lib.fewshot.encoders import Encoder
from anrot_lib.fewshot.episode_loss import make_threat
from anrot_lib.fewshot.optimization import compute_rate_factor, set_rate
from anrot_lib.fewshot.pretraining import BaseClassTraining, is_ranking_stage
from anrot_lib.fewshot.recipes import RANKING
from anrot_lib.ranking import names
from anrot_lib.ranking.data.batches import Sampler
from anrot_lib.ranking.recipe import RankingRecipe, build_recipe
from anrot_lib.ranking.training import defenses
from anrot_lib.settings import Budget, Recipe


class MeanEmbedder(nn.Module):
    """An encoder as an embedder: images (B, C, H, W) to the means of its maps (B, out_channels)."""

    def __init__(self, encoder: Encoder, metric: str):
        super().__init__()
        self.encoder, self.metric = encoder, metric

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.encoder(images.contiguous(memory_format=torch.channels_last))
        return maps.mean((-2, -1))


def make_ranking_recipe(recipe: Recipe, data: str = "images") -> RankingRecipe:
    """The ranking recipe that a first stage such as "ranking:ghmetsm:ptripletN" names, with the attack of `recipe`.

    The grammar asks for a backbone; it counts for nothing here. UserError for a name that is not of the grammar, or
    whose defense manipulates no hardness: `pretraining.count_passes` counts triplets.
    """
    if recipe.pretrain_as is None or not is_ranking_stage(recipe):
        raise UserError(f"the first stage {recipe.pretrain_as!r} names no ranking model; it begins with {RANKING}")
    defense, _, loss = recipe.pretrain_as.removeprefix(RANKING).partition(":")
    name = names.parse(f"{data}:rres18{defense}:{loss}")
    if name.hardness is None:
        raise UserError(f"the first stage {recipe.pretrain_as!r} manipulates no hardness; ghmetsm:ptripletN does")
    threat = make_threat(recipe)
    return build_recipe(name, eps=threat.eps, step=threat.step, eta=threat.steps, seed=recipe.seed)


class HardnessTraining(BaseClassTraining):
    """One training of an encoder by hardness manipulation of triplets of the training classes."""

    title = " of the ranking model"

    def __init__(self, image_set: ImageSet, recipe: Recipe, budget: Budget, device: torch.device, precision: str):
        if budget.groups > 1:
            raise UserError(
                f"the triplets of {recipe.pretrain_as!r} are of a whole batch, not of --groups {budget.groups}"
            )
        self.ranking = make_ranking_recipe(recipe)
        self.defense = defenses.build(self.ranking).to(device)
        super().__init__(image_set, recipe, budget, device, precision)
        self.sampler = Sampler(self.labels, max(1, self.batch // 2), "p", self.recipe.seed)

    def build_net(self, generator: torch.Generator) -> nn.Module:
        return MeanEmbedder(self.encoder, self.ranking.parsed.loss.metric)

    def draw_batch(self) -> tuple[Tensor, Tensor]:
        """Pairs of images of a class (B, C, H, W), and the number of each class (B,)."""
        rows = self.sampler.select(self.step)
        images = self.image_set.batch(self.rows[rows.numpy()], self.device)
        return self.augment(images, self.make_generator("augmentation")), self.labels[rows].to(self.device)

    def compute_loss(self) -> Tensor:
        """The loss of the triplets after their attack."""
        set_rate(self.optimizers, self.rate * compute_rate_factor(self.recipe.schedule, self.step, self.n_steps))
        self.net.train()
        images, labels = self.draw_batch()
        with devices.autocast(self.device, self.precision):
            loss: Tensor = self.defense(self.net, images, labels, self.make_generator)
        return loss

    def finish_update(self, loss: float) -> None:
        super().finish_update(loss)
        self.defense.finish_step()

    def latest_numbers(self) -> dict[str, float]:
        return dict(self.defense.numbers)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"defense": self.defense.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.defense.load_state_dict(state["defense"])


def choose_training(recipe: Recipe) -> type[BaseClassTraining]:
    """The kind of training of a recipe's first stage, for `fewshot.first_stage.pretrain_encoder`."""
    return HardnessTraining if is_ranking_stage(recipe) else BaseClassTraining
