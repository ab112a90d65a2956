"""Claims: whole entries, commands that exist, and a status that only a record of the same setting can give."""

import copy
import json
import re
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from anrot_lib.audit import claims
from anrot_lib.audit.claims import joining
from anrot_lib.cli import main
from anrot_lib.core.configs import to_dict
from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.methods import get_method
from anrot_lib.records import results
from anrot_lib.reports import claims as report

RESULTS = Path(__file__).resolve().parents[2] / "data" / "results"
BY_ID = {claim.id: claim for claim in claims.list_claims()}
FIVE_SHOT = BY_ID["anrot-cifar-fs-5shot"]


@pytest.fixture(scope="module")
def located():
    return claims.read_located(RESULTS)


def in_its_setting(record, mean, half_width=0.6):
    """A record of CIFAR-FS, changed to the setting of the claim and to another accuracy."""
    changed = copy.deepcopy(record)
    changed["data"]["images"] = 60_000
    changed["budget"]["episodes"] = 80_000
    changed["columns"]["clean"] |= {"mean": mean, "half_width": half_width}
    return changed


@pytest.fixture(scope="module")
def cifar():
    return results.read(RESULTS / "cifar-fs-32px-5way-5shot-laptop" / "anrot.json", "accuracy")


def test_every_entry_is_whole_and_there_are_about_a_hundred():
    entries = claims.list_claims()
    assert len(BY_ID) == len(entries) > 90
    assert {claim.system for claim in entries} == set(claims.SYSTEMS)
    for claim in entries:
        assert claim.source and claim.needs and claim.text, claim.id
        assert claim.half_width is None or claim.value is not None, claim.id
        assert all(one in BY_ID for one in claim.derived), claim.id
        assert (
            claim.setting is None
            or claim.setting.rows
            or claim.setting.row
            or claim.setting.divergence
            or (claim.id.startswith("peag"))
        ), claim.id


def test_values_that_are_easily_mistaken():
    assert str(FIVE_SHOT) == "90.6 ± 0.5 %"
    assert [str(BY_ID[f"anrot-fid-{name}"]) for name in ("hellinger2", "wasserstein2", "kl")] == [
        "2.75 FID",
        "3.38 FID",
        "3.43 FID",
    ]
    assert str(BY_ID["anrot-gain-1shot"]) == "1.20 points" and str(BY_ID["anrot-eps-030"]) == "-"
    assert str(BY_ID["mml-2022-cifar-fs-1shot"]) == "75.28 ± 0.23 %"
    assert str(BY_ID["mml-wass-2021-validation-tiered-imagenet-1shot"]) == "55.48 %"


def test_the_rows_of_robdml_are_those_of_the_published_table():
    from anrot_lib.ranking.score.ers import read_published

    sets = {"cub": "CUB", "cars": "CARS", "sop": "SOP"}
    printed = {(r["set"], r["defense"], r["steps"]): r for r in read_published()["rows"] if r["net"] == "ResNet-18"}
    compared = 0
    for claim in claims.select_claims(("RobDML",)):
        if claim.setting.data in sets:
            row = printed[sets[claim.setting.data], claim.setting.row, claim.setting.eta]
            assert claim.value == row[claim.setting.number], claim.id
            compared += 1
    assert compared == 46


@pytest.mark.parametrize("claim", claims.list_claims(), ids=lambda claim: claim.id)
def test_the_commands_that_it_names_are_read_by_the_command_line(claim):
    for command in re.findall(r"anrot (?!retrieve attack|prepare FOLDER|run --rows mml$)[a-z][^,;]*", claim.needs):
        words = shlex.split(command)[1:]
        parsed = main.build_parser(words).parse_args(words)
        assert parsed.verb == words[0]


def test_gains_are_the_differences_of_other_claims(located):
    for shot, gain in ((1, 1.2), (5, 1.4)):
        verdict = claims.compare_claim(BY_ID[f"anrot-gain-{shot}shot"], located)
        first, second = (BY_ID[name] for name in verdict.claim.derived)
        assert first.value - second.value == pytest.approx(gain) == verdict.claim.value
        assert verdict.status == joining.DERIVED and f"= {gain:.2f}" in verdict.differences[0] and not verdict.measured


def test_a_claim_without_a_number_is_neither_met_nor_missed(cifar, located):
    eps = BY_ID["anrot-eps-030"]
    verdict = claims.compare_claim(eps, located)
    assert verdict.status == joining.NO_NUMBER and verdict.measured.startswith("< 0.") and verdict.differences
    record = in_its_setting(cifar, 59.0)
    record["data"]["size"] = 84
    verdict = claims.compare_claim(eps, [("there", record)])
    assert (verdict.status, verdict.differences) == (joining.NO_NUMBER, ())


def test_another_row_is_a_difference(cifar):
    record = in_its_setting(cifar, 90.6) | {"row": "anrot-clean", "recipe": to_dict(get_method("anrot-clean").recipe)}
    verdict = claims.compare_claim(FIVE_SHOT, [("there", record)])
    assert verdict.differences == ("the row anrot-clean, not anrot",) and verdict.status == joining.OTHER


def test_another_setting_is_named_and_never_judged(located):
    verdict = claims.compare_claim(FIVE_SHOT, located)
    assert verdict.status == joining.OTHER and verdict.record == "cifar-fs-32px-5way-5shot-laptop/anrot"
    assert verdict.differences == ("19,996 of 60,000 images", "trained for 1,500 episodes, not 80,000")


@pytest.mark.parametrize(
    ("mean", "status"), [(90.6, joining.AGREES), (89.6, joining.AGREES), (89.4, joining.BELOW), (92.0, joining.ABOVE)]
)
def test_in_the_same_setting_the_intervals_decide(cifar, mean, status):
    verdict = claims.compare_claim(FIVE_SHOT, [("there", in_its_setting(cifar, mean))])
    assert verdict.status == status and verdict.measured == f"{mean:.1f} ± 0.6" and not verdict.differences


@pytest.mark.parametrize(
    ("place", "key", "value", "said"),
    [
        ("data", "images", 50_000, "50,000 of 60,000 images"),
        ("data", "size", 84, "84 px, not 32"),
        ("budget", "encoder", "tiny", "encoder tiny, not resnet12_anrot"),
        ("budget", "episodes", 79_999, "trained for 79,999 episodes, not 80,000"),
        ("data", "split_hash", "0" * 64, "classes of another split"),
        ("data", "without", ["apple"], "without the test classes apple"),
        ("recipe", "hesim", 0.0, "another hesim than usual"),
        ("training", "size", 84, "trained on images of 84 px"),
        (None, "unknown_origin", True, "a net of unknown training"),
    ],
)
def test_any_difference_of_setting_is_seen(cifar, place, key, value, said):
    record = in_its_setting(cifar, 90.6)
    (record if place is None else record[place])[key] = value
    verdict = claims.compare_claim(FIVE_SHOT, [("there", record)])
    assert verdict.status == joining.OTHER and verdict.differences == (said,)


def test_another_seed_is_the_same_setting(cifar):
    record = in_its_setting(cifar, 90.6)
    record["recipe"]["seed"] = 7
    assert claims.compare_claim(FIVE_SHOT, [("there", record)]).status == joining.AGREES


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("protocol", "shot", 1),
        ("protocol", "way", 20),
        ("manifest", "split", "val"),
        ("data", "name", "fc100"),
        (None, "row", "prototypes"),
        (None, "seen", {"trained_classes": 5, "selected_classes": 0, "images": 0}),
        ("training", "origin", {"data": "mini-imagenet"}),
    ],
)
def test_what_is_another_question_is_no_measurement_of_the_claim(cifar, place, key, value):
    record = in_its_setting(cifar, 90.6)
    (record if place is None else record[place])[key] = value
    verdict = claims.compare_claim(FIVE_SHOT, [("there", record)])
    assert verdict.status == joining.NOT_RUN and not verdict.measured


def test_a_measured_cell_is_never_filled_by_a_claim():
    verdicts = claims.join_claims(claims.list_claims(), [])
    assert {verdict.status for verdict in verdicts} == {joining.NOT_RUN, joining.DERIVED, joining.NO_NUMBER}
    _, rows = report.make_table(verdicts)
    assert all(row[2] == "-" for row in rows)


def test_the_nearest_record_stands_beside_a_claim(cifar):
    near, far = in_its_setting(cifar, 70.0), in_its_setting(cifar, 80.0)
    far["data"]["images"] = 20_000
    assert claims.compare_claim(FIVE_SHOT, [("far", far), ("near", near)]).record == "near/anrot"


def test_rankings_and_reconstructions_are_joined_too(located):
    verdicts = {v.claim.id: v for v in claims.join_claims(claims.list_claims(), located)}
    distance = verdicts["anrot-fid-hellinger2"]
    assert distance.status == joining.OTHER and "so no FID" in distance.differences[0]
    fashion = verdicts["robdml-fashion-na-r-r1"]
    assert fashion.measured.startswith("86.8 ±") and fashion.differences == ("6 epochs, not 8",)
    full = replace(fashion.claim.setting, epochs=6)
    assert claims.compare_claim(replace(fashion.claim, setting=full), located).status == joining.BELOW
    assert Counter(v.status for v in verdicts.values())[joining.OTHER] > 20


def test_a_ranking_model_with_another_loss_is_farther_from_a_claim(located):
    """Of two rows of one name, that with Euclid's distance stands beside the claim, not that with Hellinger's."""
    verdicts = {v.claim.id: v for v in claims.join_claims(claims.list_claims(), located)}
    of_score = verdicts["robdml-cub-hm-s-lga-8-ers"]
    assert of_score.measured.startswith("19.1 ±") and "500 queries" in of_score.differences
    hellinger = [(w, r) for w, r in located if r["kind"] != "ranking" or "ptripletH" in r["recipe"]["name"]]
    assert "loss ptripletH, not ptripletN" in claims.compare_claim(of_score.claim, hellinger).differences


def test_a_score_whose_last_part_is_measured_in_another_way_is_another_setting(located):
    of_score = [v for v in claims.join_claims(claims.list_claims(), located) if v.measured and "-ers" in v.claim.id]
    assert len(of_score) > 5 and all("GTM as corrected here" in v.differences for v in of_score)


def test_tables_count_every_claim(located):
    verdicts = claims.join_claims(claims.list_claims(), located)
    headings, rows = report.count_statuses(verdicts)
    assert headings[2:] == list(claims.STATUSES)
    assert all(int(row[1]) == sum(map(int, row[2:])) for row in rows)
    assert sum(int(row[1]) for row in rows) == len(verdicts)
    assert sum(int(n) for _, n in report.list_sources(verdicts)[1]) == len(verdicts)


def test_the_command_prints_text_and_json(home_with_results, capsys):
    assert main.main(["claims", "mml"]) == 0
    text = capsys.readouterr().out
    assert "MML (2022), CIFAR-FS, 5-way 1-shot: 75.28 ± 0.23 %  [not run]" in text and "RobDML" not in text
    assert main.main(["claims", "ANROT-HELANet", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content[0]["claim"]["value"] == 69.4 and {entry["status"] for entry in content} <= set(claims.STATUSES)


def test_an_unknown_system_is_named():
    with pytest.raises(UserError, match="no claims of 'EASY'"):
        claims.select_claims(("EASY",))
