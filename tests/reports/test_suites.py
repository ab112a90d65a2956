"""AA beside AA-lite."""

import numpy as np
import pytest

from anrot_lib.attacks.gradient import pgd
from anrot_lib.core.errors import UserError
from anrot_lib.records import results, schema
from anrot_lib.records.describe import describe_threat
from anrot_lib.reports import suites, tables
from tests.reports.test_tables import record


def make_record(row, lite, whole=None, target="query"):
    made = record(row)
    threat = describe_threat(pgd(8 / 255, 20, 2 / 255, 1, target=target))
    for suite, counts in (("aa-lite", lite), ("aa", whole)):
        if counts is not None:
            column = results.make_column(np.array(counts), 25, 60.0, threat=threat, suite=suite)
            made["columns"][f"{suite} {target}"] = column
    schema.validate(made)
    return made


def test_the_difference_is_paired_and_rows_without_both_are_left_out():
    both = make_record("anrot", [10, 12, 8], [10, 11, 8])
    headings, lines = suites.make_table([make_record("prototypes", [1, 2, 3]), both])
    assert headings[3:7] == ["PGD-20", "AA-lite", "AA", "AA - AA-lite"] and len(headings) == len(lines[0])
    assert len(lines) == 1 and lines[0][0].startswith("ANROT, trained on the mixture")
    assert lines[0][2] == "75" and lines[0][4].startswith("40.0 ±") and lines[0][5].startswith("38.7 ±")
    assert lines[0][6] == "-1.3 ± 5.7" and lines[0][7] == "60, 60"


def test_a_row_whose_pgd_is_far_above_the_strong_attacks_says_so():
    made = make_record("anrot", [10, 12, 8], [10, 11, 8])
    for counts, mark in (([12, 14, 10], " (PGD overstates by 9.3)"), ([10, 12, 9], "")):
        made["columns"]["PGD-20 8/255 query"] = results.make_column(np.array(counts), 25, 60.0)
        assert suites.make_table([made])[1][0][0] == f"ANROT, trained on the mixture{mark}"


def test_a_worst_case_by_former_steps_is_named_in_the_caption():
    old, new = make_record("anrot", [10, 12, 8], [10, 11, 8]), make_record("anrot-clean", [10, 12, 8], [10, 11, 8])
    for name, rule in (("aa-lite query", "hasty"), ("aa query", "adaptive")):
        new["columns"][name]["rule"] = rule
    assert tables.describe_former_steps([new]) == ""
    said = tables.describe_former_steps([new, old])
    assert said == "; strong attacks by former adaptive steps, which found less: ANROT, trained on the mixture"
    new["columns"]["aa query"]["rule"] = "hasty"
    assert "ANROT, trained clean, ANROT" in tables.describe_former_steps([new, old])
    assert suites.write_caption([new]).startswith("AA-lite: 20 hasty steps, 300 squares; AA: 100 adaptive steps, 5,000")


def test_a_worst_case_on_fewer_episodes_than_the_other_columns_says_so():
    made = make_record("anrot", [10, 12, 8], [10, 11, 8])
    for tasks, said in ((3, ""), (200, "; aa on the first 3; aa-lite on the first 3")):
        made["budget"]["attacked_tasks"] = tasks
        assert tables.describe_fewer([made]) == said


def test_the_caption_says_which_attack_was_the_first_to_beat_so_many_queries():
    made = make_record("anrot", [10, 12, 8], [10, 11, 8])
    assert suites.count_first(made) == ""
    first = {"clean": 4, "APGD-CE-20": 30, "APGD-DLR-20 target 1": 2, "APGD-DLR-20 target 2": 1, "Square-300": 0}
    made["columns"]["aa-lite query"]["beaten"] = first
    said = "AA-lite beats ANROT, trained on the mixture first by clean 4, APGD-CE-20 30, APGD-DLR-20 3, Square-300 0"
    assert suites.count_first(made) == said and said in suites.write_caption([made])


def test_suites_on_support_sets_are_no_suites_on_queries():
    with pytest.raises(UserError, match="no record has columns of AA-lite and AA"):
        suites.make_table([make_record("anrot", [10, 12, 8], [10, 11, 8], target="support")])
