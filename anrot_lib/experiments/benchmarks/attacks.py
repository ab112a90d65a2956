"""What attacks on queries cost, against the passes of the encoder that they cannot do without.

The radius is so small, and the labels are the net's own answers, that no query is beaten and none leaves: every attack
takes all its steps on all queries. Where queries are beaten an attack is faster than here.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from anrot_lib.attacks.ascent import frozen
from anrot_lib.attacks.episode import attack_queries, fit_support
from anrot_lib.attacks.gradient import pgd
from anrot_lib.attacks.suite import StrongAttack, attack_queries_by_suite, list_attacks
from anrot_lib.core import randomness
from anrot_lib.data.episodes import Episode, EpisodeManifest
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.fewshot.classifier import FewShotNet, create_net, fold_net
from anrot_lib.fewshot.passes import count_images_per_pass
from anrot_lib.records.parts import TimingSettingsRecord
from anrot_lib.records.timing import interleave, write_timing

EPS = 1e-7  # of the pixel range: it changes no prediction
BOTH_WAYS, FORWARD = "forward and backward", "forward"


def run_passes(net: FewShotNet, images: Tensor, backward: bool) -> None:
    """One pass of the encoder over images (N, C, H, W), down to the pixels if `backward`."""
    limit = count_images_per_pass(images.shape[-1], images.device)
    with frozen(net), torch.set_grad_enabled(backward):
        for part in images.split(limit):
            pixels = part.detach().requires_grad_(backward)
            maps = net.encode(pixels)
            if backward:
                torch.autograd.grad(maps.sum(), pixels)


def draw_unbeaten(
    encoder: str, size: int, tasks: int, queries: int, device: torch.device
) -> tuple[FewShotNet, Episode]:
    """A net of random weights, ready to be tested, and episodes whose labels are its answers."""
    net = fold_net(create_net(encoder, "anrot", generator=randomness.make_generator(0, "init")).eval())
    image_set = synthetic(n_classes=40, per_class=20, size=size)
    rows = EpisodeManifest.make(image_set, "test", 5, 5, queries, tasks, 0).rows
    episode = rows.to_episode(image_set, device)
    net = net.to(device)
    with torch.no_grad():
        answers = net.scores(episode).logits.argmax(-1)
    return net, replace(episode, labels=answers)


def time_attacks(
    size: int = 32,
    repeats: int = 3,
    tasks: int = 2,
    queries: int = 5,
    encoder: str = "resnet12_anrot",
    device: str = "cpu",
) -> Path:
    """Time attacks on the queries of some 5-way episodes; write data/results/bench/attacks-SIZEpx.json.

    An attack is timed as `evaluate` runs it: fitting the support set, a look at the clean queries, all steps, and what
    keeps the best candidates. Its limit counts its steps alone, each one pass over the queries. On a CPU it is the
    time of the processor that counts, so that others who use the machine do not.
    """
    where = torch.device(device)
    net, episode = draw_unbeaten(encoder, size, tasks, queries, where)
    images, most = episode.query.flatten(0, 1), count_images_per_pass(size, where)
    way = episode.mask.shape[1]
    strong = list_attacks("aa-lite", EPS, way)
    steps = strong[0].threat.steps
    threat = pgd(EPS, steps, EPS / 4, 1, target="query")

    def attack_by_pgd(k: int) -> None:
        with frozen(net), torch.no_grad():
            model = fit_support(net, episode, most)
        generator = randomness.make_generator(k, "attack")
        attack_queries(
            net, model, episode.query, episode.labels, threat, generator, stop="beaten", keep="best", max_images=most
        )

    def attack_by_suite(attacks: list[StrongAttack], k: int) -> None:
        attack_queries_by_suite(net, episode, attacks, randomness.make_generator(k, "attack"), most)

    parts = {loss: [a for a in strong if a.loss == loss] for loss in ("cross-entropy", "targeted", "margin")}
    names = {loss: attacks[0].name.split(" target ")[0] for loss, attacks in parts.items()}
    variants: dict[str, Callable[[int], object]] = {
        FORWARD: lambda k: run_passes(net, images, backward=False),
        BOTH_WAYS: lambda k: run_passes(net, images, backward=True),
        f"PGD-{steps}": attack_by_pgd,
    }
    limits: dict[str, tuple[str, float]] = {f"PGD-{steps}": (BOTH_WAYS, steps)}
    for loss, attacks in parts.items():
        variants[names[loss]] = partial(attack_by_suite, attacks)
        passes = sum(attack.threat.steps for attack in attacks)
        limits[names[loss]] = (FORWARD if attacks[0].rule == "squares" else BOTH_WAYS, passes)
    settings: TimingSettingsRecord = {
        "reference": BOTH_WAYS,
        "repeats": repeats,
        "queries": len(images),
        "limits": limits,
    }
    on_cpu = where.type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    what = f"attacks on {len(images)} queries, {encoder}, {size} px{', time of the processor' if on_cpu else ''}"
    return write_timing(f"attacks-{size}px", what, settings, interleave(variants, repeats, clock), where)
