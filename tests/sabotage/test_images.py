"""Files of adversarial images from strangers: one sentence, exit code 2, and nothing written."""

import json
import os

import numpy as np
import pytest
import safetensors.torch
import torch

from anrot_lib.attacks.stored import make_about, write_images
from anrot_lib.data.image_set import load

from .conftest import call, files

pytestmark = pytest.mark.slow


def write_text(path):
    path.write_text("images")


def write_nothing(path):
    path.write_bytes(b"")


def write_folder(path):
    path.mkdir()


def write_header(path):
    """A header that says it is longer than the file."""
    path.write_bytes((2**40).to_bytes(8, "little") + b"{}")


def write_weights(path):
    safetensors.torch.save_file({"conv.weight": torch.zeros(3)}, path)


def write_other_set(path):
    """Well-formed images of a set, of a split and of episodes that no record knows."""
    about = make_about("0" * 64, "1" * 64, "2" * 64, "linf", 8 / 255, "mine")
    write_images(path, about, np.array([0, 1]), np.zeros((2, 25), int), torch.zeros(2, 25, 3, 16, 16))


def write_link(path):
    os.symlink(path.with_name("nowhere"), path)


def write_numbers_for_words(path):
    tensors = {"images": torch.zeros(2, 5, 3, 4, 4), "rows": torch.zeros(2, 5).long(), "tasks": torch.arange(2)}
    about = dict.fromkeys(make_about("", "", "", "linf", 0.1, ""), 1)
    safetensors.torch.save_file(tensors, path, metadata={"anrot": json.dumps(about)})


WRITERS = [
    write_text, write_nothing, write_folder, write_header, write_weights, write_other_set, write_link,
    write_numbers_for_words,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_file_that_is_none_is_refused_in_one_sentence(write, home, no_work):
    write(home / "theirs.safetensors")
    before = files(home)
    assert call("rescore", "net.pt", "theirs.safetensors", "--device", "cpu").refused and files(home) == before


def test_a_file_that_is_not_there_a_net_that_is_none_and_a_record_that_is_none(home, no_work):
    write_other_set(home / "theirs.safetensors")
    for words in (
        ("net.pt", "nowhere.safetensors"),
        ("theirs.safetensors", "theirs.safetensors"),
        ("net.pt", "theirs.safetensors", "--record", "nowhere.json"),
        ("net.pt", "theirs.safetensors", "--record", "net.pt"),
        ("net.pt", "theirs.safetensors", "--device", "toaster"),
    ):
        assert call("rescore", *words).refused, words


def test_the_path_from_evaluate_to_rescore(home):
    words = ("net.pt", "--data", "small", "--device", "cpu", "--tasks", "2", "--steps", "2", "--columns", "PGD-2")
    assert call("evaluate", *words, "--store").code == 0
    (images,) = (home / "home" / "checkpoints").rglob("*.safetensors")
    assert load(home / "home" / "packed" / "small").sha256 in images.read_bytes()[:2000].decode("latin1")
    assert call("rescore", "net.pt", images, "--device", "cpu").code == 0
    assert len(list((home / "home" / "runs").rglob("*-rescored-*.json"))) == 1
    assert call("evaluate", *words[:-1], "clean", "--store").refused
