"""Validation during training: clean accuracy, noise, and a PGD probe that tells when FGSM training fools itself."""

from typing import Any

import numpy as np
import torch

from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.core.statistics import compute_t_quantile
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.data.image_set import ImageSet
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import FewShotNet, fold_net
from anrot_lib.fewshot.episode_loss import list_shares
from anrot_lib.settings import Recipe

QUERY = 10  # images of each class in an episode of validation
PROBE_TASKS, PROBE_QUERY, PROBE_STEPS = 20, 5, 7
ALARM_DROP = 0.10  # PGD accuracy this far below its best while FGSM accuracy is at its best or above


def measure_clean(
    net: FewShotNet, image_set: ImageSet, manifest: EpisodeManifest, device: torch.device | str
) -> np.ndarray:
    """Accuracies (E,) in [0, 1] of the validation episodes, on unchanged images."""
    counts = evaluation.count_clean(fold_net(net), image_set, manifest.rows, device)
    accuracies: np.ndarray = counts / manifest.rows.query[0].size
    return accuracies


def describe_chance(accuracies: np.ndarray, way: int, classes: str = "validation classes") -> str | None:
    """A sentence if accuracies (E,) of episodes are not above chance, by a one-sided t-test at 5 %.

    None for fewer than two episodes, too.
    """
    n, chance = len(accuracies), 1 / way
    if n < 2:
        return None
    bound = accuracies.mean() - compute_t_quantile(n, 0.95) * accuracies.std(ddof=1) / n**0.5
    if bound > chance:
        return None
    return (
        f"the net is not above chance: {100 * accuracies.mean():.1f} % on {n} episodes of {classes}, where "
        f"guessing has {100 * chance:.1f} %; train longer, or at a smaller learning rate"
    )


def validate(
    net: FewShotNet,
    image_set: ImageSet,
    manifest: EpisodeManifest,
    recipe: Recipe,
    device: torch.device | str,
    clean: np.ndarray | None = None,
) -> dict[str, Any]:
    """Accuracies in [0, 1] on the validation classes, for the versions that the recipe trains on.

    "clean" always; "noisy" at the recipe's largest sigma; "fgsm" and "adversarial" (PGD-7) on a small probe.
    clean: what `measure_clean` gives, if it is at hand already.
    """
    clean = measure_clean(net, image_set, manifest, device) if clean is None else clean
    net, rows = fold_net(net), manifest.rows
    per_task = rows.query.shape[1] * rows.query.shape[2]
    numbers = {"clean": float(np.mean(clean))}
    numbers["view"] = numbers["clean"]
    if recipe.noisy > 0:
        change = evaluation.make_noise_change(recipe.sigma_high, manifest.seed)
        counts = evaluation.count_changed(net, image_set, rows, change, device=device)
        numbers["noisy"] = float(np.mean(counts) / per_task)
    if recipe.adversarial > 0:
        probe = rows[:PROBE_TASKS].with_queries(PROBE_QUERY)
        n = probe.query.shape[1] * PROBE_QUERY
        attacks = {
            "fgsm": fgsm(recipe.eps, target="query"),
            "adversarial": pgd(recipe.eps, PROBE_STEPS, recipe.eps / 4, 1, target="query"),
        }
        for name, threat in attacks.items():
            counts = evaluation.count_attacked(net, image_set, probe, threat, manifest.seed, device)
            numbers[name] = float(np.mean(counts) / n)
    return numbers


def compute_score(recipe: Recipe, numbers: dict[str, Any]) -> float:
    """What selection maximises, in [0, 1]: validation accuracies of the recipe's versions, weighted by their shares."""
    return float(sum(share * numbers[version] for version, share in list_shares(recipe).items()))


def count_passes(manifest: EpisodeManifest, recipe: Recipe) -> int:
    """Passes of the encoder over an image that `validate` takes at most: forward 1, forward and back to pixels 2."""
    rows = manifest.rows
    support, query = np.unique(rows.support), np.unique(rows.query)
    passes = len(np.union1d(support, query))
    if recipe.noisy > 0:
        passes += len(support) + len(query)
    if recipe.adversarial > 0:
        passes += rows[:PROBE_TASKS].with_queries(PROBE_QUERY).query.size * (2 + 2 * (1 + PROBE_STEPS))
    return passes


def describe_overfitting(history: list[dict[str, Any]]) -> str | None:
    """A sentence if FGSM accuracy rose while PGD accuracy fell ("catastrophic overfitting", Wong et al. 2020).

    Compares the last validation with the one of the best PGD accuracy so far.
    """
    if len(history) < 2 or "fgsm" not in history[-1]:
        return None
    last, best = history[-1], max(history[:-1], key=lambda h: h["adversarial"])
    if last["adversarial"] <= best["adversarial"] - ALARM_DROP and last["fgsm"] >= best["fgsm"]:
        return (
            f"step {last['step']}: training overfits to FGSM: since step {best['step']} accuracy under FGSM went from "
            f"{best['fgsm']:.2f} to {last['fgsm']:.2f}, under PGD-{PROBE_STEPS} from {best['adversarial']:.2f} to "
            f"{last['adversarial']:.2f}; train with more attack steps or a smaller eps"
        )
    return None
