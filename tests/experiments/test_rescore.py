"""A row and its challengers: its own images confirm it, stronger ones beat it, and no cheat is accepted."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from anrot_lib.attacks.stored import open_images, write_images
from anrot_lib.core import checkpoints, paths
from anrot_lib.core.configs import change
from anrot_lib.core.errors import UserError
from anrot_lib.experiments import columns, rescore, testing
from anrot_lib.experiments import rows as pipeline
from anrot_lib.experiments import setting as experiment
from anrot_lib.experiments.setting import Setting
from anrot_lib.experiments.stored import find_images, read_all
from anrot_lib.fewshot import nets
from anrot_lib.records import results
from anrot_lib.settings import Protocol, Recipe
from tests.helpers import Killed, silent

EPS = 6 / 255
PROTOCOL = Protocol(way=5, shot=5, steps=2, eps=EPS, step=EPS / 4, curve_eps=(), curve_sigma=())
RECIPE = Recipe()


@pytest.fixture(scope="module")
def template(small_set, small_budget, small_training, tmp_path_factory):
    """A data root with a net, its record under two steps of PGD and under AA-lite, and the images of both."""
    root = tmp_path_factory.mktemp("rescore")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANROT_HOME", str(root))
        nets.save_net(root / "net.pt", copy.deepcopy(small_training.net), "anrot", row="anrot", size=16)
        budget = change(small_budget, classes=25, per_class=24, attacked_query=3)
        folder = experiment.choose_folder(small_set, PROTOCOL, budget)
        setting = Setting(small_set, PROTOCOL, budget, torch.device("cpu"), "fp32", silent, folder, stores=True)
        measure(replace(setting, columns=("PGD-2",)), root)
    return root, setting


def measure(setting, root):
    net, _, _ = nets.load_net(root / "net.pt")
    trained = {"checkpoint": checkpoints.sha256(root / "net.pt")}
    manifest = experiment.make_manifest(setting)
    return results.read(pipeline.finish_row(setting, "anrot", RECIPE, net, trained, manifest), "accuracy")


@pytest.fixture
def place(template, tmp_path, monkeypatch):
    root, setting = template
    shutil.copytree(root, tmp_path / "home")
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "runs" / setting.folder.name
    return tmp_path / "home", replace(setting, folder=folder, columns=("PGD-2",))


COLUMN = f"PGD-2 {255 * EPS:.0f}/255 query"


def challenge(place, images, record=None):
    root, _ = place
    net, _, _ = nets.load_net(root / "net.pt")
    path = rescore.run_rescore(net, root / "net.pt", images, record, torch.device("cpu"), silent, reference=False)
    return results.read(path, "rescore")


def read_images(path):
    with open_images(path, 1000) as stored:
        return stored.about, stored.tasks, stored.rows, read_all(stored)


def test_the_images_of_a_row_confirm_its_record(place):
    _, setting = place
    path = find_images(setting, "anrot", COLUMN)
    column = results.read(setting.folder / "anrot.json", "accuracy")["columns"][COLUMN]
    assert column["images"] == checkpoints.sha256(path) and not path.with_suffix(".parts").exists()
    record = challenge(place, path)
    assert record["columns"]["challenged"]["correct"] == record["columns"]["recorded"]["correct"] == column["correct"]
    assert record["from_record"] and not record["falls"] and record["difference"] == {"value": 0.0, "half_width": 0.0}
    assert record["column"] == COLUMN and record["tasks"] == [0, 1, 2, 3]


def test_the_images_of_a_suite_beat_two_steps_of_pgd_and_are_kept_beside(place):
    _, setting = place
    before = (setting.folder / "anrot.json").read_bytes()
    weak, strong = setting, replace(setting, suites=("aa-lite",))
    assert columns.choose_stored(weak).name == COLUMN
    name = columns.choose_stored(strong).name
    assert name.startswith("AA-lite")
    former = setting.folder / "former.json"
    former.write_bytes(before)
    record = measure(strong, place[0])
    images = find_images(setting, "anrot", name)
    assert record["columns"][name]["images"] == checkpoints.sha256(images)
    assert record["columns"][COLUMN] == results.read(former, "accuracy")["columns"][COLUMN], "kept, not measured again"
    found = challenge(place, images, former)
    assert (
        found["falls"] and found["column"] == COLUMN and not found["from_record"] and found["difference"]["value"] < 0
    )
    assert found["columns"]["challenged"]["correct"] == record["columns"][name]["correct"]
    found = challenge(place, images, setting.folder / "anrot.json")
    assert not found["falls"] and found["from_record"] and found["column"] == name, "the strongest column is challenged"


def test_clean_images_beat_nothing(place, small_set):
    _, setting = place
    about, tasks, rows, _ = read_images(find_images(setting, "anrot", COLUMN))
    path = setting.work / "clean.safetensors"
    write_images(path, about, tasks, rows, small_set.batch(rows))
    record = challenge(place, path)
    assert not record["falls"] and record["columns"]["challenged"]["correct"] == record["columns"]["clean"]["correct"]


def test_some_of_the_episodes_are_paired_with_themselves(place):
    _, setting = place
    about, tasks, rows, images = read_images(find_images(setting, "anrot", COLUMN))
    some = [3, 1]
    path = setting.work / "some.safetensors"
    write_images(path, about, tasks[some], rows[some], images[some])
    whole = results.read(setting.folder / "anrot.json", "accuracy")["columns"][COLUMN]["correct"]
    record = challenge(place, path)
    assert record["columns"]["challenged"]["correct"] == [whole[k] for k in some] and record["tasks"] == some
    assert record["of"] == len(whole) == 4
    assert record["columns"]["recorded"]["correct"] == [whole[k] for k in some] != whole[:2]


def kill_in_second_part(monkeypatch, setting, root):
    """Two parts of two episodes, and a kill before the second; returns the list of the parts that are computed."""
    monkeypatch.setattr(testing, "TASKS_PER_PART", 2)
    find_images(setting, "anrot", COLUMN).unlink()
    real, asked = testing._count_correct, []

    def count(*arguments):
        asked.append(arguments[4])
        if len(asked) == 2:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(testing, "_count_correct", count)
    with pytest.raises(Killed):
        measure(setting, root)
    return asked


def test_a_killed_test_goes_on_with_its_images(place, monkeypatch):
    root, setting = place
    expected = results.read(setting.folder / "anrot.json", "accuracy")["columns"][COLUMN]
    asked = kill_in_second_part(monkeypatch, setting, root)
    again = measure(setting, root)["columns"][COLUMN]
    assert asked == [0, 2, 2], "the first part and its images are not made again"
    assert len(again["correct"]) == 4 and again["correct"][:2] == expected["correct"][:2]
    record = challenge(place, find_images(setting, "anrot", COLUMN))
    assert record["from_record"] and record["columns"]["challenged"]["correct"] == again["correct"]


def test_a_part_whose_images_are_cut_short_is_made_again(place, monkeypatch):
    root, setting = place
    asked = kill_in_second_part(monkeypatch, setting, root)
    part = find_images(setting, "anrot", COLUMN).with_suffix(".parts") / "0.safetensors"
    part.write_bytes(part.read_bytes()[:-10])
    measure(setting, root)
    assert asked == [0, 2, 0, 2]


# Cheats


def cheat(place, change_it):
    """The row's own file after `change_it(about, tasks, rows, images)` -> the changed four, written as they are."""
    _, setting = place
    about, tasks, rows, images = change_it(*read_images(find_images(setting, "anrot", COLUMN)))
    path = setting.work / "cheat.safetensors"
    tensors = {"images": images, "rows": torch.from_numpy(rows).contiguous(), "tasks": torch.from_numpy(tasks)}
    safetensors.torch.save_file(tensors, path, metadata={"anrot": json.dumps(about)})
    return path


def move(images, by, query=7):
    """One pixel of a query of the last episode moved, towards the middle so that it stays a pixel."""
    images = images.clone()
    pixels = images[-1, query].view(-1)
    at = int((pixels - 0.5).abs().argmin())
    pixels[at] += by if pixels[at] < 0.5 else -by
    return images


CHEATS = {
    "beyond the ball by a step of a pixel": (
        lambda a, t, r, i: (a, t, r, move(i, 2 * EPS + 1 / 255)),
        "episode 3, query 7 lies .* in the norm linf; the threat model allows 0.0235294",
    ),
    "NaN": (lambda a, t, r, i: (a, t, r, move(i, float("nan"))), "episode 3, query 7 holds a value that is not finite"),
    "no pixel": (lambda a, t, r, i: (a, t, r, move(i, 2.0)), "episode 3, query 7 has values from .*; pixels lie in"),
    "another image set": (lambda a, t, r, i: (a | {"image_set": "0" * 64}, t, r, i), "is of another image set"),
    "another split": (lambda a, t, r, i: (a | {"split_hash": "0" * 64}, t, r, i), "is of another split"),
    "another manifest": (lambda a, t, r, i: (a | {"manifest": "0" * 64}, t, r, i), "there is no record of this net"),
    "a larger ball": (lambda a, t, r, i: (a | {"eps": 2 * EPS}, t, r, i), "no attack in the ball linf 12/255"),
    "another norm": (lambda a, t, r, i: (a | {"norm": "l2"}, t, r, i), "no attack in the ball l2 6/255"),
    "rows of other images": (
        lambda a, t, r, i: (a, t, r[:, ::-1].copy(), i),
        "episode 0 were not made from its queries",
    ),
    "an episode twice": (lambda a, t, r, i: (a, np.zeros_like(t), r, i), "two or more different episodes"),
    "one episode": (lambda a, t, r, i: (a, t[:1], r[:1], i[:1]), "two or more different episodes"),
    "an episode that was not attacked": (lambda a, t, r, i: (a, t + 8, r, i), "holds 4 episodes up to number 11"),
    "a negative episode": (lambda a, t, r, i: (a, t - 1, r, i), "names the episode -1"),
    "fewer queries": (
        lambda a, t, r, i: (a, t, r[:, :10].copy(), i[:, :10].contiguous()),
        "of 10 queries; the record's",
    ),
    "other episodes": (lambda a, t, r, i: (a, t[::-1].copy(), r, i), "were not made from its queries"),
    "smaller images": (lambda a, t, r, i: (a, t, r, i[..., :8, :8].contiguous()), r"of shape \(3, 8, 8\)"),
    "grey images": (lambda a, t, r, i: (a, t, r, i[:, :, :1].contiguous()), r"of shape \(1, 16, 16\)"),
}


@pytest.mark.parametrize("what", CHEATS)
def test_a_cheat_is_refused_in_one_sentence_and_leaves_no_record(place, what):
    change_it, message = CHEATS[what]
    path = cheat(place, change_it)
    before = sorted(paths.runs_dir().rglob("*"))
    with pytest.raises(UserError, match=message):
        challenge(place, path)
    assert sorted(paths.runs_dir().rglob("*")) == before


def test_a_record_of_another_net_is_refused(place, small_set):
    root, setting = place
    net, method, about = nets.load_net(root / "net.pt")
    nets.save_net(root / "net.pt", net, method, **about, training={"seconds": 1.0})
    images = find_images(setting, "anrot", COLUMN)
    with pytest.raises(UserError, match="there is no record of this net"):
        challenge(place, images)
    with pytest.raises(UserError, match="is the record of another net"):
        challenge(place, images, setting.folder / "anrot.json")


def test_two_records_of_a_net_are_not_chosen_between(place):
    _, setting = place
    images = find_images(setting, "anrot", COLUMN)
    shutil.copytree(setting.folder, setting.folder.with_name("again"))
    with pytest.raises(UserError, match="there are 2 records of this net; name one by --record"):
        challenge(place, images)
    assert challenge(place, images, setting.folder / "anrot.json")["from_record"]


def test_a_reference_record_is_found_before_a_run_of_ones_own(place):
    _, setting = place
    reference = paths.results_dir() / setting.folder.name / "anrot.json"
    reference.parent.mkdir(parents=True)
    record = results.read(setting.folder / "anrot.json", "accuracy")
    del record["columns"][COLUMN]["images"]
    results.write(reference, record)
    assert not challenge(place, find_images(setting, "anrot", COLUMN))["from_record"]


def test_a_record_of_other_images_is_refused(place):
    _, setting = place
    file = setting.folder / "anrot.json"
    record = results.read(file, "accuracy")
    results.write(file, {**record, "data": {**record["data"], "sha256": "0" * 64}})
    with pytest.raises(UserError, match="was measured on another image set"):
        challenge(place, find_images(setting, "anrot", COLUMN))


def test_there_is_something_to_store(place):
    _, setting = place
    with pytest.raises(UserError, match="keeps the adversarial queries of PGD or of --attacks"):
        columns.check_asked(replace(setting, columns=("clean",)))
    columns.check_asked(replace(setting, columns=("clean",), suites=("aa-lite",)))
    assert columns.choose_stored(replace(setting, stores=False)) is None
    assert columns.choose_stored(replace(setting, targets=("support",), suites=("aa",))).name == COLUMN
