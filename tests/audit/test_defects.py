"""The list of defects: whole, with guards that exist, and with demos that show in seconds what is said."""

import ast
import functools
import json
import statistics
import time
from pathlib import Path

import pytest

from anrot_lib.audit import defects
from anrot_lib.audit.defects import committed
from anrot_lib.cli import main
from anrot_lib.core.errors import UserError
from anrot_lib.records import results

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10
NAMES = [*(f"D{k}" for k in range(1, 28)), *(f"M{k}" for k in range(1, 11)), *(f"R{k}" for k in range(1, 10))]


@functools.cache
def shown(name):
    (defect,) = defects.select_defects((name,))
    started = time.process_time()
    result = defects.show_defect(defect)
    return result, time.process_time() - started


def numbers(name):
    return list(shown(name)[0].numbers.values())


def test_every_defect_is_listed_once_with_a_demo_and_whole_sentences():
    assert [d.id for d in defects.list_defects()] == NAMES
    assert set(defects.DEMOS) == set(NAMES)
    for d in defects.list_defects():
        assert d.does.endswith(".") and d.follows.endswith(".") and not d.title.endswith("."), d.id
        assert d.title[0].islower() or d.title[0].isdigit() or d.title.startswith(("Hesim", "ResNet", "AP")), d.title


@pytest.mark.parametrize("defect", defects.list_defects(), ids=lambda d: d.id)
def test_its_guard_is_a_test_of_this_repository(defect):
    file, _, name = defect.guard.partition("::")
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", NAMES)
def test_its_demo_takes_seconds(name):
    result, seconds = shown(name)
    assert seconds < SECONDS and result.numbers
    json.dumps(result.to_dict(), allow_nan=False)


def test_the_numbers_that_the_audit_rests_on():
    assert numbers("D1")[1] == pytest.approx(11.52, abs=0.2)
    assert numbers("D2")[1] == 0
    assert numbers("D4")[1:] == [1, "TypeError"]
    assert numbers("D8")[1] == pytest.approx(30, abs=1)
    assert numbers("D9")[1:3] == [pytest.approx(12.0, abs=0.1), pytest.approx(0.0225, abs=0.001)]
    assert numbers("D10")[0] == pytest.approx(87.5, abs=1)
    assert 1 < numbers("D12")[0] < numbers("D12")[1] < 40 and numbers("D12")[2] == 0
    assert numbers("D13")[0] < 1e-12 and numbers("D13")[2] < numbers("D13")[3] - 10
    assert numbers("D14")[0] > 1 and numbers("D14")[2] > 0.5 > numbers("D14")[3]
    assert all(value == pytest.approx(87.3365, abs=1e-3) for value in numbers("D15")[:4])
    assert numbers("D15")[4] == 0 < numbers("D15")[6] and numbers("D15")[5] == 45.28
    assert numbers("D16")[0] > 0.95 > 0.1 > numbers("D16")[1]
    assert numbers("D18")[0] == 1_547_498
    assert numbers("D25")[:2] == [0, pytest.approx(0.6753, abs=1e-4)]
    assert numbers("D27")[1] > 0.01 and numbers("D27")[2] == 0
    assert numbers("M2")[0] == 100 and numbers("M2")[1] < 35
    assert numbers("R4") == [29.7, 3.8]


def test_the_attack_on_another_net_is_the_weakest():
    clean, other, step, steps = numbers("D7")
    assert clean - other < 15 and step < other - 20 and steps <= step


def test_two_trainings_of_the_same_net_differ():
    """Another seed, other predictions: the demo compares two trainings, not one net with itself."""
    assert numbers("D17")[2] > 5


def test_without_records_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    assert all(read() is None for read in defects.MEASUREMENTS.values())
    assert main.main(["verify", "D5", "D18"]) == 0
    assert capsys.readouterr().out.count("records  none yet.") == 2


def test_records_are_read_where_they_are(home_with_results):
    measured = {name: read() for name, read in defects.MEASUREMENTS.items()}
    assert all(measured.values())
    (text,) = measured["D10"].numbers.values()
    assert text == "-10.4 +/- 0.1"
    (text,) = measured["D5"].numbers.values()
    assert text.startswith("+3") and len(measured["D5"].records) == 2
    means = [r["columns"]["clean"]["mean"] for r in results.read_all(home_with_results / "results" / committed.SPLIT)]
    numbers = list(measured["D3"].numbers.values())
    assert numbers == [f"{min(means):.1f} to {max(means):.1f}", f"{statistics.stdev(means):.1f}"] and len(means) == 10
    (text,) = measured["D12"].numbers.values()
    assert text == "+8.4 +/- 0.2", "the same net, its queries in batches and one by one"
    (text,) = measured["D18"].numbers.values()
    assert text.startswith("-1.9") and len(measured["D18"].records) == 2, "the larger one, after as few steps"
    assert list(measured["D1"].numbers) == [
        f"{data}, classes of the release - unseen classes, 10 nets, points" for data in ("mini-imagenet", "cifar-fs")
    ]
    untrained, _, trained, _ = (float(text.split()[0]) for text in measured["R4"].numbers.values())
    assert list(measured["R4"].numbers)[::2] == ["untrained, ERS", "trained, ERS"] and untrained > trained
    assert [float(text) for text in measured["R1"].numbers.values()] == [6.2, 40.9]
    assert committed.compare_rows(committed.CIFAR, "anrot", "anrot-clean", "no such column") is None


def test_the_command_says_what_records_say(home_with_results, capsys):
    assert main.main(["verify", "D5"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "records anrot - anrot-clean, PGD-20 8/255 query, points: +3" in text


def test_the_table_and_its_json(capsys):
    assert main.main(["verify", "D2", "M3"]) == 0
    text = capsys.readouterr().out
    assert text.index("D2 ") < text.index("M3 ") and "guard    tests/" in text and "is unknown." in text
    assert main.main(["verify", "D2", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["defects"][0]["numbers"]["cell run twice"] == 0 and "unknown" in content["said"]


def test_systems_and_unknown_names(capsys):
    assert {d.system for d in defects.select_defects(("mml",))} == {"MML"}
    with pytest.raises(UserError, match="no defect 'D99'"):
        defects.select_defects(("D1", "d99"))
    assert main.main(["verify", "D99"]) == 2
