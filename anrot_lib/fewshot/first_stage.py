"""What an encoder learns before the episodes of a recipe: classes, or the episodes of another method."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from anrot_lib.core.configs import change, make_key, to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.core.resumable import copy_weights
from anrot_lib.data.image_set import ImageSet
from anrot_lib.fewshot import pretraining, training
from anrot_lib.fewshot.methods import get_method
from anrot_lib.fewshot.pretraining import BaseClassTraining, Pretrained, is_ranking_stage, reduce_recipe
from anrot_lib.settings import Budget, Protocol, Recipe

KEPT = ("seed", "attention", "eps", "sigma_low", "sigma_high")  # of a recipe whose first stage is another method's


def choose_stage(recipe: Recipe) -> Recipe:
    """The recipe by which the encoder of a recipe is pre-trained. Recipes of one stage and one seed share an encoder.

    Its own, without what only its episodes depend on, and so it is for a ranking model (`is_ranking_stage`); or that of
    the method `pretrain_as`, with the seed, the gates and the strengths of attack and noise of this one. UserError for
    a method that has two stages itself.
    """
    if recipe.pretrain_as is None or is_ranking_stage(recipe):
        return reduce_recipe(recipe)
    stage = get_method(recipe.pretrain_as).recipe
    if stage.pretrain and stage.episodic:
        raise UserError(
            f"the method {recipe.pretrain_as!r} has two stages; name one that has classes or episodes alone"
        )
    stage = replace(stage, **{name: getattr(recipe, name) for name in KEPT})
    return reduce_recipe(stage) if stage.pretrain else stage


def make_stage_key(recipe: Recipe) -> str:
    """A name for the first stage: equal stages, equal name.

    Without `pretrain_as` where a stage has none: encoders that were trained before this field came are found.
    """
    stage = to_dict(choose_stage(recipe))
    return make_key({name: value for name, value in stage.items() if name != "pretrain_as" or value is not None})


def pretrain_encoder(
    image_set: ImageSet,
    recipe: Recipe,
    budget: Budget,
    protocol: Protocol,
    checkpoint: Path | None = None,
    device: torch.device | str = "cpu",
    precision: str = "fp32",
    progress: Callable[[int, dict[str, float]], None] | None = None,
    pause: Callable[[], bool] | None = None,
    ranks: Ranks = ALONE,
    kind: type[BaseClassTraining] = BaseClassTraining,
) -> Pretrained:
    """The encoder of the first stage of a recipe, after the steps of pre-training of the budget; see `pretrain`.

    A stage of episodes selects its net on the validation classes, as every training does. UserError for a ranking
    model without the `kind` of its training, whose room is above this one: see `pretrain`.
    """
    stage = choose_stage(recipe)
    if stage.pretrain:
        return pretraining.pretrain(
            image_set, stage, budget, checkpoint, device, precision, progress, pause, ranks, kind
        )
    lengths = change(budget, episodes=budget.pretrain_steps * budget.episodes_per_step)
    show = None if progress is None else lambda done, _, numbers: progress(done, numbers)
    trained = training.train(
        image_set, stage, lengths, protocol, checkpoint, device, precision, show, pause=pause, ranks=ranks
    )
    weights = copy_weights(trained.net.backbone)
    return Pretrained(weights, trained.seconds, trained.seconds_per_step, budget.pretrain_steps)
