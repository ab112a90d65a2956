"""Judges: the same attacks by other people's libraries, on the same queries, to see whether ours are as strong.

| attack | adversarial-robustness-toolbox | adv-lib |
|---|---|---|
| PGD with steps of eps / 4 | yes | yes |
| adaptive steps on the cross-entropy (APGD) | yes | yes |
| adaptive steps on the targeted difference of logits ratio, every wrong class | no | yes |
| search by squares | yes | no |
| to the nearest boundary (FAB), beside all adaptive steps of AA, which leaves FAB out | no | yes |
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anrot_lib.attacks.episode import EpisodeNet, attack_queries, fit_support
from anrot_lib.attacks.external import load_adv_lib, run_adv_lib_attack, run_external_attack
from anrot_lib.attacks.gradient import pgd
from anrot_lib.attacks.suite import LENGTHS, StrongAttack, attack_queries_by_suite, list_attacks
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import UserError
from anrot_lib.data.episodes import Episode

ART, ADV_LIB = "adversarial-robustness-toolbox", "adv-lib"
STEPS, SQUARES = LENGTHS["aa-lite"]
PGD, APGD, TARGETED, SQUARE = f"PGD-{STEPS}", f"APGD-CE-{STEPS}", f"APGD-DLR-{STEPS} targeted", f"Square-{SQUARES}"
LONG = LENGTHS["aa"][0]
BOUNDARY = f"FAB-{LONG} targeted"  # Croce & Hein 2020, arXiv 1907.02044: no attack of ours, the fourth of AutoAttack
Generate = Callable[[nn.Module, Tensor, Tensor], Tensor]  # (classifier, images (B, C, H, W), labels (B,)) -> images


@dataclass(frozen=True)
class Judge:
    """An attack of another library: what the kit calls it, the library, and how it makes adversarial images.

    BOUNDARY has no twin of ours; it is compared with the worst case of what AA asks in its place.
    """

    attack: str
    library: str
    generate: Generate


def make_pgd(eps: float) -> ThreatModel:
    """PGD on queries in the linf ball: steps of eps / 4 from one random point."""
    return pgd(eps, STEPS, eps / 4, 1, target="query")


def list_judges(eps: float) -> tuple[list[Judge], dict[str, str]]:
    """Attacks of the libraries that are installed, for the linf ball of eps; of the others, why there are none."""
    judges, missing = [], {}
    for library, make in ((ART, list_art_judges), (ADV_LIB, list_adv_lib_judges)):
        try:
            judges += make(eps)
        except UserError as error:
            missing[library] = str(error)
    return judges, missing


def list_art_judges(eps: float) -> list[Judge]:
    try:
        from art.attacks.evasion import AutoProjectedGradientDescent, ProjectedGradientDescent, SquareAttack
    except ImportError as error:
        raise UserError(f"not installed: pip install {ART}") from error
    threat = make_pgd(eps)
    common = {"norm": np.inf, "eps": eps, "batch_size": 256, "verbose": False}
    makers = {
        PGD: partial(ProjectedGradientDescent, eps_step=eps / 4, max_iter=STEPS, num_random_init=1, **common),
        APGD: partial(
            AutoProjectedGradientDescent,
            eps_step=2 * eps,
            max_iter=STEPS,
            nb_random_init=1,
            loss_type="cross_entropy",
            **common,
        ),
        SQUARE: partial(SquareAttack, max_iter=SQUARES, p_init=0.8, nb_restarts=1, **common),
    }
    return [Judge(attack, ART, partial(run_external_attack, make, threat=threat)) for attack, make in makers.items()]


def list_adv_lib_judges(eps: float) -> list[Judge]:
    load_adv_lib()
    threat = make_pgd(eps)
    ball: dict[str, Any] = {"eps": eps, "norm": float("inf"), "n_iter": STEPS}
    steps: dict[str, Any] = {"ε": eps, "steps": STEPS, "absolute_step_size": eps / 4}  # its own argument
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        PGD: ("pgd_linf", steps),
        APGD: ("apgd", {**ball, "loss_function": "ce"}),
        TARGETED: ("apgd_targeted", {**ball, "loss_function": "dlr"}),
        BOUNDARY: ("fab", {"norm": float("inf"), "n_iter": LONG, "ε": eps, "targeted_restarts": True}),
    }
    return [
        Judge(attack, ADV_LIB, partial(run_adv_lib_attack, name, threat=threat, **options))
        for attack, (name, options) in asked.items()
    ]


def count_passes(attack: str, way: int, library: str = "") -> int:
    """Passes of the encoder for a query that an attack takes at most, forward = 1; of ours without a library.

    The search by squares of ART asks for three forward passes a step, FAB for two and a backward one.
    """
    if attack == BOUNDARY:
        return LONG * (4 * (way - 1) if library else 3 * way)
    if attack == SQUARE:
        return SQUARES * (3 if library == ART else 1)
    return 3 * STEPS * (way - 1 if attack == TARGETED else 1)


def find_version(library: str) -> str:
    """The version of a library that is installed; "unknown" where it does not say."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "unknown"


def attack_as_judged(
    net: EpisodeNet,
    episode: Episode,
    attack: str,
    eps: float,
    generator: torch.Generator,
    max_images: int | None = None,
) -> Tensor:
    """Which queries (E, n) are right after our own attack of that name; for BOUNDARY, after all adaptive steps of AA.

    UserError for an unknown name.
    """
    way = episode.mask.shape[1]
    strong = list_attacks("aa-lite", eps, way)
    groups: dict[str, list[StrongAttack]] = {
        APGD: [a for a in strong if a.loss == "cross-entropy"],
        TARGETED: [a for a in strong if a.loss == "targeted"],
        SQUARE: [a for a in strong if a.rule == "squares"],
        BOUNDARY: [a for a in list_attacks("aa", eps, way) if a.rule != "squares"],
    }
    if attack in groups:
        return attack_queries_by_suite(net, episode, groups[attack], generator, max_images).right
    if attack != PGD:
        raise UserError(f"unknown attack {attack!r}; choose from {PGD}, {', '.join(groups)}")
    with torch.no_grad():
        model = fit_support(net, episode, max_images)
    ascent = attack_queries(
        net, model, episode.query, episode.labels, make_pgd(eps), generator, stop="beaten", keep="best",
        max_images=max_images,
    )  # fmt: skip
    assert ascent.beaten is not None, "a search that stops at beaten queries says which they are"
    return ~ascent.beaten
