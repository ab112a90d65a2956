"""Train and test one net without writing a record: what `anrot_lib.train` and `anrot_lib.evaluate` are."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core import devices
from anrot_lib.core.progress import Progress, bar
from anrot_lib.core.statistics import Interval, describe_bound, interval
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.leakage.seen import Seen
from anrot_lib.experiments.columns import Column, name_noise_column
from anrot_lib.experiments.testing import count_column
from anrot_lib.fewshot import training
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.evaluation import Evaluator
from anrot_lib.fewshot.first_stage import pretrain_encoder
from anrot_lib.fewshot.hesim import MetricLoss
from anrot_lib.fewshot.methods import get_method
from anrot_lib.ranking.training.first_stage import choose_training
from anrot_lib.settings import Budget, Protocol, Recipe, get_radii, preset


@dataclass(frozen=True)
class Evaluation:
    """Accuracies of a net on stored test episodes, in per cent, each with its 95 % interval over episodes.

    clean     on unchanged images.
    attacked  by the name of the threat model, such as "PGD-20 8/255 query".
    noisy     by sigma, in units of the pixel range.
    correct   correct queries of each episode, by the name of the column; paired with those of any other net that was
              tested on a manifest of equal hash.
    queries   of an episode, by the name of the column.
    seen      what of the test classes the net has seen, where that was allowed: then these are no few-shot accuracies.
    """

    clean: Interval
    attacked: Mapping[str, Interval]
    noisy: Mapping[float, Interval]
    correct: Mapping[str, np.ndarray]
    manifest: EpisodeManifest
    queries: Mapping[str, int] = field(default_factory=dict)
    seen: Seen | None = None

    def __str__(self) -> str:
        lines = {
            "clean": self.clean,
            **self.attacked,
            **{name_noise_column(sigma): i for sigma, i in self.noisy.items()},
        }
        width = max(map(len, lines))
        mark = f"SEEN CLASSES, no few-shot accuracy: {self.seen}\n" if self.seen else ""
        return mark + "\n".join(
            f"{name:<{width}}  {self._describe(name, accuracy)} %  ({accuracy.n} episodes)"
            for name, accuracy in lines.items()
        )

    def _describe(self, name: str, accuracy: Interval) -> str:
        """Mean and half-width; where no query is right, or every one, the limit that this sets over queries."""
        bound = describe_bound(int(self.correct[name].sum()), self.queries.get(name, 0) * accuracy.n)
        return bound or f"{accuracy.mean:5.1f} ± {accuracy.half_width:.1f}"


def train(
    image_set: ImageSet,
    method: str | Recipe = "anrot",
    protocol: Protocol | None = None,
    budget: Budget | None = None,
    *,
    metric_loss: MetricLoss | None = None,
    checkpoint: Path | None = None,
    device: str = "auto",
    progress: Progress = bar,
) -> training.TrainedNet:
    """Train a net on the "train" classes, and select it on the "val" classes: `train(...).net`, in eval mode.

    method       a name ("anrot" is trained on the mixture of clean, attacked and noisy queries, "anrot-clean" is not),
                 with the radii of the image set (`settings.RADII`) unless its recipe sets others; or a Recipe, which is
                 taken as it is.
    protocol     way, shot and seed of the episodes; None takes the default.
    budget       sizes and lengths; None takes `preset()`, for images of this size.
    metric_loss  a loss of your own in Hesim's place, of (embeddings (B, D), labels (B,)).
    checkpoint   a file that keeps the state: a training that was killed goes on from there.

    UserError for an unknown method, a set with too few classes or images, or a checkpoint of other settings; NotFinite
    when the loss diverges.
    """
    radii = get_radii(image_set.name)
    recipe = method if isinstance(method, Recipe) else radii.adapt(get_method(method).recipe)
    protocol, budget = protocol or radii.make_protocol(), budget or preset(size=image_set.images.shape[1])
    on = devices.resolve_device(device)
    precision = devices.resolve_precision(budget.precision, on)
    encoder_state = None
    if recipe.pretrain:
        with progress("pre-train", budget.pretrain_steps) as update:
            kind = choose_training(recipe)
            first = pretrain_encoder(image_set, recipe, budget, protocol, None, on, precision, update, kind=kind)
            encoder_state = first.encoder
    steps = max(1, budget.episodes // budget.episodes_per_step)
    with progress(f"train {recipe.method}", steps) as update:
        return training.train(
            image_set,
            recipe,
            budget,
            protocol,
            checkpoint,
            device=on,
            precision=precision,
            progress=lambda step, _, numbers: update(step, numbers),
            encoder_state=encoder_state,
            metric_loss=metric_loss,
        )


def evaluate(
    net: FewShotNet,
    image_set: ImageSet,
    protocol: Protocol | None = None,
    budget: Budget | None = None,
    *,
    threats: Sequence[ThreatModel] | None = None,
    sigmas: Sequence[float] | None = None,
    allow_seen: bool = False,
    device: str = "auto",
    progress: Progress = bar,
) -> Evaluation:
    """Accuracy of a net on stored episodes of the "test" classes: clean, under white-box attacks, under noise.

    protocol  way, shot and seed of the episodes, and the default attacks; None takes the radii of the image set
              (`settings.RADII`).
    budget    how many episodes and queries; None takes `preset()`. Attacked and noisy columns are on the first
              `attacked_tasks` episodes.
    threats   the attacks; None takes FGSM and PGD on the queries with eps, step and steps of the protocol.
    sigmas    of Gaussian noise on the queries; None takes that of the protocol.
    allow_seen  test even on classes or images that the net was trained on; the result is marked.

    The counts are those that `anrot run` records for the same net, protocol and budget. The net stays as it is.
    UserError for a set with too few test classes or images, and for a net that has seen some of them.
    """
    protocol, budget = protocol or get_radii(image_set.name).make_protocol(), budget or preset()
    if threats is None:
        strong = pgd(protocol.eps, protocol.steps, protocol.step, 1, target="query")
        threats = [fgsm(protocol.eps, target="query"), strong]
    sigmas = [protocol.sigma] if sigmas is None else sigmas
    tasks = max(budget.clean_tasks, budget.attacked_tasks)
    manifest = EpisodeManifest.make(
        image_set, "test", protocol.way, protocol.shot, budget.clean_query, tasks, protocol.seed
    )
    attacked = partial(Column, tasks=budget.attacked_tasks, query=budget.attacked_query)
    columns = [
        Column("clean", tasks, budget.clean_query),
        *(attacked(threat.name, threat=threat) for threat in threats),
        *(attacked(name_noise_column(sigma), sigma=sigma) for sigma in sigmas),
    ]
    on = devices.resolve_device(device)
    copy = FewShotNet(deepcopy(net.backbone), deepcopy(net.head))  # without a support set, which may hold a graph
    evaluator = Evaluator(copy.eval().to(on), image_set, on, allow_seen=allow_seen)
    correct: dict[str, np.ndarray] = {}
    with progress("test", len(columns)) as update:
        for done, column in enumerate(columns, 1):
            correct[column.name] = count_column(evaluator, manifest, column, protocol.seed)
            update(done, {"column": column.name})
    per_task = protocol.way * budget.attacked_query
    return Evaluation(
        clean=interval(correct["clean"] / manifest.rows.query[0].size),
        attacked={threat.name: interval(correct[threat.name] / per_task) for threat in threats},
        noisy={sigma: interval(correct[name_noise_column(sigma)] / per_task) for sigma in sigmas},
        correct=correct,
        manifest=manifest,
        queries=dict.fromkeys(correct, per_task) | {"clean": manifest.rows.query[0].size},
        seen=evaluator.seen,
    )
