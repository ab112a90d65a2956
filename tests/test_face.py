"""The public face: few names, loaded when used, each explained; and what they do agrees with the command line."""

import inspect
import subprocess
import sys
import typing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import anrot_lib as anrot
from anrot_lib import settings
from anrot_lib.core.configs import change
from anrot_lib.core.errors import UserError
from anrot_lib.experiments.columns import list_columns
from anrot_lib.fewshot.heads.prototypes import Prototypes
from anrot_lib.fewshot.methods import get_method
from anrot_lib.records import results

PROTOCOL = anrot.Protocol(way=5, shot=1, steps=3)


def test_there_are_at_most_18_names_and_each_has_a_docstring():
    assert 15 <= len(anrot.__all__) <= 18
    assert all(inspect.getdoc(getattr(anrot, name)) for name in anrot.__all__)
    assert set(anrot.__all__) <= set(dir(anrot))
    with pytest.raises(AttributeError, match="no attribute 'build_net'"):
        anrot.build_net  # noqa: B018


def test_type_checkers_see_the_names_that_are_offered():
    source = Path(anrot.__file__).read_text("utf-8")
    seen = source.split("if TYPE_CHECKING:")[1].split("__all__")[0]
    names = {
        name.strip() for line in seen.splitlines() if "import" in line for name in line.split("import")[1].split(",")
    }
    assert names == set(anrot.__all__)


def test_importing_the_library_loads_neither_torch_nor_matplotlib():
    code = "import sys, anrot_lib; dir(anrot_lib); sys.exit(bool({'torch', 'numpy', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_types_of_the_three_verbs_are_whole():
    for verb in (anrot.train, anrot.evaluate, anrot.compare):
        hints = typing.get_type_hints(verb)
        assert set(inspect.signature(verb).parameters) | {"return"} == set(hints)


@pytest.fixture(scope="module")
def compared(small_set, small_budget, anrot_home):
    return anrot.compare(small_set, ["prototypes", "anrot-clean"], PROTOCOL, small_budget, device="cpu", tag="face")


def test_a_comparison_is_a_table_of_records(compared, small_set, small_budget):
    assert [record["row"] for record in compared.records] == ["prototypes", "anrot-clean"]
    assert [results.read(path) for path in compared.paths] == compared.records
    lines = str(compared).splitlines()
    assert [line.split("  ")[0] for line in lines[2:4]] == ["prototypes (Euclid)", "ANROT, trained clean"]
    assert "synthetic, 16 px, 5-way 1-shot" in lines[-1]
    assert "difference to prototypes (Euclid)" in compared.differences("prototypes")
    before = [path.stat().st_mtime_ns for path in compared.paths]
    again = anrot.compare(small_set, ["prototypes", "anrot-clean"], PROTOCOL, small_budget, device="cpu", tag="face")
    assert [path.stat().st_mtime_ns for path in again.paths] == before, "what is recorded is not run again"


def test_unknown_methods_and_columns_are_refused_before_anything_is_trained(small_set, small_budget):
    with pytest.raises(UserError, match="unknown method 'anrto'"):
        anrot.compare(small_set, ["anrto"], PROTOCOL, small_budget)
    with pytest.raises(UserError, match=r"unknown column 'PGD'; choose from .*PGD-3"):
        anrot.compare(small_set, ["anrot"], PROTOCOL, small_budget, columns=["PGD"])


def test_an_evaluation_counts_what_a_record_counts(compared, small_set, small_budget, anrot_home):
    net = anrot.train(small_set, "anrot-clean", PROTOCOL, small_budget, device="cpu").net
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    evaluation = anrot.evaluate(net, small_set, PROTOCOL, small_budget, device="cpu")
    columns = compared.records[1]["columns"]
    assert list(evaluation.correct) == ["clean", "FGSM 8/255 query", "PGD-3 8/255 query", "noise 0.10 query"]
    for name, counts in evaluation.correct.items():
        assert counts.tolist() == columns[name]["correct"]
    assert evaluation.clean.mean == pytest.approx(columns["clean"]["mean"], abs=1e-3)
    assert evaluation.attacked["PGD-3 8/255 query"].n == small_budget.attacked_tasks
    assert evaluation.noisy[0.1].half_width == pytest.approx(columns["noise 0.10 query"]["half_width"], abs=1e-3)
    assert evaluation.manifest.hash == compared.records[1]["manifest"]["hash"]
    assert all(np.array_equal(weights[name], tensor) for name, tensor in net.state_dict().items())
    assert not str(evaluation).startswith(" ") and str(evaluation).count("±") == 4


def test_any_threat_model_and_sigma_can_be_asked_for(small_net, small_set, small_budget):
    threat = anrot.ThreatModel(norm="l2", eps=0.5, step=0.25, steps=2, restarts=1, start="random", target="support")
    evaluation = anrot.evaluate(
        small_net, small_set, PROTOCOL, small_budget, threats=[threat], sigmas=[0.05, 0.3], device="cpu"
    )
    assert list(evaluation.attacked) == [threat.name] and list(evaluation.noisy) == [0.05, 0.3]
    nothing = change_eps(threat, 0.0)
    unchanged = anrot.evaluate(small_net, small_set, PROTOCOL, small_budget, threats=[nothing], sigmas=[], device="cpu")
    plain = list_columns(PROTOCOL, small_budget)[1]
    assert unchanged.attacked[nothing.name].n == plain.tasks
    assert unchanged.attacked[nothing.name].mean >= evaluation.attacked[threat.name].mean


def change_eps(threat, eps):
    return change(threat, eps=eps)


def test_a_registered_loss_trains_another_net(small_set, small_budget):
    anrot.register_method("pulled", "anrot-clean", metric_loss=lambda embeddings, labels: embeddings.square().mean())
    plain, pulled = (
        anrot.train(small_set, name, PROTOCOL, small_budget, device="cpu").net for name in ("anrot-clean", "pulled")
    )
    assert not all((a == b).all() for a, b in zip(plain.parameters(), pulled.parameters(), strict=True))
    anrot.register_method("no-weight", Prototypes, metric_loss=lambda embeddings, labels: embeddings.mean())
    with pytest.raises(UserError, match="give a Recipe with hesim above 0"):
        anrot.train(small_set, "no-weight", PROTOCOL, small_budget, device="cpu")


def test_presets_take_changes_and_refuse_unknown_ones():
    assert anrot.preset("smoke", episodes=7) == change(anrot.preset("smoke"), episodes=7)
    with pytest.raises(UserError, match="unknown setting episode for Budget"):
        anrot.preset("smoke", episode=7)


def test_evaluate_refuses_a_net_that_has_seen_the_test_classes_and_marks_it_where_allowed(
    small_training, small_set, small_budget
):
    turned = {**small_set.splits, "train": small_set.splits["test"], "test": small_set.splits["train"][:5]}
    other = replace(small_set, splits=turned)
    settings = {"budget": small_budget, "threats": (), "sigmas": (), "device": "cpu"}
    with pytest.raises(UserError, match=r"trained on 5 of the 5 test classes.*allow_seen=True"):
        anrot.evaluate(small_training.net, other, PROTOCOL, **settings)
    marked = anrot.evaluate(small_training.net, other, PROTOCOL, allow_seen=True, **settings)
    assert str(marked).startswith("SEEN CLASSES, no few-shot accuracy: it was trained on 5 of the 5")
    assert "SEEN" not in str(anrot.evaluate(small_training.net, small_set, PROTOCOL, **settings))


def test_the_image_set_gives_the_radii_unless_a_protocol_or_a_recipe_does(small_set, small_budget, monkeypatch):
    """The small set is one of synthetic figures by its name; the same images under another name are anybody's."""
    asked = {}

    def note(image_set, recipe, budget, protocol, *_, **__):
        asked.update(recipe=recipe, protocol=protocol, size=budget.size)

    monkeypatch.setattr("anrot_lib.fewshot.training.train", note)
    radii, anybodys = settings.get_radii("synthetic"), replace(small_set, name="mine")
    anrot.train(small_set, "anrot")
    assert asked == {"recipe": radii.adapt(get_method("anrot").recipe), "protocol": radii.make_protocol(), "size": 16}
    anrot.train(anybodys, "anrot")
    assert asked["recipe"] == get_method("anrot").recipe and asked["protocol"] == anrot.Protocol()
    anrot.train(small_set, anrot.Recipe(adversarial=1.0), PROTOCOL)
    assert asked["recipe"] == anrot.Recipe(adversarial=1.0) and asked["protocol"] == PROTOCOL
    anrot.register_method("weak", "anrot", recipe=anrot.Recipe(adversarial=1.0, eps=1 / 255))
    anrot.train(small_set, "weak")
    assert asked["recipe"].eps == 1 / 255


def test_an_evaluation_and_a_comparison_attack_with_the_radii_of_the_image_set(
    small_net, small_set, small_budget, anrot_home
):
    few = change(small_budget, clean_tasks=2, attacked_tasks=2)
    evaluation = anrot.evaluate(small_net, small_set, budget=few, device="cpu")
    assert list(evaluation.attacked) == ["FGSM 2/255 query", "PGD-20 2/255 query"]
    row = anrot.compare(small_set, ["anrot"], budget=few, columns=["clean", "FGSM"], tag="radii", device="cpu")
    (record,) = row.records
    assert record["recipe"]["eps"] == 4 / 255 and record["protocol"]["eps"] == 2 / 255
    assert set(record["columns"]) == {"clean", "FGSM 2/255 query"}
