"""Files from strangers: every field of every kind of file of another type, cut, empty, flipped, of another net."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anrot_lib.core import checkpoints, paths
from anrot_lib.core.errors import UserError
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.experiments.setting import Setting
from anrot_lib.experiments.surrogate import train_surrogate
from anrot_lib.fewshot import nets
from anrot_lib.fewshot.training import train
from anrot_lib.ranking import embedders
from anrot_lib.reconstruction import autoencoders
from anrot_lib.records import results
from anrot_lib.records.journal import Journal
from anrot_lib.settings import SMOKE, Protocol, Recipe

from .conftest import call, files, read, rewrite, silent, time_limit

pytestmark = pytest.mark.slow

WRONG: list[Any] = [None, True, -7, 0.5, "x", [], {}, [{"a": 1}], float("nan")]
DELETED = object()


def list_places(tree: Any, place: tuple[Any, ...] = (), longest: int = 3) -> Iterator[tuple[Any, ...]]:
    """The places of all parts of nested dicts and lists, of long lists the first ones."""
    if place:
        yield place
    if isinstance(tree, dict):
        for key in tree:
            yield from list_places(tree[key], (*place, key), longest)
    elif isinstance(tree, list):
        for k in range(min(longest, len(tree))):
            yield from list_places(tree[k], (*place, k), longest)


def get(tree: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        tree = tree[key]
    return tree


def put(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy of the tree with another value at a place, or without it."""
    if not place:
        return value
    copy = tree.copy()
    if len(place) == 1 and value is DELETED:
        del copy[place[0]]
    else:
        copy[place[0]] = put(tree[place[0]], place[1:], value)
    return copy


def is_alike(old: Any, new: Any) -> bool:
    """Whether a value may stand for another as far as types go: a text for a text, a whole number for a fraction."""
    if new is DELETED:
        return False
    if isinstance(old, float) and isinstance(new, int | float) and not isinstance(new, bool):
        return new == new
    return type(old) is type(new)


def list_faulty(content: Any, wanted: Callable[[tuple[Any, ...]], bool], accepted: tuple[Any, ...] = ()) -> Iterator:
    """(place, value, content with that value there): each wanted place with each value of another type.

    Parts are left out, too, where they are parts of a whole: of the top level and of an architecture.
    """
    for place in list_places(content):
        if not wanted(place):
            continue
        for value in (*WRONG, DELETED):
            optional = len(place) > 1 and place[0] not in ("net", "embedder", "autoencoder", "images")
            if is_alike(get(content, place), value) or (value is DELETED and optional) or (place, value) in accepted:
                continue
            yield place, value, put(content, place, value)


def check_refused(cases: Iterator, write: Callable[[Any], object], *words: object) -> None:
    faults, tried = [], 0
    for place, value, content in cases:
        tried += 1
        write(content)
        before = files(Path.cwd())
        outcome = call(*words)
        if not outcome.refused or files(Path.cwd()) != before:
            faults.append((place, "left out" if value is DELETED else value, outcome.code, outcome.text[-200:]))
    assert tried >= 20 and not faults, (len(faults), tried, faults[:5])


NET = ("evaluate", "net.pt", "--data", "small", "--device", "cpu", "--tasks", "2", "--columns", "clean")
PREDICT = ("predict", "net.pt", "--support", "support", "--query", "query")
ATTACK = ("retrieve", "attack", "--checkpoint", "embedder.pt", "--data", "digits", "--queries", "2", "--device", "cpu")
NO_ORIGIN = (("origin",), DELETED)  # of nets that were trained elsewhere nothing is known


def first_weight(content, key="state"):
    """Whether a place is one that is tried: all but the weights behind the first, and what the format adds."""
    first = next(iter(content[key]))
    return lambda place: (
        place[0] not in ("format", checkpoints.HASH) and (place[0] != key or place[1:] in ((), (first,)))
    )


def test_every_field_of_a_set(home, no_work):
    path = paths.packed_dir() / "small" / "set.json"
    cases = list_faulty(json.loads(path.read_text("utf-8")), lambda place: place[0] != "provenance" or len(place) == 1)
    check_refused(
        cases, lambda tree: path.write_text(json.dumps(tree), "utf-8"), "train", "--data", "small", "--size", "16"
    )


def test_every_field_of_a_few_shot_net(home, no_work):
    content = read(home / "net.pt")
    unset = [(("net", "attention"), None), (("about", "recipe", "attention"), True)]  # may be None or a switch
    cases = list_faulty(content, first_weight(content), (NO_ORIGIN, *unset, (("about", "recipe", "mix"), "x")))
    check_refused(cases, lambda tree: rewrite(home / "net.pt", dict(tree)), *NET)


def test_every_field_of_a_net_that_is_to_name_photos(home, no_work):
    content = read(home / "net.pt")
    keys = ("net", "state", "origin")
    cases = list_faulty(
        content,
        lambda place: place[0] in keys and first_weight(content)(place),
        (NO_ORIGIN, (("net", "attention"), None)),
    )
    check_refused(cases, lambda tree: rewrite(home / "net.pt", dict(tree)), *PREDICT)


def test_every_field_of_a_ranking_net(home, no_work):
    content = read(home / "embedder.pt")
    keys = ("embedder", "state", "about")
    cases = list_faulty(content, lambda place: place[0] in keys and first_weight(content)(place))
    few = (case for case in cases if case[1] is DELETED or case[1] in (None, True, "x") or case[1] != case[1])
    check_refused(few, lambda tree: rewrite(home / "embedder.pt", dict(tree)), *ATTACK)


def test_every_field_of_an_autoencoder(home):
    content = read(home / "autoencoder.pt")
    for place, value, faulty in list_faulty(content, first_weight(content, "weights")):
        rewrite(home / "autoencoder.pt", dict(faulty))
        with pytest.raises(UserError), time_limit():
            autoencoders.load(home / "autoencoder.pt")
            pytest.fail(f"{place} {value}")


def test_every_field_of_a_surrogate(home):
    image_set = synthetic(20, 20, 16)
    setting = Setting(image_set, Protocol(), SMOKE, torch.device("cpu"), "fp32", silent, home / "folder")
    train_surrogate(setting)
    (path,) = setting.work.glob("surrogate-*.pt")
    content = read(path)
    cases = list_faulty(
        content, lambda place: place[0] in ("net", "optimizer", "generator", "epochs") and len(place) < 3
    )
    for place, value, faulty in cases:
        rewrite(path, dict(faulty))
        with pytest.raises(UserError), time_limit():
            train_surrogate(setting)
            pytest.fail(f"{place} {value}")


@pytest.mark.parametrize("key", ["step", "history", "weights", "optimizer", "best", "alarms", "state", "seconds"])
def test_a_training_goes_on_from_no_damaged_state(key, home, small_set, small_budget):
    content = read(home / "training.pt")
    content["step"] = 0  # there is a step to do
    for value in (*WRONG, DELETED):
        if is_alike(content[key], value) or (key == "seconds" and value is DELETED):  # older ones do not say it
            continue
        rewrite(home / "training.pt", put(content, (key,), value))
        budget = replace(small_budget, episodes=1)
        with pytest.raises(UserError), time_limit():
            train(small_set, Recipe(), budget, Protocol(), home / "training.pt")
            pytest.fail(f"{key} {value}")


RECORDS = Path(__file__).resolve().parents[2] / "data" / "results"


OPTIONAL = (
    "few_shot",
    "other",
    "seen",
    "mix",
    "attention",
    "reference",
    "pretrain_rate",
    "pretrain_as",
)  # may be left out, or of several types


@pytest.mark.parametrize(
    "kind", ["accuracy", "ranking", "reconstruction", "timing", "ranking-training", "ranking-checks"]
)
def test_every_field_of_a_record(kind, tmp_path):
    record = next(
        record
        for path in sorted(RECORDS.rglob("*.json"))
        for record in results.read_all(path, None)
        if record["kind"] == kind
    )
    path, tried = tmp_path / "record.json", 0
    for place, value, faulty in list_faulty(record, lambda place: len(place) <= 3):
        if place[-1] in OPTIONAL or (value is None and place[0] in ("recipe", "protocol")):
            continue
        path.write_text(json.dumps(faulty), "utf-8")
        tried += 1
        with pytest.raises(UserError):
            results.read(path)
            pytest.fail(f"{place} {value}")
    assert tried > 30


def test_every_part_of_a_study_file(tmp_path):
    path = next(path for path in sorted(RECORDS.rglob("study.json")))
    content = json.loads(path.read_text("utf-8"))
    for place, value, faulty in list_faulty(content, lambda place: len(place) <= 2):
        (tmp_path / "study.json").write_text(json.dumps(faulty), "utf-8")
        if value is DELETED and len(place) == 2:
            continue
        with pytest.raises(UserError):
            results.read_rows(tmp_path / "study.json")
            pytest.fail(f"{place} {value}")


def test_a_damaged_journal_is_no_part_of_an_evaluation(tmp_path):
    path, about = tmp_path / "a.jsonl", {"net": "x"}
    journal = Journal(path, about)
    journal["a"] = {"correct": [3, 4], "seconds": 0.5}
    head, line = path.read_text("utf-8").splitlines()
    part = json.loads(line)
    for place in list_places(part):
        for value in (*WRONG, DELETED):
            if json.dumps(get(part, place)) == json.dumps(value if value is not DELETED else "left out"):
                continue
            path.write_text(f"{head}\n{json.dumps(put(part, place, value))}\n", "utf-8")
            assert "a" not in Journal(path, about), (place, value)
    for value in WRONG:
        path.write_text(f"{json.dumps(value)}\n{line}\n", "utf-8")
        assert "a" not in Journal(path, about), value
    for bytes_ in (b"\xff\xfe", b"[" * 100_000, b"\x00" * 50):
        path.write_bytes(head.encode() + b"\n" + bytes_ + b"\n")
        assert not Journal(path, about).parts


def test_the_nets_of_the_course_are_what_their_list_says():
    folder = Path(nets.__file__).parents[1] / "course" / "nets"
    listed = json.loads((folder / "nets.json").read_text("utf-8"))
    for path in folder.glob("*.pt"):
        assert checkpoints.sha256(path) in json.dumps(listed), path
        nets.load_net(path)


# Bytes


@pytest.mark.parametrize("file", ["net.pt", "embedder.pt"])
def test_flipped_cut_and_empty_checkpoints(file, home, no_work):
    words = NET if file == "net.pt" else ATTACK
    whole = (home / file).read_bytes()
    rng = np.random.default_rng(0)
    for where in range(40):
        damaged = bytearray(whole)
        start = where * (len(whole) - 400) // 40
        damaged[start : start + 400] = rng.integers(0, 256, 400, dtype=np.uint8).tobytes()
        (home / file).write_bytes(damaged)
        outcome = call(*words)
        harmless = outcome.code == "work" and same_content(home / file, whole, home)
        assert outcome.refused or harmless, (where, outcome)
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (home / file).write_bytes(whole[:size])
        assert call(*words).refused, size


def same_content(path: Path, whole: bytes, home: Path) -> bool:
    """Whether damage has hit nothing but padding and names within the archive."""
    (home / "whole.pt").write_bytes(whole)
    try:
        return checkpoints.hash_content(read(path)) == checkpoints.hash_content(read(home / "whole.pt"))
    finally:
        (home / "whole.pt").unlink()


def test_older_checkpoints_without_a_hash_still_load(home):
    content = read(home / "net.pt")
    assert content.pop(checkpoints.HASH)
    torch.save(content, home / "old.pt")
    assert nets.load_net(home / "old.pt")[1] == "anrot"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_no_net_of_any_kind(value, home, no_work):
    for file, key, load in (
        ("net.pt", "state", nets.load_net),
        ("embedder.pt", "state", embedders.load),
        ("autoencoder.pt", "weights", autoencoders.load),
    ):
        content = read(home / file)
        list(content[key].values())[-1].fill_(value)
        rewrite(home / file, content)
        with pytest.raises(UserError, match="are not finite"):
            load(home / file)
    for words in (NET, PREDICT, ATTACK, ("retrieve", "attack", "--other", "embedder.pt", "--checks", "transfer")):
        assert call(*words).refused, words


# Files in the place of others


SPECIAL = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "nothing": lambda path: None,
    "empty": lambda path: path.touch(),
    "text": lambda path: path.write_text("These are my holidays.\n"),
    "json": lambda path: path.write_text("[" * 50_000),
    "no utf-8": lambda path: path.write_bytes(b"\xff\xfe\x00{"),
}
PLACES = {
    "net of evaluate": ("net.pt", NET),
    "net of predict": ("net.pt", PREDICT),
    "support": ("support", PREDICT),
    "query": ("query", PREDICT),
    "class of support": ("support/cat", PREDICT),
    "photo of support": ("support/cat/0.png", PREDICT),
    "photo of query": ("query/0.png", PREDICT),
    "embedder": ("embedder.pt", ATTACK),
    "other": ("other.pt", (*ATTACK, "--checks", "transfer", "--other", "other.pt")),
    "record": ("record.json", ("retrieve", "score", "record.json")),
    "set.json": ("home/packed/small/set.json", NET),
    "images.npy": ("home/packed/small/images.npy", NET),
    "extractor": ("x.pt", ("reconstruct", "--data", "small", "--size", "16", "--extractor", "x.pt")),
    "extractor .npz": ("x.npz", ("reconstruct", "--data", "small", "--size", "16", "--extractor", "x.npz")),
    "extractor .pt2": ("x.pt2", ("reconstruct", "--data", "small", "--size", "16", "--extractor", "x.pt2")),
    "extractor .pth": ("x.pth", ("reconstruct", "--data", "small", "--size", "16", "--extractor", "x.pth")),
    "weights": (
        "w.pth",
        ("retrieve", "train", "-C", "small:rres18:ptripletN", "--data", "small", "--weights", "w.pth"),
    ),
    "net that fgsm attacks": (
        "net.pt",
        ("prepare", "small", "--perturb", "fgsm", "--eps", "8/255", "--checkpoint", "net.pt"),
    ),
    "folder to prepare": ("photos", ("prepare", "photos", "--name", "p")),
    "idx": ("digits/t10k-labels-idx1-ubyte", ATTACK),
    "data root": ("home", NET),
}
FINE = {  # what may stand there
    *((place, what) for place in ("photo of support", "photo of query") for what in ("nothing", "a folder")),
    *((place, "nothing") for place in ("class of support",)),
}


@pytest.mark.parametrize("place", PLACES)
def test_another_thing_in_the_place_of_a_file(place, home, no_work):
    name, words = PLACES[place]
    path = home / name
    for what, make in SPECIAL.items():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        make(path)
        outcome = call(*words)
        assert outcome.refused or (place, what) in FINE, (what, outcome)


# Names


NAMES = {
    "up": "../../../outside",
    "root": "/tmp/outside",
    "windows": "..\\outside",
    "line": "two\nlines",
    "escape": "\x1b[31mred",
    "long": "x" * 300,
    "nul": "nul\0byte",
    "dots": "..",
    "blank": " ",
    "reversed": "abc\u202etxt",
    "surrogate": "\udcff",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_never_lead_out_of_the_data_folder(name, home, no_work):
    outside = files(home.parent)
    content = read(home / "net.pt")
    content["about"]["row"] = name
    rewrite(home / "named.pt", content)
    commands = [
        ("evaluate", "named.pt", *NET[2:]),
        ("train", "--data", "small", "--size", "16", "--tag", name),
        ("retrieve", "train", "-C", "fashion:rc2f2:ptripletN", "--data", "digits", "--tag", name),
        (*ATTACK, "--tag", name),
        ("reconstruct", "--data", "small", "--size", "16", "--tag", name),
        ("levels", "--data", "small", "--size", "16", "--tag", name),
        ("run", "--data", name),
        ("run", "--rows", name),
        ("run", "--columns", name, "--data", "small", "--size", "16"),
        ("train", "--method", name, "--data", "small", "--size", "16"),
        ("prepare", "support", "--name", name),
        ("prepare", "support", "--split", name),
        ("prepare", "support", "--layout", name),
        ("prepare", name, "--perturb", "noise", "--sigma", "0.1"),
        ("retrieve", "train", "-C", name),
        ("retrieve", "score", "-C", name),
        ("retrieve", "table", "-C", name),
        ("retrieve", "attack", "-C", name),
        ("retrieve", "score", name),
        (*ATTACK, "--profile", name),
        (*ATTACK, "--few-shot", "2", "--head", name),
        ("predict", name, "--support", "support", "--query", "query"),
        ("predict", "net.pt", "--support", name, "--query", "query"),
        ("predict", "net.pt", "--support", "support", "--query", name),
        ("reconstruct", "--data", "small", "--size", "16", "--extractor", name),
        ("reconstruct", "--data", "small", "--size", "16", "--divergences", name),
        ("reconstruct", "--data", "small", "--size", "16", "--model", name),
        ("levels", "--data", "small", "--size", "16", "--variants", name),
        ("train", "--data", "small", "--size", "16", "--encoder", name),
        ("train", "--data", "small", "--size", "16", "--augment", name),
        ("train", "--data", "small", "--size", "16", "--device", name),
        ("train", "--data", "small", "--size", "16", "--preset", name),
    ]
    if not name.strip("./"):  # ".." is a folder; photos to name may lie in any folder that the user has
        commands.remove(("predict", "net.pt", "--support", "support", "--query", name))
    for words in commands:
        outcome = call(*words)
        begun = outcome.code == "work" and words[:2] == ("evaluate", "named.pt")  # its record has a safe name
        assert outcome.refused or begun, (words, outcome)
    new = set(files(home.parent)) - set(outside) - {home / "named.pt"}
    assert all(path.is_relative_to(home / "home" / "checkpoints") for path in new), new
    assert not Path("/tmp/outside").exists()
