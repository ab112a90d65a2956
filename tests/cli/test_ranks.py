"""A run of several processes: the same bits as one process, and a lost process costs what it was doing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from anrot_lib.cli.main import main
from anrot_lib.core import checkpoints

pytest.importorskip("lightning_fabric", reason="runs of several processes need the extra 'ranks'")

RUN = "run --rows anrot --pretrain --pretrain-steps 2 --pretrain-batch 24 --augment flip --tasks 4"
COLUMNS = "--columns clean PGD-20 noise"
GROUPS = "--groups 4 --episodes-per-step 4"


def start(home: Path, *words: str, torchrun: int = 0) -> subprocess.Popen:
    program = [
        sys.executable,
        "-m",
        *(["torch.distributed.run", "--nproc-per-node", str(torchrun), "-m"] * bool(torchrun)),
    ]
    variables = {**os.environ, "ANROT_HOME": str(home), "OMP_NUM_THREADS": "1"}
    words = [*program, "anrot_lib", *" ".join(words).split()]
    return subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_result(home: Path) -> dict:
    """Columns of the record, without times; and the weights of the net."""
    (path,) = home.glob("runs/*/anrot.json")
    record = json.loads(path.read_text("utf-8"))
    columns = {k: {n: v for n, v in c.items() if n != "seconds"} for k, c in record["columns"].items()}
    (net,) = home.glob("checkpoints/*/anrot.pt")
    return {"columns": columns, "history": record["training"]["history"], "net": checkpoints.load(net)["state"]}


def assert_same(result: dict, other: dict) -> None:
    assert result["columns"] == other["columns"] and result["history"] == other["history"]
    for name, weights in result["net"].items():
        assert torch.equal(weights, other["net"][name]), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What a single process makes of it."""
    home = tmp_path_factory.mktemp("alone")
    out, err = (process := start(home, RUN, "--episodes 8", GROUPS, COLUMNS)).communicate()
    assert process.returncode == 0, out + err
    return read_result(home)


def test_two_processes_compute_the_same_bits(alone, tmp_path):
    out, err = (process := start(tmp_path, RUN, "--episodes 8", GROUPS, COLUMNS, "--devices 2")).communicate()
    assert process.returncode == 0, out + err
    assert_same(read_result(tmp_path), alone)
    assert out.count("records:") == out.count("classes train") == 1, "the second process is to be silent"
    (record,) = tmp_path.glob("runs/*/anrot.json")
    assert json.loads(record.read_text("utf-8"))["run"]["device"].startswith("2 processes, each ")
    assert not list(tmp_path.glob("checkpoints/*/*.jsonl")), "journals are left"


def test_a_run_that_torchrun_starts_loses_a_process_and_goes_on_with_another_number(alone, tmp_path):
    words = (RUN, "--episodes 8", GROUPS, COLUMNS)
    process = start(tmp_path, *words, torchrun=2)
    while process.poll() is None and not list(tmp_path.glob("checkpoints/*/pretraining*.pt")):
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    process.communicate()
    assert process.returncode, "the run is to end"
    out, err = (process := start(tmp_path, *words)).communicate()
    assert process.returncode == 0, out + err
    assert_same(read_result(tmp_path), alone)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--devices 2 --reconstruct", "leave --reconstruct to anrot reconstruct"),
        ("--devices 0", "devices must be at least 1, got 0"),
        ("--devices 999", "999 processes, but this machine has "),
        ("--nodes 2", "a run on several machines is started by torchrun on each of them"),
        ("--groups 3", "a step of 1 episodes cannot be cut into 3 equal groups"),
    ],
)
def test_numbers_of_processes_that_cannot_be(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    assert main([*RUN.split(), "--episodes", "8", *words.split()]) == 2
    assert sentence in capsys.readouterr().err


def test_a_verb_that_several_processes_cannot_share_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)  # one process on each of four machines
    assert main([*RUN.split(), "--reconstruct"]) == 2
    assert "leave --reconstruct to anrot reconstruct" in capsys.readouterr().err
    assert main(["levels"]) == 2
    assert (
        "several processes can share only run, train, evaluate; start levels without torchrun"
        in capsys.readouterr().err
    )
