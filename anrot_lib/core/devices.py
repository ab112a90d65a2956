"""Which device and which precision: chosen once, printed, and stored in the record."""

import ctypes
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from anrot_lib.core.errors import UserError

M = TypeVar("M", bound=nn.Module)
M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1  # of glibc's malloc.h


def disable_tf32() -> None:
    """Let fp32 mean fp32 on a GPU, too: by default cuDNN rounds the factors of a convolution to 10 bits (TF32)."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def resolve_device(name: str = "auto") -> torch.device:
    """ "auto" is a CUDA device where there is one, else the CPU. UserError for a device that is not there.

    From then on fp32 is exact on a GPU as well, see `disable_tf32`.
    """
    disable_tf32()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("no CUDA device is available here; use --device cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}; use auto, cpu or cuda") from error
    try:
        torch.zeros(1, device=device).cpu()  # "meta" and back-ends that are not compiled in fail here
    except (RuntimeError, AssertionError) as error:  # NotImplementedError is a RuntimeError
        raise UserError(f"the device {name!r} does not work here; use auto, cpu or cuda") from error
    return device


def resolve_precision(name: str, device: torch.device) -> str:
    """ "auto" is bf16 where the hardware multiplies it natively (CUDA; AVX-512 BF16 or AMX), else fp32.

    Without such instructions bf16 on a CPU is several times slower than fp32.
    """
    if name not in ("auto", "fp32", "bf16"):
        raise UserError(f"unknown precision {name!r}; use auto, fp32 or bf16")
    if name != "auto":
        return name
    native = device.type == "cuda" or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return "bf16" if native else "fp32"


def store_channels_last(module: M) -> M:
    """The module, its convolutions' weights stored channels-last in place: quicker on most processors."""
    convert: Callable[..., M] = module.to  # whose annotation knows no memory_format
    return convert(memory_format=torch.channels_last)


def keep_memory() -> bool:
    """Keep freed memory in the process, for the next activation of that size; for programs that mostly train.

    glibc maps large blocks one by one and gives free memory back, and the kernel clears every page of the next large
    tensor anew, which costs more than many an elementwise operation on it. Returns whether that could be switched off:
    elsewhere there is no such function, and nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, or no such way to ask for it
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def flush_denormals() -> bool:
    """Let the processor take numbers below 1e-38 for 0: they mean nothing here, and each costs it a hundred cycles.

    Differences of the positions' variances, squared, are full of them. For the calling thread and those that it starts
    later, so: before any work. Returns whether the processor can.
    """
    return torch.set_flush_denormal(True)


def measure_peak_memory() -> float | None:
    """GiB of memory that this process held at most so far, mapped files among it; None on Windows, which keeps no such
    count within Python's reach."""
    if (peak := read_memory_status("VmHWM")) is not None:
        return peak / 2**30
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def read_memory_status(name: str) -> int | None:
    """Bytes of a line of /proc/self/status, such as VmRSS or VmHWM, the most since the start; None off Linux.

    Not from `getrusage`: a child's count begins there with what its parent held.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """bf16 autocast, or none for fp32. Divergences and losses step out of it by themselves."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def describe_device(device: torch.device) -> str:
    """What kind of device, for records: "CPU, 2 threads" or the GPU's product name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
