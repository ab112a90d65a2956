"""The masking card as a table and a figure."""

from anrot_lib.core.configs import to_dict
from anrot_lib.records import schema
from anrot_lib.reports import card, tables
from anrot_lib.settings import Protocol
from tests.reports.test_tables import MANIFEST, record

RECORD = {
    "schema": 1,
    "kind": "card",
    "row": "anrot",
    "run": record("anrot")["run"],
    "data": record("anrot")["data"],
    "protocol": to_dict(Protocol()),
    "manifest": MANIFEST,
    "net": {"sha256": "a" * 64, "name": "anrot"},
    "tasks": 20,
    "checks": {
        "alone": {"passed": True, "changed": 0, "queries": 500},
        "gradient": {"passed": False, "dead": {"cross-entropy": 12.5}, "queries": 300},
        "restarts": {
            "passed": True,
            "score": 31.0,
            "difference": -0.4,
            "half_width": 0.3,
            "queries": 20,
            "restarts": 5,
        },
        "eps": {"passed": True, "scores": {"0.03137": 31.4, "1": 0.0}},
        "eot": {"passed": True, "draws": 10, "score": 30.5, "difference": -0.5, "half_width": 0.8, "queries": 20},
    },
    "passed": False,
    "surface": [[-0.5, 0.0], [0.2, 0.4]],
    "seconds": 60.0,
}


def test_a_table_names_the_verdict_of_the_card_of_that_very_net():
    rows = [record("prototypes"), record("anrot-clean"), record("anrot")]
    rows[2]["training"]["checkpoint"], rows[1]["training"]["checkpoint"] = "a" * 64, "b" * 64
    table = tables.make_table(rows)
    headings, lines = card.add_verdicts(table, rows, [RECORD])
    assert headings == [*table[0], "card"] and [line[-1] for line in lines] == ["-", "-", "FAILED"]
    passed = {**RECORD, "passed": True, "net": {"sha256": "b" * 64, "name": "anrot"}}
    assert [line[-1] for line in card.add_verdicts(table, rows, [passed])[1]] == ["-", "passed", "-"]
    assert card.add_verdicts(tables.make_table(rows[:1]), rows[:1], [RECORD]) == tables.make_table(rows[:1])


def test_a_card_says_what_was_measured_and_what_failed():
    schema.validate(RECORD)
    headings, rows = card.make_table(RECORD)
    assert headings == ["card of ANROT, trained on the mixture", "measured", ""]
    assert rows == [
        ["alone", "0 of 500 predictions change beside other queries", "passed"],
        ["gradient", "no gradient at 12.5 % of 300 right queries", "FAILED"],
        ["restarts", "31.0 %, -0.4 ± 0.3 to the attack of the table", "passed"],
        ["eps", "31.4 % at 0.03137, 0.0 % at 1", "passed"],
        ["eot", "30.5 %, -0.5 ± 0.8 to one draw in place of 10", "passed"],
    ]
    assert "the card is FAILED" in card.write_caption(RECORD)


def test_the_figure_shows_the_radii_and_the_surface():
    figure = card.draw_card(RECORD)
    left, right = figure.axes[:2]
    assert [text.get_text() for text in left.get_xticklabels()] == ["8", "255"]
    assert "eps 8/255" in right.get_title()
