"""A real kill -9 in training, in packing and in evaluation; the same command again ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from anrot_lib.cli import main
from anrot_lib.core import checkpoints
from anrot_lib.core.configs import make_key, to_dict
from anrot_lib.data import image_set
from anrot_lib.fewshot import nets
from anrot_lib.records import results
from anrot_lib.settings import Recipe
from tests.helpers import PATIENCE, command, kill_when

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9"),
]
SMALL = ("--data", "small", "--size", "16", "--device", "cpu")


@pytest.fixture
def homes(tmp_path, small_set):
    """Two data roots with the small set in both: one for the killed run, one for the undisturbed."""
    for name in ("killed", "whole"):
        image_set.save(replace(small_set, name="small"), tmp_path / name / "packed" / "small")
    return tmp_path / "killed", tmp_path / "whole"


def again(home, *words):
    """The same command, undisturbed; its output."""
    environment = os.environ | {"ANROT_HOME": str(home)}
    done = subprocess.run(command(*words), env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def undisturbed(home, monkeypatch, *words):
    """The same command in this process, which spares a start of Python."""
    monkeypatch.setenv("ANROT_HOME", str(home))
    assert main.main([str(word) for word in words]) == 0


def lines(path):
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def one(folder, pattern):
    (found,) = folder.rglob(pattern)
    return found


@pytest.mark.parametrize("shares", [(), ("--adversarial", "1", "--noisy", "1")], ids=["clean", "mixture"])
def test_a_kill_in_training(shares, homes, monkeypatch):
    killed, whole = homes
    words = ("train", *SMALL, "--encoder", "tiny", "--episodes", "240", "--way", "3", "--shot", "1", *shares)
    kill_when(lambda: list((killed / "checkpoints").rglob("*-training.pt")), killed, *words)
    halfway = checkpoints.load(one(killed, "*-training.pt"))
    assert halfway["step"] == 150
    again(killed, *words, "--out", killed / "net.pt")
    undisturbed(whole, monkeypatch, *words, "--out", whole / "net.pt")
    first, second = (checkpoints.load(home / "net.pt") for home in (whole, killed))
    for part in ("state", "net"):
        assert first[part].keys() == second[part].keys()
    assert all(torch.equal(first["state"][k], second["state"][k]) for k in first["state"])
    last = [checkpoints.load(one(home, "*-training.pt")) for home in (whole, killed)]
    assert all(torch.equal(last[0]["weights"][k], last[1]["weights"][k]) for k in last[0]["weights"])
    assert last[0]["history"] == last[1]["history"] and [h["step"] for h in last[0]["history"]] == [150, 240]
    assert not torch.equal(last[0]["weights"]["head.log_scale"], halfway["weights"]["head.log_scale"])
    assert not list(killed.rglob("*.tmp")), "a temporary file is left"


def test_a_kill_in_packing(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for c in range(20):
        (tmp_path / "photos" / f"class {c:02d}").mkdir(parents=True)
        for k in range(100):
            pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            image = Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC)
            image.save(tmp_path / "photos" / f"class {c:02d}" / f"{k}.png", compress_level=1)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    words = ("prepare", tmp_path / "photos", "--size", "32", "--split", "random", "--name", "photos")
    work = killed / "packed" / ".photos.packing"
    kill_when(lambda: lines(work / "journal.jsonl") >= 4, killed, *words)
    assert not (killed / "packed" / "photos").exists(), "nothing half-written is visible"
    before = [json.loads(line) for line in (work / "journal.jsonl").read_text().splitlines()]
    assert 0 < before[-1]["done"] < 2000
    said = again(killed, *words)
    undisturbed(whole, monkeypatch, *words)
    assert "2000 images of 32 px, 20 classes" in said and not work.exists()
    for file in ("images.npy", "set.json"):
        first, second = (home / "packed" / "photos" / file for home in (whole, killed))
        assert first.read_bytes() == second.read_bytes(), file
    assert len(image_set.load(killed / "packed" / "photos", verify=True)) == 2000


def test_a_kill_in_evaluation(homes, small_training, monkeypatch):
    killed, whole = homes
    for home in homes:
        about = {"row": "anrot-clean", "recipe": to_dict(Recipe()), "training": {"seconds": 1.0}}
        nets.save_net(home / "net.pt", small_training.net, "anrot", size=16, **about)

    def words(home):
        columns = ("--columns", "clean", "FGSM", "transfer", "noise")
        return ("evaluate", home / "net.pt", *SMALL, "--tasks", "80", *columns)

    journal = "anrot-clean-evaluation.jsonl"
    kill_when(lambda: any(lines(p) >= 4 for p in killed.rglob(journal)), killed, *words(killed))
    journal = one(killed, journal)
    kept = [json.loads(line) for line in journal.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert not list(killed.rglob("anrot-clean.json")) and len(kept) >= 4
    kept[2]["value"]["seconds"] = 12345.0  # a mark: what was measured before the kill is not asked for again
    kept[2]["digest"] = make_key(kept[2]["key"], kept[2]["value"])
    journal.write_text("".join(json.dumps(line) + "\n" for line in kept))
    again(killed, *words(killed))
    undisturbed(whole, monkeypatch, *words(whole))
    first, second = (results.read(one(home / "runs", "anrot-clean.json"))["columns"] for home in (whole, killed))
    assert {n: c["correct"] for n, c in first.items()} == {n: c["correct"] for n, c in second.items()}
    assert max(c["seconds"] for c in second.values()) >= 12345 > max(c["seconds"] for c in first.values())
    assert len(first) > 8 and not journal.exists()
