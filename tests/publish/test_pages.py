"""The README's numbers are what the committed records say, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from anrot_lib.core import configs
from anrot_lib.core.errors import UserError
from anrot_lib.publish import readme
from anrot_lib.ranking import recipe
from anrot_lib.ranking.attacks import names
from anrot_lib.ranking.score import ers
from anrot_lib.reconstruction.training import moved
from anrot_lib.records import results
from anrot_lib.reports import levels, reconstruction

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def committed(monkeypatch):
    monkeypatch.setenv("ANROT_HOME", str(ROOT / "data"))


def test_the_tables_say_what_the_records_say(committed):
    text = (ROOT / "README.md").read_text("utf-8")
    marks = readme.MARK.findall(text)
    assert len(marks) >= 4
    assert readme.report(check=True) == 0, "out of date: run `anrot report`"


def test_a_changed_number_is_noticed(committed):
    text = (ROOT / "README.md").read_text("utf-8")
    number = re.search(r"\d+\.\d ± \d+\.\d", text)
    changed = text.replace(number[0], "99.9 ± 0.1", 1)
    drawn = readme.MARK.sub(lambda m: f"{m[1]}{readme.draw(m['what'])}\n{m[3]}", changed)
    assert drawn != changed and drawn == text


def ranking_record(committed_record, collapsed):
    """A score of no net, in the form in which scores are recorded."""
    name = "fashion:rc2f2ghmetsm:ptripletN"
    attacks = [str(attack) for attack in names.profile("rob28")]
    number = {"attack": attacks[0], "benign": 50.0, "attacked": 12.3, "half_width": 1.0, "seconds": 1.0}
    return {
        **{key: committed_record[key] for key in ("schema", "run")},
        "data": committed_record["data"] | {"name": "fashion"},
        "kind": "ranking",
        "row": "HM[S,LGA]",
        "name": name,
        "checkpoint": {"sha256": "0" * 64, "steps": 10, "of": 10},
        "protocol": {"attacks": attacks, "queries": 2, "seed": 0, "parity": "fixed", "profile": "rob28", "gallery": 99},
        "recipe": configs.to_dict(recipe.build_recipe(name)),
        "parameters": 1,
        "clean": {"R@1": 87.66, "chance": 10.0, "mean cosine": 0.1},
        "numbers": dict.fromkeys((*ers.NUMBERS, "GTM robrank"), number),
        "ers": {"value": 43.21, "half_width": 0.5, "bootstrap": [42.0, 44.0], "ceiling": 91.5, "collapsed": collapsed},
        "queries": [43.0, 43.4],
    }


def test_scores_of_rankings_are_drawn_from_their_records(tmp_path, monkeypatch):
    folder = ROOT / "data" / "results" / "synthetic-32px-5way-5shot-smoke"
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    with pytest.raises(UserError, match="there are no result records"):
        readme.draw("ranking ranking")
    for name, collapsed in (("one", False), ("two", True)):
        record = ranking_record(results.read(folder / "anrot.json"), collapsed)
        results.write(tmp_path / "results" / "ranking" / f"{name}.json", record)
    drawn = readme.draw("ranking ranking")
    rows = [line for line in drawn.splitlines() if line.startswith("| fashion")]
    assert len(rows) == 2 and all("| 87.7 ± 6.5 |" in row for row in rows)
    assert "43.2 ± 0.5 |" in rows[0] and "43.2 ± 0.5 collapsed" in rows[1] and "91.5" in rows[0]
    assert "77/255" in drawn and "all 99 test images" in drawn
    with pytest.raises(UserError, match="ranking NAME"):
        readme.draw("ranking")


def of(name, kind):
    return results.read_all(ROOT / "data" / "results" / name, kind)


def test_what_is_said_of_the_reconstructions_holds():
    """The paragraph below their table: order at equal beta, its price, and a smaller beta of Kullback-Leibler."""
    found: dict = {}
    records = of("mini-imagenet-32px-reconstruction-laptop", "reconstruction")
    still = [moved([point["loss"] for point in record["training"]["history"]]) for record in records]
    assert len(records) == 18 and sum(share > 0.01 for share in still) > 9 and max(still) < 0.02
    pressure = reconstruction.verdict(records).splitlines()[2]
    assert "At equal pressure" in pressure and "the smallest distance is that of Kullback-Leibler" in pressure
    for record in records:
        numbers = (record["decoded"]["mean"]["frechet"]["value"], record["decoded"]["mean"]["squared_error"]["value"])
        by = found.setdefault(record["vae"]["beta"], {})
        by.setdefault(record["vae"]["divergence"], (*numbers, record["divergences"]["kl"]))
    whole = {beta: by for beta, by in found.items() if len(by) == 3}
    assert len(whole) >= 2
    for by in whole.values():
        assert min(by, key=lambda name: by[name][0]) == "hellinger2"
        assert by["hellinger2"][2] > 3 * by["kl"][2]
    hellinger, smaller = found[0.1]["hellinger2"], found[3 / 128]["kl"]
    assert smaller[:2] == pytest.approx(hellinger[:2], rel=0.03) and smaller[2] < 0.7 * hellinger[2]


def test_what_is_said_of_the_birds_holds():
    """Notebook 12: hardness manipulation raises the score of the ranking, and not the accuracy under attack."""
    records = {r["name"]: r for r in of("ranking/cub200_2010-84px", "ranking") if r["checkpoint"]["start"] != "scratch"}
    before, *defended = (records[f"cub200_2010:rres18{suffix}:ptripletN"] for suffix in ("", "ghmetsm", "ghmetsmi"))

    def attacked(record):
        (column,) = (c for name, c in record["few_shot"]["columns"].items() if name != "clean")
        return column["mean"] - column["half_width"], column["mean"] + column["half_width"]

    for record in defended:
        scores = record["ers"], before["ers"]
        assert scores[0]["value"] - scores[0]["half_width"] > scores[1]["value"] + scores[1]["half_width"]
        assert attacked(record)[0] < attacked(before)[1]


def test_every_link_to_a_file_leads_somewhere():
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        links = re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8"))
        missing = [link for link in links if not (document.parent / link).exists()]
        assert not missing, f"{document.name}: {missing}"


def test_what_is_said_of_levels_trained_together_holds():
    """Below the tables of levels: no gain on clean images, parts lose less under attack, and all are below chance."""
    records = of("cifar-fs-32px-5way-1shot-laptop-levels-trained", "accuracy")
    rows = levels.by_row(records)
    assert all(p > 0.05 for _, p in levels.differences(rows).values())
    for column in levels.attack_names(records[0]):
        found = levels.differences(rows, column)
        assert all(p <= 0.05 and gain.mean > 0 for gain, p in found.values())
        assert all(100 * levels.over_seeds(own, column).mean() < 20 for own in rows.values())
    assert all(min(levels.shares_of(record).values()) > 0.2 for record in records), "every level is used"


def test_what_is_said_of_levels_on_one_encoder_holds():
    """Nearly nothing beside pixels at 32 px and at 84 px with one shot; about a point there with five shots."""
    best = {}
    for setting in (
        "cifar-fs-32px-5way-5shot",
        "cifar-fs-32px-5way-1shot",
        *(f"mini-imagenet-84px-5way-{k}shot" for k in (1, 5)),
    ):
        records = of(f"{setting}-laptop-levels", "accuracy")
        assert len(records) == 45
        found = levels.differences(levels.by_row(records)).values()
        best[setting] = max((gain.mean for gain, p in found if p <= 0.05), default=0.0)
    assert 0.8 < best.pop("mini-imagenet-84px-5way-5shot") < 1.5
    assert max(best.values()) < 0.3
