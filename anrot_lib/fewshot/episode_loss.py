"""The loss of a training step: clean, adversarial and noisy versions of the queries, one encoder pass, Hesim.

Loss = sum over versions v of share_v CE_v, plus `hesim` x Hesim, or a loss in its place, over the embeddings of all
versions.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from anrot_lib.attacks.ascent import ascend, frozen
from anrot_lib.attacks.gradient import fgsm, margin_loss, pgd
from anrot_lib.attacks.search import Objective
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import UserError
from anrot_lib.data import augmentation, noise
from anrot_lib.data.episodes import Episode
from anrot_lib.divergences.gaussian import DiagonalGaussian
from anrot_lib.fewshot.classifier import FewShotNet
from anrot_lib.fewshot.heads.contract import Head
from anrot_lib.fewshot.hesim import Hesim, MetricLoss, flatten_gaussians
from anrot_lib.settings import Recipe

MIXES = {"mixup": augmentation.mixup, "cutmix": augmentation.cutmix}


FORWARD, TO_PIXELS, FULL = 1, 2, 3  # passes over an image: forward; forward + to the input; forward + both backward


def make_threat(recipe: Recipe) -> ThreatModel:
    """The adversary of training: one step of FGSM, or PGD with step 2.5 eps / steps for more.

    fgsm-rs starts at a random point of the ball (Wong et al. 2020); n-fgsm takes the plain step, from noise.
    """
    if recipe.attack_steps == 1:
        return fgsm(recipe.eps, target="query", random_start=recipe.attack == "fgsm-rs")
    step = 2.5 * recipe.eps / recipe.attack_steps
    return pgd(recipe.eps, steps=recipe.attack_steps, step=step, restarts=1, target="query")


def list_shares(recipe: Recipe) -> dict[str, float]:
    """The versions that are trained on, and their weights, which sum to 1. A share of 0 is left out.

    With two views the clean share is halved between the images as they are and a jittered, blurred view.
    """
    clean = recipe.clean / 2 if recipe.two_views else recipe.clean
    view = clean if recipe.two_views else 0.0
    shares = {"clean": clean, "view": view, "adversarial": recipe.adversarial, "noisy": recipe.noisy}
    total = sum(shares.values())
    return {version: share / total for version, share in shares.items() if share > 0}


def compute_cost_limit(recipe: Recipe, n_support: int, n_query: int) -> float:
    """What a step must cost at least, in clean steps, counted in passes of the encoder over an image.

    A training pass of one image counts 3 (forward, to its input, to the weights), an attack step 2 (no gradient
    of weights), and the attack's support set 1, forward once.
    """
    versions = list_shares(recipe)
    passes = FULL * (n_support + len(versions) * n_query)
    if "adversarial" in versions:
        passes += FORWARD * n_support + TO_PIXELS * n_query * recipe.attack_steps
        passes += FORWARD * n_query if recipe.trades else 0
    return passes / (FULL * (n_support + n_query))


def make_adversarial(objective: Objective, images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Images (..., C, H, W) moved by the recipe's attack to raise the loss of `objective`.

    N-FGSM: x' = clip(x~ + eps sign(grad loss(x~))), x~ = clip(x + u), u uniform in [-2 eps, 2 eps] for each pixel. It
    may leave the ball of radius eps around x, on purpose: it is for training, not for tests (de Jorge et al. 2022).
    """
    if recipe.attack == "n-fgsm" and recipe.attack_steps == 1:
        images = noise.add_uniform(images, 2 * recipe.eps, generator)
    return ascend(objective, images, make_threat(recipe), generator, keep="last").images


def compute_divergence_from(clean: Tensor, logits: Tensor) -> Tensor:
    """KL(softmax(clean) || softmax(logits)) of each row (..., way): what TRADES holds small (Zhang et al. 2019)."""
    goal, changed = clean.float().log_softmax(-1), logits.float().log_softmax(-1)
    return nn.functional.kl_div(changed, goal, reduction="none", log_target=True).sum(-1)


def make_adversarial_queries(net: FewShotNet, episode: Episode, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Queries moved by the recipe's attack, support set held fixed; the net is left as it was.

    Batch norm works on batch statistics, as in the training step that will see these images, or, with
    `recipe.attack_eval`, on the running ones. The attack of TRADES moves predictions away from those on clean queries.
    """
    with frozen(net, training=False if recipe.attack_eval else None):
        with torch.no_grad():
            model = net.fit(episode.support.flatten(1, 2), episode.support_labels, episode.mask.flatten(1))
            clean = net.head.score(model, net.encode(episode.query)).logits if recipe.trades else None

        def objective(queries: Tensor, active: Tensor | None) -> Tensor:
            logits = net.head.score(model, net.encode(queries)).logits
            return margin_loss(logits, episode.labels)[0] if clean is None else compute_divergence_from(clean, logits)

        return make_adversarial(objective, episode.query, recipe, generator)


def make_query_versions(
    net: FewShotNet, episode: Episode, recipe: Recipe, draw: Callable[[str], torch.Generator]
) -> dict[str, Tensor]:
    """The versions of the queries that the recipe trains on, each (E, n, C, H, W). `draw(name)` gives generators."""
    versions = {}
    for version in list_shares(recipe):
        if version == "adversarial":
            versions[version] = make_adversarial_queries(net, episode, recipe, draw("attack"))
        else:
            versions[version] = make_natural_version(version, episode.query, recipe, draw)
    return versions


def make_natural_version(
    version: str, images: Tensor, recipe: Recipe, draw: Callable[[str], torch.Generator]
) -> Tensor:
    """Images (..., C, H, W) in the version "clean" (as they are), "view" (jittered, blurred) or "noisy"."""
    if version == "clean":
        return images
    if version == "view":
        return augmentation.two_views(images, draw("view"))[0]
    generator = draw("noise")
    sigma = noise.draw_sigma(images, recipe.sigma_low, recipe.sigma_high, generator)
    return noise.add_gaussian(images, sigma, generator)


def compute_episode_loss(
    net: FewShotNet,
    episode: Episode,
    recipe: Recipe,
    metric_loss: MetricLoss | None,
    draw: Callable[[str], torch.Generator],
) -> Tensor:
    """The training loss of E episodes, a scalar. `metric_loss` is Hesim or a loss in its place; None leaves it out."""
    versions = make_query_versions(net, episode, recipe, draw)
    mixed = None
    if recipe.mix and "clean" in versions:
        mixed = MIXES[recipe.mix](episode.query, episode.labels, draw("mix"))
        versions["clean"] = mixed.images
    support = episode.support.flatten(1, 2)
    n_support, n_query = support.shape[1], episode.query.shape[1]
    maps = net.encode(torch.cat([support, *versions.values()], 1))
    model = net.head.fit(maps[:, :n_support], episode.support_labels, episode.mask.flatten(1))
    scores = net.head.score(model, maps[:, n_support:], draw("sample"))
    logits = dict(zip(versions, torch.split(scores.logits.float(), n_query, 1), strict=True))
    smoothing, labels = recipe.label_smoothing, episode.labels.flatten()
    losses = {
        version: nn.functional.cross_entropy(x.flatten(0, 1), labels, label_smoothing=smoothing)
        for version, x in logits.items()
    }
    if mixed is not None:
        losses["clean"] = mixed.cross_entropy(logits["clean"], smoothing)
    if recipe.trades:
        losses["adversarial"] = recipe.trades * compute_divergence_from(logits["clean"], logits["adversarial"]).mean()
    loss = torch.stack([share * losses[version] for version, share in list_shares(recipe).items()]).sum()
    if metric_loss is not None:
        if scores.embeddings is None:
            raise UserError(f"the head of {recipe.method} gives no embeddings for a metric loss; set hesim to 0")
        classes = episode.class_ids.gather(1, episode.labels).repeat(1, len(versions))
        loss = loss + recipe.hesim * metric_loss(flatten_embeddings(scores.embeddings), classes.flatten())
    return loss if scores.penalty is None else loss + scores.penalty


def flatten_embeddings(embeddings: DiagonalGaussian | Tensor | None) -> Tensor:
    """Embeddings (E, n, ...) as the rows (E n, D) that metric losses take; Gaussians as [mean, var]."""
    if embeddings is None:
        raise UserError("this head gives no embeddings for a metric loss; set hesim to 0, or take another head")
    rows = flatten_gaussians(embeddings) if isinstance(embeddings, DiagonalGaussian) else embeddings
    return rows.flatten(0, 1)


def build_hesim(recipe: Recipe, head: Head) -> Hesim | None:
    """The recipe's Hesim, on Gaussians or, for a head that embeds in vectors, on the softmax of the vector."""
    if recipe.hesim == 0:
        return None
    kind = "gaussian" if head.embedding_kind == "gaussian" else "simplex"
    return Hesim(temperature=recipe.temperature, kind=kind)
