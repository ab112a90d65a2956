"""The loop: exact resume, the gradual adversary's memory, NaN, pre-training, the record; the seed's six commands."""

import math
import re

import pytest
import torch

from anrot_lib.cli import main
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.data.synthetic.figures import synthetic
from anrot_lib.ranking import embedders
from anrot_lib.ranking.data.sets import build_ranking_set, load
from anrot_lib.ranking.recipe import build_recipe
from anrot_lib.ranking.training import loop
from anrot_lib.ranking.training.initial import build_initial_net
from anrot_lib.ranking.training.loop import train
from anrot_lib.records import results

from .sets import WRITERS, write_digits

SEED_NAMES = [f"{d}:rres18ghmets{tail}:ptripletN" for d in ("cub", "cars", "sop") for tail in ("m", "mi")]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load("fashion", 28, 28, str(write_digits(tmp_path_factory.mktemp("digits"))))


def small(suffix="ghmetsmi", loss="ptripletN", **changes):
    return build_recipe(f"fashion:rlenet{suffix}:{loss}", **({"epochs": 2, "batch": 24, "eta": 3} | changes))


def r_at_1(net, data):
    """A stand-in for an evaluation: counts its calls by what it returns."""
    assert not net.training
    with torch.no_grad():
        return {"R@1": net(data.test.batch([0, 1])).norm().item()}


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))


@pytest.mark.parametrize("stop", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 7))])
def test_a_killed_training_goes_on_to_the_same_bits(digits, tmp_path, stop):
    whole = train(digits, small(), tmp_path / "whole.pt", evaluate=r_at_1)
    train(digits, small(), tmp_path / "parts.pt", evaluate=r_at_1, steps=stop)
    parts = train(digits, small(), tmp_path / "parts.pt", evaluate=r_at_1)
    assert same(whole.net.state_dict(), parts.net.state_dict())
    assert whole.defense.destination.last_loss == parts.defense.destination.last_loss < 2
    drop = [[{k: v for k, v in row.items() if k != "seconds"} for row in t.history] for t in (whole, parts)]
    assert drop[0] == drop[1]
    assert (whole.steps, [row["epoch"] for row in whole.history]) == (10, [0, 1, 2])


def test_the_gradual_adversarys_loss_comes_back(digits, tmp_path):
    done = train(digits, small(), tmp_path / "net.pt", steps=3)
    before = done.defense.destination.last_loss.item()
    training = loop.RankingTraining(digits, small(), torch.device("cpu"))
    training.resume(tmp_path / "net.pt")
    assert training.defense.destination.last_loss.item() == before != 2.0


def test_the_same_seed_gives_the_same_net_and_another_seed_another(digits):
    first, again, other = (train(digits, small(seed=s), steps=2).net.state_dict() for s in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)


def test_it_learns(digits):
    made = small("", epochs=4, batch=12)
    history = train(digits, made).history
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]


@pytest.mark.parametrize("suffix", ["", "d", "p", "e", "m", "r", "hmetrm", "rhetsm"])
def test_every_defense_runs_in_the_loop(digits, suffix):
    trained = train(digits, small(suffix, eta=1), steps=1, precision="bf16")
    assert trained.steps == 1
    assert trained.seconds_per_step > 0


def test_hardness_can_be_a_difference_of_hellinger_distances(digits):
    trained = train(digits, small("ghmetsm", "ptripletH", eta=1, epochs=2))
    assert trained.net.metric == "H"
    assert all(0 < point["loss"] < 0.1 + 1 for point in trained.history)


@pytest.mark.parametrize(
    "loss", ["pmarginN", "pquadN", "pmsN", "psnrN", "pgliftE", "ctripletN", "ttripletN", "ptripletH"]
)
def test_other_losses_run_in_the_loop(digits, loss, tmp_path):
    made = small("", loss)
    trained = train(digits, made, tmp_path / "net.pt", steps=2)
    trained = train(digits, made, tmp_path / "net.pt", steps=1)
    assert trained.steps == 3
    if loss == "pmarginN":
        (beta,) = trained.defense.parameters()
        assert beta.item() != pytest.approx(0.6, abs=1e-9)


def test_the_checkpoint_holds_the_net_and_says_of_what(digits, tmp_path):
    trained = train(digits, small(), tmp_path / "net.pt", steps=2)
    net, about = embedders.load(tmp_path / "net.pt")
    assert same(net.state_dict(), trained.net.state_dict())
    assert about["name"] == "fashion:rlenetghmetsmi:ptripletN"
    assert (about["steps"], about["of"]) == (2, 10)


def test_evaluation_comes_at_its_epochs_and_last(digits):
    rows = train(digits, small("", epochs=4, batch=60), evaluate=r_at_1, evaluate_every=3).history
    assert [("R@1" in row) for row in rows] == [True, False, False, True, True]


def test_no_epoch_at_all_keeps_the_net_that_training_begins_with(digits, tmp_path):
    made = small("", epochs=0)
    trained = train(digits, made, tmp_path / "net.pt", evaluate=r_at_1)
    begun, _ = build_initial_net(made, digits)
    assert same(trained.net.state_dict(), begun.state_dict()) and trained.steps == 0
    assert same(embedders.load(tmp_path / "net.pt")[0].state_dict(), begun.state_dict())
    assert [row["epoch"] for row in trained.history] == [0] and "R@1" in trained.history[0]


def test_a_checkpoint_of_other_settings_is_refused(digits, tmp_path):
    train(digits, small(), tmp_path / "net.pt", steps=1)
    with pytest.raises(UserError, match=r"different eta, learning_rate"):
        train(digits, small(eta=4, learning_rate=0.1), tmp_path / "net.pt")


def test_a_loss_that_is_not_finite_stops_before_the_weights(digits, tmp_path, monkeypatch):
    train(digits, small(""), tmp_path / "net.pt", steps=1)
    before = embedders.load(tmp_path / "net.pt")[0].state_dict()
    monkeypatch.setattr(loop.defenses.Vanilla, "forward", lambda self, net, x, *_: net(x).sum() * math.nan)
    with pytest.raises(NotFinite, match="step 2 of 10"):
        train(digits, small(""), tmp_path / "net.pt")
    assert same(before, embedders.load(tmp_path / "net.pt")[0].state_dict())


def test_frozen_statistics_come_from_a_classifier(tmp_path):
    data = build_ranking_set(synthetic(n_classes=20, per_class=4, size=37), 32)
    lengths = {"size": 32, "stored": 37, "pretrain_epochs": 1, "epochs": 1, "batch": 20}
    made = build_recipe("own:rres18:ptripletN", **lengths)
    net, start = build_initial_net(made, data, folder=tmp_path)
    assert start == "scratch, then a classifier of the 15 training classes for 1 epoch"
    norm = net.batch_norms()[0]
    assert norm.running_mean.abs().max() > 0
    steps = []
    other = build_recipe("own:rres18ghmetsmi:ptripletN", **lengths)
    again, _ = build_initial_net(other, data, folder=tmp_path, progress=lambda *_: steps.append(_))
    assert same(net.state_dict(), again.state_dict()) and not steps  # it is not trained again
    build_initial_net(build_recipe(other.name, **lengths | {"pretrain_epochs": 2}), data, folder=tmp_path)
    assert len(list(tmp_path.glob("classifier-rres18-*.pt"))) == 2
    trained = train(data, made, tmp_path / "net.pt")
    assert torch.equal(trained.net.batch_norms()[0].running_mean, norm.running_mean)
    with pytest.raises(UserError, match="give --weights"):
        build_initial_net(build_recipe("own:rres18:ptripletN", size=32, pretrain_epochs=0), data)
    assert build_initial_net(build_recipe("own:rres18:ptripletN", size=32, freeze_bn=False), data)[1] == "scratch"


def test_images_of_another_size_are_refused(digits):
    with pytest.raises(UserError, match="224 px"):
        train(digits, build_recipe("own:rres18:ptripletN"))


def test_the_command_trains_writes_a_record_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    write_digits(tmp_path / "digits")
    words = ["retrieve", "train", "-C", "fashion:rc2f2ghmetsm:ptripletN", "--data", str(tmp_path / "digits")]
    words += ["--epochs", "1", "--eta", "2", "--batch", "30", "--limit-images", "60", "--device", "cpu"]
    assert main.main(words) == 0
    shown = capsys.readouterr().out
    assert "HM[S,LGA], 60 training images of 10 classes" in shown
    assert "R@1" in shown
    (file,) = (tmp_path / "home/runs").rglob("*.json")
    record = results.read(file)
    assert record["recipe"]["eta"] == 2
    assert record["training"]["steps"] == 2
    assert str(tmp_path) not in file.read_text()
    assert main.main(words) == 0  # nothing is left to do
    assert main.main([*words, "--dry-run"]) == 0
    assert re.search(r"2 steps, 2 tests of [\d.]+ s: about", capsys.readouterr().out)
    assert main.main([*words[:3], "fashion:rres18:ptripletN"]) == 2
    assert "28 px" in capsys.readouterr().err
    assert main.main([*words, "--evaluate-every", "-1"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", SEED_NAMES)
def test_the_commands_of_the_table_run_on_generated_images(tmp_path, monkeypatch, name, capsys):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path / "home"))
    dataset = name.split(":")[0]
    WRITERS[dataset](tmp_path / "images")
    words = ["retrieve", "train", "-C", name, "--data", str(tmp_path / "images"), "--epochs", "1", "--eta", "2"]
    assert main.main([*words, "--batch", "4", "--size", "32", "--pretrain-epochs", "1"]) == 0
    (file,) = (tmp_path / "home/runs").rglob("*.json")
    record = results.read(file)
    assert record["row"] == ("HM[S,LGA]+ICS" if name.split(":")[1].endswith("i") else "HM[S,LGA]")
    assert "not comparable" in capsys.readouterr().out
    assert record["training"]["start"].startswith("scratch, then a classifier")
