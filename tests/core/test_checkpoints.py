"""Checkpoints come back bit for bit, are never half written, and nothing foreign in them is ever run."""

import json
import os
import pickle

import pytest
import safetensors.torch
import torch

from anrot_lib.core import checkpoints
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot import nets
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.fewshot.methods import list_heads


def net_of(method="anrot", **options):
    net = create_net("tiny", method, generator=torch.Generator().manual_seed(0), **options)
    with torch.no_grad():
        net.encode(torch.rand(4, net.backbone.in_channels, 16, 16))  # batch norms away from 0 and 1
    return net


@pytest.fixture
def file(tmp_path):
    nets.save_net(tmp_path / "net.pt", net_of(), "anrot", size=16)
    return tmp_path / "net.pt"


@pytest.mark.parametrize(
    ("method", "options"),
    [
        *((m, {}) for m in list_heads()),
        ("anrot", {"in_channels": 1, "attention": True}),
        ("easyfsl:MatchingNetworks", {}),
    ],
)
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_a_net_comes_back_bit_for_bit(tmp_path, method, options, ending):
    net = net_of(method, **options)
    path = tmp_path / f"net{ending}"
    nets.save_net(path, net, method, size=16, recipe={"seed": 3, "augment": ["flip"]})
    again, name, about = nets.load_net(path)
    assert (name, about) == (method, {"size": 16, "recipe": {"seed": 3, "augment": ["flip"]}})
    assert not again.training
    before, after = net.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    images = torch.rand(10, again.backbone.in_channels, 16, 16)
    labels = torch.arange(5).repeat(2)
    with torch.no_grad():
        assert torch.equal(net.eval().bind(images, labels)(images), again.bind(images, labels)(images))


def test_plain_values_and_tensors_come_back(tmp_path):
    content = {"step": 7, "history": [{"loss": 0.5}], "w": torch.rand(3, dtype=torch.float64), "name": None}
    checkpoints.save(tmp_path / "x.pt", content)
    found = checkpoints.load(tmp_path / "x.pt")
    assert torch.equal(found.pop("w"), content.pop("w"))
    assert found == content | {"format": checkpoints.FORMAT}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint .*gone\.pt; train one"):
        checkpoints.load(tmp_path / "gone.pt")
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoints.load(tmp_path)


def test_a_truncated_file_is_a_users_error_wherever_it_is_cut(file):
    whole = file.read_bytes()
    for cut in (*range(0, 200, 20), len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"net\.pt is not a readable checkpoint .*may be cut short"):
            checkpoints.load(file)


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is no checkpoint\n",
        b"\x80\x02\x8e\x01",
        bytes(100),
        b"PK\x03\x04" + bytes(60),
        pickle.dumps([1], 2),
    ],
)
def test_another_kind_of_file_is_a_users_error(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(UserError, match="not a readable checkpoint"):
        checkpoints.load(tmp_path / "x.pt")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_foreign_pickle_is_refused_and_never_run(tmp_path):
    target = tmp_path / "it ran"
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"format": checkpoints.FORMAT, "net": Bomb(target)}, 2))
    torch.save({"format": checkpoints.FORMAT, "net": Bomb(target)}, tmp_path / "b.pt")
    for name in ("a.pt", "b.pt"):
        with pytest.raises(UserError, match="not a readable checkpoint"):
            checkpoints.load(tmp_path / name)
        with pytest.raises(UserError, match="not a readable checkpoint"):
            nets.load_net(tmp_path / name)
    assert not target.exists()
    pickle.loads((tmp_path / "a.pt").read_bytes())
    assert target.exists(), "the bomb of this test works"


def test_checkpoints_of_others_are_refused(tmp_path):
    for content in ([1, 2], {"state": {}}, {"format": checkpoints.FORMAT + 1}, torch.rand(3)):
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(UserError, match="not a checkpoint of this kit"):
            checkpoints.load(tmp_path / "x.pt")


def test_a_checkpoint_without_a_net_is_named(tmp_path):
    checkpoints.save(tmp_path / "pretraining.pt", {"weights": {}, "step": 3})
    with pytest.raises(UserError, match=r"pretraining\.pt holds no net \(about, net, state missing\)"):
        nets.load_net(tmp_path / "pretraining.pt")


def test_weights_of_other_shapes_or_names_are_refused(file):
    content = checkpoints.load(file)
    key = next(k for k in content["state"] if k.endswith("weight"))
    for state in (
        content["state"] | {key: torch.rand(2, 2)},
        {k: v for k, v in content["state"].items() if k != key},
        content["state"] | {"further": torch.rand(1)},
    ):
        checkpoints.save(file, {k: content[k] for k in ("net", "about")} | {"state": state})
        with pytest.raises(UserError, match=r"weights in .*net\.pt do not fit the net"):
            nets.load_net(file)
    checkpoints.save(file, {k: content[k] for k in ("state", "about")} | {"net": content["net"] | {"encoder": "conv4"}})
    with pytest.raises(UserError, match="do not fit"):
        nets.load_net(file)


def test_a_failed_write_keeps_the_former_checkpoint(file):
    before = file.read_bytes()
    with pytest.raises(Exception, match=r"pickle|lambda"):
        checkpoints.save(file, {"w": torch.rand(1000), "bad": lambda: None})
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == ["net.pt"]


def test_copies_and_hashes(file, tmp_path):
    import hashlib

    checkpoints.copy(file, tmp_path / "deeper" / "copy.pt")
    assert (tmp_path / "deeper" / "copy.pt").read_bytes() == file.read_bytes()
    assert checkpoints.sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()


# --- safetensors ---


@pytest.fixture
def tensors(tmp_path, small_net):
    nets.save_net(tmp_path / "net.safetensors", small_net, "anrot", size=16)
    return tmp_path / "net.safetensors"


def test_any_reader_of_safetensors_sees_the_weights_and_what_they_are(tensors, small_net):
    weights = safetensors.torch.load_file(tensors)
    for name, weight in small_net.state_dict().items():
        assert torch.equal(weights[f"state/{name}"], weight)
    with safetensors.safe_open(tensors, framework="np") as file:
        about = json.loads(file.metadata()["anrot"])
    assert about["net"]["encoder"] == "tiny" and about["origin"]["trained"] == list(small_net.origin.trained)
    assert nets.load_net(tensors)[0].origin.images.tolist() == small_net.origin.images.tolist()


def test_equal_nets_give_equal_files_and_formats_turn_into_each_other(tensors, tmp_path):
    checkpoints.copy(tensors, tmp_path / "net.pt")
    checkpoints.copy(tmp_path / "net.pt", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == tensors.read_bytes()
    assert torch.load(tmp_path / "net.pt", weights_only=True)["net"]["encoder"] == "tiny"
    turned = torch.arange(6.0).reshape(2, 3).mT
    checkpoints.save(tmp_path / "x.safetensors", {"shape": (3, {"depth": 4}), "w": turned, "none": None})
    again = checkpoints.load(tmp_path / "x.safetensors")
    assert again["shape"] == [3, {"depth": 4}] and torch.equal(again["w"], turned) and again["none"] is None


@pytest.mark.parametrize("fault", ["cut", "a weight", "the metadata", "no metadata", "another ending"])
def test_a_safetensors_file_that_was_altered_is_refused(fault, tensors):
    data, path = tensors.read_bytes(), tensors
    if fault == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif fault == "a weight":
        path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    elif fault == "the metadata":
        path.write_bytes(data.replace(b"small", b"large", 1) if b"small" in data else data.replace(b"tiny", b"tony", 1))
    elif fault == "no metadata":
        path.write_bytes(safetensors.torch.save({"w": torch.ones(2)}))
    else:
        path = tensors.with_suffix(".pt")
        path.write_bytes(data)
    with pytest.raises(UserError, match=r"damaged|not a readable checkpoint|not a checkpoint of this kit"):
        checkpoints.load(path)
