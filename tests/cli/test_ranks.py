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
from PIL import Image

from anrot_lib.cli.main import main
from anrot_lib.core import checkpoints
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.records import results

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
    for verb, words in (("reconstruct", []), ("retrieve train", ["-C", "fashion:rc2f2:ptripletN"])):
        assert main([*verb.split(), *words]) == 2
        sentence = "several processes can share only run, train, evaluate, prepare, levels, retrieve attack; start "
        assert f"{sentence}{verb} without torchrun" in capsys.readouterr().err


def prepare(home: Path, photos: Path, *words: str) -> tuple[bytes, dict]:
    """The pixels and the description of a set that these words prepare."""
    command = f"prepare {photos} --name mine --split random --on-duplicates quarantine --on-bad quarantine"
    out, err = (process := start(home, command, *words)).communicate()
    assert process.returncode == 0, out + err
    assert out.count("use it with:") == 1, "the second process is to be silent"
    folder = home / "packed" / "mine"
    assert [path.name for path in folder.parent.iterdir() if path.name != ".verified"] == ["mine"]
    return (folder / "images.npy").read_bytes(), json.loads((folder / "set.json").read_text("utf-8"))


def test_processes_that_share_a_preparation_leave_the_same_bytes(tmp_path):
    photos = tmp_path / "photos"
    images = synthetic(20, 30, 32).images.copy()
    images[[0, 31]] = images[599, :, ::-1]  # identical to one another, and mirrored copies of an image of another class
    for k, image in enumerate(images):
        path = photos / f"class {k // 30:02}" / f"{k % 30}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (photos / "class 03" / "7.png").write_bytes(b"no image")
    one = prepare(tmp_path / "one", photos)
    two = prepare(tmp_path / "two", photos, "--devices 2")
    assert one == two
    pairs = one[1]["provenance"]["duplicates"]["pairs"]
    assert {pair["kind"] for pair in pairs} == {"identical", "mirrored"}
    assert ["class 03/7.png", "class 03"] in [gone[:2] for gone in one[1]["provenance"]["quarantine"]]


def study_levels(home: Path, *words: str) -> dict:
    """The rows of a study of levels, without times and what differs from run to run."""
    command = "levels --shots 1 --variants pixel part pixel+part --encoder tiny --episodes 4 --episodes-per-step 2"
    out, err = (process := start(home, command, "--groups 2 --tasks 6", *words)).communicate()
    assert process.returncode == 0, out + err
    assert out.count("records:") == 1, "the second process is to be silent"
    assert not list(home.glob("checkpoints/*/*.jsonl")), "journals are left"
    (path,) = home.glob("runs/*/study.json")
    rows = results.read_rows(path)
    for record in rows.values():
        del record["run"]
        record["training"] = {k: v for k, v in record["training"].items() if k in ("history", "fusion", "best_step")}
        for column in record["columns"].values():
            del column["seconds"]
    return rows


def test_processes_that_share_a_study_of_levels_write_the_record_of_one(tmp_path):
    one, two = study_levels(tmp_path / "one"), study_levels(tmp_path / "two", "--devices 2")
    assert len(one) == 3 and one == two
