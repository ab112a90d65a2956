"""Validation during training: clean accuracy, noise, and a PGD probe that tells when FGSM training fools itself."""

from typing import Any

import numpy as np
import torch

from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.data.image_set import ImageSet
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import FewShotNet, fold_net
from anrot_lib.settings import Recipe

PROBE_TASKS, PROBE_QUERY, PROBE_STEPS = 20, 5, 7
ALARM_DROP = 0.10  # PGD accuracy this far below its best while FGSM accuracy is at its best or above


def validate(
    net: FewShotNet, image_set: ImageSet, manifest: EpisodeManifest, recipe: Recipe, device: torch.device | str
) -> dict[str, Any]:
    """Accuracies in [0, 1] on the validation classes, for the versions that the recipe trains on.

    "clean" always; "noisy" at the recipe's largest sigma; "fgsm" and "adversarial" (PGD-7) on a small probe.
    """
    net, rows = fold_net(net), manifest.rows
    per_task = rows.query.shape[1] * rows.query.shape[2]
    numbers = {"clean": float(np.mean(evaluation.count_clean(net, image_set, rows, device)) / per_task)}
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
