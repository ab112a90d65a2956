"""The processes that share a run, on one machine or several: which one this is, and what they tell one another.

Pieces of work are numbered, and piece k belongs to process k modulo their count. What is gathered comes back in the
order of the pieces, so no result depends on the number of processes. Lightning Fabric starts the processes, or finds
those that `torchrun` started, and connects them.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, distributed

from anrot_lib.core.errors import UserError
from anrot_lib.core.torchrun import count_started

T = TypeVar("T")
LOST = "another process of this run has ended; the same command continues, with any number of processes"


@contextlib.contextmanager
def naming_the_lost() -> Iterator[None]:
    """UserError in place of what the network says when another process is gone."""
    try:
        yield
    except RuntimeError as error:  # "Connection closed by peer" of gloo; DistBackendError of NCCL is one, too
        raise UserError(LOST) from error


@dataclass(frozen=True)
class Ranks:
    """This process, number `number` of `count`. `ALONE` is a run of a single process, in which nothing is sent."""

    number: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.number == 0

    def share(self, pieces: int) -> range:
        """The numbers of the pieces that are this process's."""
        return range(self.number, pieces, self.count)

    def describe(self, device: str) -> str:
        """The kind of device of a process, with the number of processes where there are several."""
        return device if self.count == 1 else f"{self.count} processes, each {device}"

    def wait(self) -> None:
        """Return when all processes are here."""
        self.gather(None)

    @contextlib.contextmanager
    def first(self) -> Iterator[None]:
        """The first process goes through this block before the others do: it makes the files that they find."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in their order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        with naming_the_lost():
            distributed.all_gather_object(values, value)
        return values

    def gather_first(self, value: T) -> list[T]:
        """The values of all processes, in their order, for the first process; none for the others."""
        if self.count == 1:
            return [value]
        values: list[Any] | None = [None] * self.count if self.is_first else None
        with naming_the_lost():
            distributed.gather_object(value, values)
        return values or []

    def agree(self, value: bool) -> bool:
        """Whether the value is true in any process."""
        return any(self.gather(value))

    def gather_rows(self, rows: Sequence[Tensor]) -> Tensor:
        """The rows (P,) of all pieces, as (pieces, P) in their order. Each process has the same number of them."""
        stacked = torch.stack(list(rows))
        if self.count == 1:
            return stacked
        parts = [torch.empty_like(stacked) for _ in range(self.count)]
        with naming_the_lost():
            distributed.all_gather(parts, stacked)
        return torch.stack(parts, 1).flatten(0, 1)  # piece k was row k // count of process k % count


ALONE = Ranks()


class PartStore(Protocol):
    """Where finished parts are kept by name: a dict, or the journal of an experiment."""

    def __contains__(self, key: str, /) -> bool: ...
    def __getitem__(self, key: str, /) -> Any: ...
    def __setitem__(self, key: str, value: Any, /) -> None: ...


def measure_parts(
    parts: Mapping[str, Callable[[], Any]], store: PartStore | None = None, ranks: Ranks = ALONE
) -> dict[str, Any]:
    """What each part comes to, by its name. Processes take turns at those that are in no store, and keep them there."""
    store = {} if store is None else store
    known: dict[str, Any] = {}
    for kept in ranks.gather({name: store[name] for name in parts if name in store}):
        known |= kept
    missing = [name for name in parts if name not in known]
    measured = {}
    for k in ranks.share(len(missing)):
        store[missing[k]] = measured[missing[k]] = parts[missing[k]]()
    for theirs in ranks.gather(measured):
        known |= theirs
    return known


def start(devices: int, nodes: int, device: torch.device) -> tuple[Ranks, torch.device]:
    """Start the processes of a run, and connect them. Returns (ranks, the device of this process).

    devices  processes on each machine, one for a GPU, or so many that share the cores.
    nodes    machines; with several, `torchrun` starts the processes on each of them.
    device   what the run computes on.

    The others run the same command line, and print nothing but errors. UserError without Lightning Fabric, for more
    processes than GPUs or cores, and for numbers that are not those of torchrun.
    """
    started = count_started()
    if started > 1 and devices * nodes not in (1, started):
        raise UserError(f"torchrun started {started} processes, but --devices {devices} --nodes {nodes} ask for others")
    if nodes > 1 and started == 1:
        raise UserError("a run on several machines is started by torchrun on each of them; see docs/scale.md")
    if max(started, devices) == 1:
        return ALONE, device
    local = int(os.environ["LOCAL_WORLD_SIZE"]) if started > 1 else devices
    gpus = device.type == "cuda"
    most = torch.cuda.device_count() if gpus else os.cpu_count() or 1
    if local > most:
        raise UserError(f"{local} processes, but this machine has {most} {'GPUs' if gpus else 'cores'}")
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise UserError("a run of several processes needs Lightning Fabric: pip install 'anrot_lib[ranks]'") from error
    count = max(1, started // local)
    fabric = Fabric(accelerator=device.type, devices=local, num_nodes=count, strategy="ddp")
    fabric.launch()
    if not fabric.is_global_zero:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
        logging.disable(logging.INFO)
    return Ranks(fabric.global_rank, fabric.world_size), fabric.device
