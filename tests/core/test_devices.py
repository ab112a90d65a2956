"""Which device and precision: what is chosen, and what is refused."""

import subprocess
import sys

import pytest
import torch

from anrot_lib.core import devices
from anrot_lib.core.errors import UserError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_auto_is_cuda_where_there_is_one_else_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.resolve_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.resolve_device("auto") == CPU
    assert devices.resolve_device("cpu") == CPU


def test_fp32_is_exact_once_a_device_is_chosen():
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    devices.resolve_device("cpu")
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.gpu
def test_a_convolution_in_fp32_is_exact_on_a_gpu():
    device = devices.resolve_device("cuda")
    x, w = (
        torch.randn(shape, generator=torch.Generator().manual_seed(0)) for shape in ((4, 64, 16, 16), (64, 64, 3, 3))
    )
    exact = torch.nn.functional.conv2d(x.double(), w.double())
    error = torch.nn.functional.conv2d(x.to(device), w.to(device)).cpu() - exact
    assert error.abs().max() < 1e-4 * exact.std()


def test_an_absent_device_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(UserError, match=r"no CUDA device.*--device cpu"):
            devices.resolve_device(name)


@pytest.mark.parametrize("name", ["gpu", "", "CUDA", "cpu:x"])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(UserError, match=f"unknown device '{name}'; use auto, cpu or cuda"):
        devices.resolve_device(name)


@pytest.mark.parametrize("name", ["meta", "vulkan"])
def test_a_device_that_cannot_hold_numbers_here_is_refused(name):
    with pytest.raises(UserError, match=f"the device '{name}' does not work here"):
        devices.resolve_device(name)


def test_precision_is_bf16_only_where_the_hardware_multiplies_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert devices.resolve_precision("auto", CPU) == "bf16"
    for capabilities in ({"avx512_bf16": False}, {"avx2": True}, {}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda c=capabilities: c)
        assert devices.resolve_precision("auto", CPU) == "fp32"
    assert devices.resolve_precision("auto", CUDA) == "bf16"
    for name in ("fp32", "bf16"):
        assert devices.resolve_precision(name, CPU) == devices.resolve_precision(name, CUDA) == name


def test_an_unknown_precision_is_refused():
    with pytest.raises(UserError, match="unknown precision 'fp16'; use auto, fp32 or bf16"):
        devices.resolve_precision("fp16", CPU)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_does_what_it_says(precision, dtype):
    with devices.autocast(CPU, precision):
        assert (torch.rand(2, 2) @ torch.rand(2, 2)).dtype == dtype
    assert (torch.rand(2, 2) @ torch.rand(2, 2)).dtype == torch.float32


def test_the_kind_of_device_is_said():
    assert devices.describe_device(CPU) == f"CPU, {torch.get_num_threads()} threads"


FAULTS = """
import resource, torch
from anrot_lib.core import devices
if KEPT: devices.keep_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): torch.ones(10**7)  # until there is room
before = faults()
for _ in range(10): torch.ones(10**7)
print(faults() - before)
"""


def test_memory_that_is_kept_need_not_be_cleared_again():
    asked = "from anrot_lib.core import devices; raise SystemExit(not devices.keep_memory())"
    if subprocess.run([sys.executable, "-c", asked]).returncode:  # not here: it would hold for all tests to come
        pytest.skip("this C library cannot be told to keep memory")
    found = {}
    for kept in (True, False):
        call = [sys.executable, "-c", FAULTS.replace("KEPT", str(kept))]
        found[kept] = int(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
    assert 10 * found[True] < found[False]


TINY = """
import torch
from anrot_lib.core import devices
before = bool(torch.tensor(1e-30) * 1e-10)
able = devices.flush_denormals()
torch.set_num_threads(2)
print(before, able, int((torch.full((10**6,), 1e-30) * 1e-10 == 0).sum()))
"""


def test_denormals_are_flushed_in_all_threads():
    """A large product is spread over threads; none of its numbers may be a denormal."""
    call = [sys.executable, "-c", TINY]
    before, able, flushed = subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()
    if able == "False":
        pytest.skip("this processor cannot flush denormals")
    assert (before, int(flushed)) == ("True", 10**6)


PEAK = (
    "import torch; from anrot_lib.core.devices import measure_peak_memory as p; low = p(); "
    "torch.ones(2**28); print(low, p())"
)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no such count")
def test_peak_memory_is_in_gib():
    """2^28 floats are one."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    low, high = map(float, done.stdout.split())
    assert low > 0.05 and 0.9 < high - low < 1.1


@pytest.mark.gpu
def test_the_gpu_is_found_and_named():
    device = devices.resolve_device("cuda")
    assert devices.describe_device(device) == torch.cuda.get_device_name(device)
    with pytest.raises(UserError, match="does not work here"):
        devices.resolve_device("cuda:99")
