"""How much memory and time the levels take for one episode, against the dense way: one matrix product and a top-k.

"Products alone" is the limit of any exact way: the forward matrix products, and nothing done with them.

Features stand in for those of an encoder: only their sizes matter here. Peak memory is that of a separate process,
above what it held with the features made; seconds are forward and backward, variants in turn.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from anrot_lib.core.devices import read_memory_status
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.levels.combine import build
from anrot_lib.fewshot.levels.matching import BUFFER_ON_CPU, compute_similarity, group_by_class
from anrot_lib.fewshot.levels.part import make_vectors as part_vectors
from anrot_lib.fewshot.levels.pixel import make_vectors as pixel_vectors
from anrot_lib.records.parts import TimingSettingsRecord
from anrot_lib.records.timing import PEAK, interleave, write_timing

WAY, QUERY = 5, 15
SIZES = {"conv64f 64x21x21": (64, 21), "resnet12 640x5x5": (640, 5)}  # at 84 x 84 pixels
VIEWS = {"pixel": pixel_vectors, "part": part_vectors}
MIB = 2**20
Maps = tuple[Tensor, Tensor, Tensor]  # support maps, their labels, query maps


def compute_dense_similarity(query: Tensor, pool: Tensor, k: int = 1) -> Tensor:
    """The dense way: vectors of queries (E, n, I, D) and classes (E, way, J, D) -> (E, n, way), all at once."""
    (n, i), (way, j) = query.shape[1:3], pool.shape[1:3]
    products = query.flatten(1, 2) @ pool.flatten(1, 2).mT
    best = torch.unflatten(products, -1, (way, j)).topk(k).values
    return torch.unflatten(best, 1, (n, i)).mean((2, 4))


def draw_features(channels: int, side: int, shot: int = 5, seed: int = 0) -> Maps:
    """Support maps (1, 25, C, h, h), their labels and query maps (1, 75, C, h, h), asking for gradients."""
    generator = torch.Generator().manual_seed(seed)
    maps = (torch.randn(1, WAY * n, channels, side, side, generator=generator).relu() for n in (shot, QUERY))
    support, query = (m.requires_grad_() for m in maps)
    return support, torch.arange(WAY).repeat(shot)[None], query


def step(level: str, dense: bool, support: Tensor, labels: Tensor, query: Tensor) -> None:
    """Forward and backward of one episode; `level` as in `levels.combine.build`, pixel or part for the dense way."""
    support.grad = query.grad = None
    if level in VIEWS:
        view, measure = VIEWS[level], compute_dense_similarity if dense else _lean
        logits = measure(view(query), view(group_by_class(support, labels).maps).flatten(2, 3))
    elif dense:
        raise UserError("the dense way is there for the levels pixel and part")
    else:
        head = build(level, support.shape[-3])
        logits = head.score(head.fit(support, labels), query).logits
    targets = torch.arange(WAY).repeat_interleave(QUERY)
    torch.autograd.backward(torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets))


@torch.no_grad()
def compute_products(level: str, support: Tensor, labels: Tensor, query: Tensor) -> None:
    """All inner products of a level, block by block into one buffer."""
    view = VIEWS[level]
    rows, pool = view(query)[0].flatten(0, 1), view(group_by_class(support, labels).maps)[0].flatten(0, 2).mT
    held = rows.new_empty(max(1, BUFFER_ON_CPU // pool.shape[1]), pool.shape[1])
    for block in torch.split(rows, len(held)):
        torch.mm(block, pool, out=held[: len(block)])


def repeat_step(level: str, dense: bool, maps: Maps, repeat: int) -> None:
    step(level, dense, *maps)


def repeat_products(level: str, maps: Maps, repeat: int) -> None:
    compute_products(level, *maps)


def _lean(query: Tensor, pool: Tensor) -> Tensor:
    return compute_similarity(query, pool, None)


def measure_peak_memory(level: str, size: str, dense: bool = False, shot: int = 5) -> float:
    """MiB that forward and backward of one episode need at most above the features, in a separate process.

    Of the resident memory, so that buffers of the libraries count. UserError off Linux.
    """
    if not Path("/proc/self/clear_refs").exists():
        raise UserError("peak memory is read from /proc/self/status, which this system does not have")
    call = (
        f"from anrot_lib.experiments.benchmarks import levels; levels.print_peak({level!r}, {size!r}, {dense}, {shot})"
    )
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"measuring {level} on {size} failed: {done.stderr.strip()[-300:]}")
    return float(json.loads(done.stdout))


def print_peak(level: str, size: str, dense: bool, shot: int) -> None:
    """What the process of `measure_peak_memory` runs: a tiny episode to load the libraries, then the measured one."""
    step(level, dense, *draw_features(8, 4, shot))
    given = draw_features(*SIZES[size], shot)
    for tensor in (given[0], given[2]):
        tensor.grad = torch.zeros_like(tensor)  # the gradients of features are features too
        tensor.grad.add_(1)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = read_memory_status("VmRSS")
    step(level, dense, *given)
    peak = read_memory_status("VmHWM")
    if before is None or peak is None:
        raise UserError("this system does not say how much memory a process holds")
    sys.stdout.write(json.dumps(round((peak - before) / MIB, 1)))


def measure(repeats: int = 3, levels: tuple[str, ...] = ("pixel", "part", "pixel+part+kl-reverse")) -> list[Path]:
    """Time and peak memory of 5-way 5-shot 15-query episodes; writes data/results/bench/levels-SIZE.json for each size.

    The dense way of the part level on ResNet-12 needs about 6 GiB.
    """
    written = []
    for size, shape in SIZES.items():
        given = draw_features(*shape)
        variants: dict[str, Callable[[int], None]] = {}
        memory: dict[str, float] = {}
        reference: dict[str, str] = {}
        for level in levels:
            for dense in (False, True) if level in VIEWS else (False,):
                name = f"{level}, {'dense' if dense else 'by blocks'}"
                variants[name] = partial(repeat_step, level, dense, given)
                memory[name] = measure_peak_memory(level, size, dense)
            if level in VIEWS:
                variants[f"{level}, products alone"] = partial(repeat_products, level, given)
                reference |= {n: f"{level}, dense" for n in variants if n.startswith(f"{level}, ")}
        settings: TimingSettingsRecord = {
            "reference": reference,
            "reference_title": "the dense way",
            "repeats": repeats,
            PEAK: memory,
        }
        what = f"levels of one 5-way 5-shot 15-query episode, forward and backward, {size}"
        name = f"levels-{size.split()[0]}"
        written.append(write_timing(name, what, settings, interleave(variants, repeats), torch.device("cpu")))
    return written
