"""Certificates as tables and a figure, from records by hand."""

import numpy as np
import pytest

from anrot_lib.core.configs import to_dict
from anrot_lib.fewshot.certificates import Smoothing
from anrot_lib.fewshot.smoothing import compute_radii
from anrot_lib.records import schema
from anrot_lib.reports import certificates
from anrot_lib.settings import Protocol
from tests.reports.test_tables import MANIFEST, record

SETTINGS = Smoothing(sigma=0.25, first_draws=20, draws=1000)
HEAD = {
    "schema": 1,
    "row": "robust-classes",
    "run": record("anrot")["run"],
    "data": record("anrot")["data"],
    "protocol": to_dict(Protocol(way=2, shot=5)),
    "manifest": MANIFEST,
    "net": {"sha256": "a" * 64, "name": "robust-classes"},
    "queries": 4,
    "seconds": 60.0,
}
SMOOTHED = HEAD | {
    "kind": "smoothing",
    "smoothing": to_dict(SETTINGS),
    "plain": [[0, 0, 1, 0], [0, 0, 1, 1]],
    "chosen": [[0, 1, 1, 1], [0, 0, 1, 1]],  # one is wrong
    "hits": [[1000, 1000, 500, 800], [1000, 1000, 900, 1000]],  # one abstains
    "attacks": [
        {"factor": 1.0, "steps": 6, "samples": 4, "draws": 100, "queries": 7, "broken": 0},
        {"factor": 4.0, "steps": 6, "samples": 4, "draws": 100, "queries": 3, "broken": 2},
    ],
}
TURNED = {"certified": 5, "broken": 0, "others": 3, "turned": 2}
POISONED = HEAD | {
    "kind": "poisoning",
    "head": "median-cosine",
    "trimmed": 2,
    "plain": [[0, 0, 1, 1], [0, 0, 1, 1]],
    "answers": [[0, 0, 1, 1], [0, 0, 1, 0]],  # one is wrong
    "one_class": [[2, 1, 0, 1], [2, 2, 1, 2]],
    "every_class": [[1, 0, 0, 0], [1, 1, 0, 2]],
    "attacks": [{"replaced": r, "one_class": TURNED, "every_class": TURNED} for r in (1, 2, 3)],
}


def test_a_smoothing_table_counts_what_is_certified_and_right():
    schema.validate(SMOOTHED)
    headings, (row,) = certificates.make_smoothing_table([SMOOTHED])
    cells = dict(zip(headings, row, strict=True))
    assert row[0] == "robust classes, sigma 0.25, noise on query"
    low, high = compute_radii(np.array([800, 900]), SETTINGS)
    assert 0.15 < low < 0.2 < high < 0.3 < 0.5 < compute_radii(np.array([1000]), SETTINGS)[0]
    assert cells["not smoothed"].startswith("87.5 ±"), "7 of 8"
    assert cells["certified"].startswith("75.0 ±"), "6 of 8: one is wrong, one abstains"
    assert [cells[f"at {r}"].split()[0] for r in (0.1, 0.2, 0.3, 0.5)] == ["75.0", "62.5", "50.0", "50.0"]
    assert cells["abstains"].startswith("12.5 ±")
    assert (cells["broken within"], cells["broken beyond"]) == ("0 of 7", "2 of 3")
    caption = certificates.write_smoothing_caption([SMOOTHED])
    assert "no radius exceeds 2.46 sigma" in caption and "2 episodes of 4 queries" in caption


def test_a_poisoning_table_counts_right_answers_that_stand():
    schema.validate(POISONED)
    _, rows = certificates.make_poisoning_table([POISONED])
    assert len(rows) == 2, "one for each number of shots that are left out"
    first, second = rows
    assert first[:2] == ["robust classes", "median over shots (cosine)"]
    assert first[2].startswith("100.0 ±") and first[3].startswith("87.5 ±")
    assert first[4] == "1 of 5" and first[5].startswith("75.0 ±") and first[5].endswith("(86 %)"), "6 of 7 right ones"
    assert certificates.format_part(POISONED, "one_class", 1) == "86"
    assert first[6].startswith("37.5 ±") and first[6].endswith("(43 %)")
    assert first[7:] == ["0 of 10", "4 of 6"]
    assert second[4] == "2 of 5" and second[5].startswith("37.5 ±") and second[6].startswith("0.0 ±")
    assert "attacks by images on 8 queries" in certificates.write_poisoning_caption([POISONED])


@pytest.mark.parametrize("broken", [{"hits": [[-1, 0, 0, 0]]}, {"attacks": [{"factor": 1.0}]}, {"extra": 1}])
def test_a_record_that_cannot_be_is_refused(broken):
    with pytest.raises(ValueError):
        schema.validate(SMOOTHED | broken)


def test_a_net_that_has_seen_its_test_classes_is_marked():
    seen = SMOOTHED | {"seen": {"trained_classes": 2, "selected_classes": 0, "images": 10}}
    schema.validate(seen)
    assert certificates.make_smoothing_table([seen])[1][0][0].startswith("robust classes (SEEN CLASSES), sigma")


def test_records_stand_in_the_order_of_the_registry():
    other = POISONED | {"row": "clean-classes"}
    _, rows = certificates.make_poisoning_table([other, POISONED])
    assert [row[0] for row in rows[::2]] == ["robust classes", "base classes, trained clean"]


def test_a_caption_says_where_rows_differ():
    shorter = SMOOTHED | {part: SMOOTHED[part][:1] for part in ("plain", "chosen", "hits")}
    caption = certificates.write_smoothing_caption([SMOOTHED, shorter])
    assert "by rows: 2 episodes of 4 queries / 1 episodes of 4 queries" in caption
    assert caption.count("noise draws choose") == 1, "what is the same is said once"
    fewer = SMOOTHED | {"smoothing": SMOOTHED["smoothing"] | {"draws": 100}}
    assert "by rows: 20 noise" in certificates.write_smoothing_caption([SMOOTHED, fewer])


def test_the_figure_has_a_part_for_each_kind_of_certificate():
    both = certificates.draw_certificates([SMOOTHED], [POISONED])
    assert len(both.axes) == 2 and len(certificates.draw_certificates([], [POISONED]).axes) == 1
    radii, shots = both.axes
    y = radii.lines[0].get_ydata()
    assert y[0] == 75 and y[-1] == 0 and (np.diff(y) <= 0).all()
    assert shots.lines[0].get_ydata() == pytest.approx([87.5, 75, 37.5, 0])
    assert shots.lines[1].get_ydata() == pytest.approx([87.5, 37.5, 0, 0])
