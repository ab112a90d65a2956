"""The experiment on levels: one encoder a (shot, seed), trained on pixels alone, and every combination of levels on it.

All variants work on the same feature maps and the same episodes, and so differ in nothing but their levels. The fusion
of a variant is fitted to validation episodes with the maps frozen. What an end-to-end training with several levels
gives is another question:
`anrot run --rows levels:pixel levels:pixel+part mml mml-wasserstein2`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anrot_lib import settings
from anrot_lib.attacks.gradient import fgsm, pgd
from anrot_lib.core import checkpoints, configs
from anrot_lib.core.configs import make_key
from anrot_lib.core.errors import UserError
from anrot_lib.core.progress import accumulate
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.experiments import rows as pipeline
from anrot_lib.experiments.columns import Column, evaluate_row
from anrot_lib.experiments.setting import Setting, make_manifest
from anrot_lib.fewshot import evaluation
from anrot_lib.fewshot.classifier import FewShotNet, folded
from anrot_lib.fewshot.levels import combine
from anrot_lib.fewshot.levels.fusion import fit, level_shares
from anrot_lib.fewshot.levels.head import Level, MultiLevelHead, fit_levels, level_divergences
from anrot_lib.fewshot.levels.pixel import PixelLevel
from anrot_lib.records import results
from anrot_lib.settings import Budget, Protocol, Recipe

ENCODER = "conv64f"
DISTRIBUTIONS = ("kl", "wasserstein2", "hellinger")
LEVELS: dict[str, Callable[[], Level]] = {
    "pixel": lambda: PixelLevel(k=3),  # as the encoder was trained
    **{name: combine.LEVELS[name] for name in ("part", *DISTRIBUTIONS)},
}
REFERENCE = "pixel"
VARIANTS = (
    *("pixel", "part", "kl", "wasserstein2", "hellinger"),
    "pixel+part",
    *("pixel+kl", "pixel+wasserstein2", "pixel+hellinger"),
    *("part+kl", "part+wasserstein2", "part+hellinger"),
    *("pixel+part+kl", "pixel+part+wasserstein2", "pixel+part+hellinger"),
)
WEAK_EPS, WEAK_STEPS = (1 / 255, 2 / 255), 10  # at the protocol's eps no level of a net trained clean may be left
VALIDATION_QUERY = 10
TASKS_PER_PASS = 16

# What the presets change beyond their own sizes: every variant is attacked, so there are fewer tasks.
SHOTS = {"smoke": (5,), "laptop": (5, 1), "paper": (5, 1)}
LENGTHS: dict[str, dict[str, int]] = {
    "smoke": {"episodes": 40, "validation_tasks": 20, "clean_tasks": 40, "attacked_tasks": 4, "attacked_query": 1},
    "laptop": {"attacked_tasks": 50, "attacked_query": 2},
    "paper": {"attacked_tasks": 200, "attacked_query": 5},
}


def budget_of(preset: str | None = None) -> Budget:
    """A preset's budget with the encoder and the lengths of this experiment."""
    budget = settings.preset(preset)
    return configs.change(budget, encoder=ENCODER, **LENGTHS[budget.preset])


def recipe_of(seed: int) -> Recipe:
    """Training of the encoder: pixels alone, clean."""
    return Recipe(method="dn4", hesim=0.0, seed=seed)


def attacks_of(protocol: Protocol, budget: Budget) -> list[Column]:
    """From weak to strong: PGD at small radii, then FGSM and PGD at the protocol's."""
    sizes = {"tasks": budget.attacked_tasks, "query": budget.attacked_query}
    weak = [pgd(eps, WEAK_STEPS, eps / 4, 1, target="query") for eps in WEAK_EPS]
    strong = pgd(protocol.eps, protocol.steps, protocol.step, 1, target="query")
    return [Column(t.name, **sizes, threat=t) for t in (*weak, fgsm(protocol.eps, target="query"), strong)]


def check_variants(names: list[str]) -> list[str]:
    """The names in the order of VARIANTS, the reference always among them. UserError for an unknown one."""
    if unknown := [name for name in names if name not in VARIANTS]:
        raise UserError(f"unknown variant {unknown[0]!r}; choose from {', '.join(VARIANTS)}")
    return [name for name in VARIANTS if name in names or name == REFERENCE]


def path_of(setting: Setting, variant: str, seed: int) -> Path:
    return setting.folder / f"{variant}-seed-{seed}.json"


def run(setting: Setting, seed: int, variants: list[str]) -> list[Path]:
    """Train the encoder of a seed, then test and record every variant that has no record yet; all their paths.

    A kill loses at most a level's divergences, or a part of a column; the same call goes on.
    """
    manifest, recipe = make_manifest(setting), recipe_of(seed)
    net, trained, _ = pipeline.train_row(setting, f"encoder-seed-{seed}", recipe)
    net = folded(net.to(setting.device))
    files = {variant: path_of(setting, variant, seed) for variant in variants}
    wanted = [v for v, path in files.items() if not is_finished(path, setting, recipe, manifest, trained)]
    needed = [name for name in LEVELS if any(name in variant.split("+") for variant in wanted)]
    manifests = splits_of(setting, manifest)
    scores = {
        split: level_scores(setting, net, split, episodes, trained["checkpoint"], seed, needed)
        for split, episodes in manifests.items()
    }
    for variant in wanted:
        results.write(files[variant], test(setting, variant, net, recipe, trained, manifests, scores))
        (setting.work / f"{variant}-seed-{seed}-evaluation.jsonl").unlink(missing_ok=True)
    return list(files.values())


def splits_of(setting: Setting, manifest: EpisodeManifest) -> dict[str, EpisodeManifest]:
    """The episodes that fusions are fitted to, and those that are tested on."""
    protocol, tasks = setting.protocol, setting.budget.validation_tasks
    sizes = (protocol.way, protocol.shot, VALIDATION_QUERY, tasks, protocol.seed)
    return {"val": EpisodeManifest.make(setting.image_set, "val", *sizes), "test": manifest}


def is_finished(
    path: Path, setting: Setting, recipe: Recipe, manifest: EpisodeManifest, trained: dict[str, Any]
) -> bool:
    """Whether a record of this variant on this very encoder, with all its columns, exists."""
    asked = {column.name for column in attacks_of(setting.protocol, setting.budget)}
    return pipeline.is_finished(
        path, replace(setting, columns=("clean", "clean, attacked tasks")), recipe, manifest, trained
    ) and asked <= set(results.read(path)["columns"])


def level_scores(
    setting: Setting,
    net: FewShotNet,
    split: str,
    manifest: EpisodeManifest,
    checkpoint: str,
    seed: int,
    levels: list[str],
) -> dict[str, Tensor]:
    """`measured` levels of a split's episodes, each kept in a file beside the encoder and found there again."""
    asked = {"net": checkpoint, "rows": manifest.hash}
    files = {name: setting.work / f"levels-seed-{seed}-{split}-{name}.pt" for name in levels}
    kept = {name: checkpoints.load(path) for name, path in files.items() if path.is_file()}
    found = {name: content["divergences"] for name, content in kept.items() if content["asked"] == asked}
    for name, divergences in measured(setting, net, manifest, [n for n in levels if n not in found], split):
        checkpoints.save(files[name], {"asked": asked, "divergences": divergences})
        found[name] = divergences
    return found


def measured(
    setting: Setting, net: FewShotNet, manifest: EpisodeManifest, levels: list[str], title: str = "test"
) -> Iterator[tuple[str, Tensor]]:
    """(level, its divergences (tasks, queries, way)) of a manifest's episodes; every image is encoded once."""
    if not levels:
        return
    rows = manifest.rows
    used = np.unique(np.concatenate([rows.support.ravel(), rows.query.ravel()]))
    with setting.progress(f"{title} images", len(used)) as bar:
        maps = evaluation.describe(net, setting.image_set, used, setting.device, progress=accumulate(bar))
    labels = evaluation.support_labels(manifest.n_way, manifest.n_shot, 1).to(setting.device)
    for name in levels:
        level, parts = {name: LEVELS[name]()}, []
        with setting.progress(f"{title} episodes, {name}", len(rows)) as bar, torch.no_grad():
            for block in evaluation.blocks(len(rows), TASKS_PER_PASS):
                e = len(rows.classes[block])
                model = fit_levels(level, maps.select(rows.support[block].reshape(e, -1)), labels.expand(e, -1), None)
                found = level_divergences(level, model, maps.select(rows.query[block].reshape(e, -1)))[name]
                parts.append(found.cpu())
                bar(block.stop)
        yield name, torch.cat(parts)


def query_labels(manifest: EpisodeManifest) -> Tensor:
    """(tasks, way x queries): queries stand in the order of their classes."""
    labels = torch.arange(manifest.n_way).repeat_interleave(manifest.n_query)
    return labels.expand(manifest.n_tasks, len(labels))


def fitted_head(variant: str, channels: int, validation: Mapping[str, Tensor], labels: Tensor) -> MultiLevelHead:
    """The head of a variant with its fusion fitted to divergences (tasks, n, way) of validation queries."""
    head = MultiLevelHead(channels, {name: LEVELS[name]() for name in variant.split("+")})
    fit(head.fusion, validation, labels)
    return head


@torch.no_grad()
def clean_columns(
    budget: Budget, manifest: EpisodeManifest, head: MultiLevelHead, found: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, float]]:
    """Columns of all episodes, and of the attacked ones with their queries, from test divergences; and the shares."""
    started = time.perf_counter()
    contributions = head.fusion(*(found[name] for name in head.levels))
    right = torch.stack(list(contributions.values())).sum(0).argmax(-1) == query_labels(manifest)
    by_class = right.unflatten(1, (manifest.n_way, manifest.n_query))
    few = by_class[: budget.attacked_tasks, :, : budget.attacked_query]
    seconds = time.perf_counter() - started
    return {
        "clean": results.column(by_class.sum((1, 2)).numpy(), right.shape[1], seconds),
        "clean, attacked tasks": results.column(few.sum((1, 2)).numpy(), few[0].numel(), 0.0),
    }, level_shares(contributions)


def test(
    setting: Setting,
    variant: str,
    net: FewShotNet,
    recipe: Recipe,
    trained: dict[str, Any],
    manifests: dict[str, EpisodeManifest],
    scores: dict[str, dict[str, Tensor]],
) -> dict[str, Any]:
    """The record of a variant on a trained, folded encoder, from its levels' divergences on both splits."""
    manifest = manifests["test"]
    head = fitted_head(variant, net.backbone.out_channels, scores["val"], query_labels(manifests["val"]))
    columns, shares = clean_columns(setting.budget, manifest, head, scores["test"])
    fused = FewShotNet(net.backbone, head).eval().to(setting.device)
    journal = make_key(trained["checkpoint"], {k: v.tolist() for k, v in head.fusion.state_dict().items()})
    row = f"{variant}-seed-{recipe.seed}"
    columns |= evaluate_row(setting, row, fused, manifest, journal, attacks_of(setting.protocol, setting.budget))
    weights = (head.fusion.weights * head.fusion.log_scale.exp()).tolist()
    fusion = {
        "mode": head.fusion.mode,
        "weights": dict(zip(head.levels, [float(f"{w:.5g}") for w in weights], strict=True)),
        "shares": {name: round(share, 5) for name, share in shares.items()},
    }
    about = trained | {"fusion": fusion}
    return pipeline.make_record(setting, f"levels:{variant}", recipe, fused, manifest, about, columns)
