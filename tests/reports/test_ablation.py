"""The ablation of ANROT: paired differences over episodes and seeds, what is called clear, the table and the figure."""

import numpy as np
import pytest
import scipy.stats

from anrot_lib.core.errors import UserError
from anrot_lib.fewshot.methods import ABLATION as STUDY
from anrot_lib.fewshot.recipes import ABLATION, CLEAN_ALONE, WHOLE
from anrot_lib.records import results
from anrot_lib.reports import ablation
from anrot_lib.reports.studies import REPORTS
from tests.reports.test_tables import record

PGD = "PGD-20 8/255 query"
CONSTANT, NO_HESIM = "ablation-clean-constant-hesim", "ablation-clean-no-hesim"


def measure(row, counts, **changes):
    """A record of a variant whose counts are these in every column."""
    made = record(row, **changes)
    made["columns"] = {name: results.make_column(np.array(counts), 80, 1.0) for name in made["columns"]}
    return made


WHOLES = [measure(WHOLE, (40, 50, 60, 40, 50, 60)), measure(f"{WHOLE}-seed1", (44, 50, 60, 40, 50, 62))]
CHANGED = [
    measure("ablation-no-hesim", (36, 44, 55, 36, 45, 56)),
    measure("ablation-no-hesim-seed1", (40, 44, 55, 34, 46, 54)),
]


def test_a_difference_is_the_mean_over_seeds_of_paired_differences():
    (difference,) = ablation.compute_part_differences([*CHANGED, *WHOLES], "clean").values()
    single = [
        100 * (np.array(b["columns"]["clean"]["correct"]) - a["columns"]["clean"]["correct"]) / 80
        for a, b in zip(WHOLES, CHANGED, strict=True)
    ]
    values = np.mean(single, axis=0)
    low, high = scipy.stats.t.interval(0.95, 5, loc=values.mean(), scale=scipy.stats.sem(values))
    assert difference.mean == pytest.approx(values.mean()) and difference.mean < 0
    assert difference.half_width == pytest.approx((high - low) / 2)
    assert difference.by_seed == (pytest.approx(single[0].mean()), pytest.approx(single[1].mean()))
    assert difference.p == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue)


def test_the_p_values_of_a_column_are_corrected_for_their_number():
    more = [measure(v.name, (40, 51, 60, 40, 49, 60)) for v in ABLATION[1:5] if v.name != "ablation-no-hesim"]
    alone = ablation.compute_part_differences([*CHANGED, *WHOLES], "clean")["ablation-no-hesim"]
    among = ablation.compute_part_differences([*CHANGED, *WHOLES, *more], "clean")["ablation-no-hesim"]
    assert among.p == pytest.approx((1 + len(more)) * alone.p) and len(more) == 4


@pytest.mark.parametrize(
    ("by_seed", "p", "is_clear"), [((-1.0, -2.0), 0.04, True), ((-1.0, 0.5), 0.04, False), ((-1.0, -2.0), 0.06, False)]
)
def test_a_star_takes_a_small_p_and_seeds_that_agree(by_seed, p, is_clear):
    difference = ablation.PartDifference(-1.0, 0.5, by_seed, p)
    assert difference.is_clear == is_clear and str(difference).endswith(" *") == is_clear
    assert f"({min(by_seed):+.1f} to {max(by_seed):+.1f})" in str(difference)


def test_only_seeds_and_episodes_that_both_have_are_compared():
    other = measure("ablation-no-hesim-seed2", (1, 1, 1, 1, 1, 1))
    assert len(ablation.compute_part_differences([*CHANGED, other, *WHOLES], "clean")["ablation-no-hesim"].by_seed) == 2
    moved = [
        measure("ablation-no-hesim", (36, 44, 55, 36, 45, 56), manifest=WHOLES[0]["manifest"] | {"hash": "f" * 64})
    ]
    assert not ablation.compute_part_differences([*moved, *WHOLES], "clean")


def test_rows_of_the_clean_group_are_compared_with_clean_queries_alone():
    clean = measure(CLEAN_ALONE, (70, 72, 70, 71, 70, 73))
    same = [measure(name, (68, 71, 70, 70, 69, 72)) for name in (CONSTANT, NO_HESIM)]
    differences = ablation.compute_part_differences([WHOLES[0], clean, *same], PGD)
    assert differences[CLEAN_ALONE].mean > 0 > differences[NO_HESIM].mean
    assert differences[CONSTANT] == differences[NO_HESIM]
    headings, rows = ablation.make_table([WHOLES[0], clean, *same])
    assert headings[:4] == ["what is changed", "clean", "FGSM 8/255", "PGD-20 8/255"]
    assert [row[0] for row in rows] == [v.title for v in ABLATION if v.name in (WHOLE, CLEAN_ALONE, CONSTANT, NO_HESIM)]
    assert rows[0][4:] == ["-", "-", "-", "-"]
    for expected, steps in (("1 of 2", (0, 5)), ("2 of 2", (0, 0))):
        selected = [r | {"training": {"best_step": step}} for r, step in zip(WHOLES, steps, strict=True)]
        assert ablation.make_table(selected)[1][0][-1] == expected


def test_the_figure_has_a_line_for_each_difference_and_a_dot_for_each_seed():
    figure = ablation.draw([*CHANGED, *WHOLES])
    assert [axes.get_title() for axes in figure.axes] == ["clean", "FGSM 8/255", "PGD-20 8/255"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["without Hesim"]
    dots = figure.axes[0].lines[-1].get_xdata()
    differences = ablation.compute_part_differences([*CHANGED, *WHOLES], "clean")
    assert list(dots) == list(differences["ablation-no-hesim"].by_seed)
    assert "means over 2 seeds" in ablation.write_caption([*CHANGED, *WHOLES])
    assert REPORTS[STUDY].draw is ablation.draw


def test_a_record_without_a_column_and_a_study_without_its_whole_are_refused():
    lacking = measure(WHOLE, (1, 2, 3, 4, 5, 6))
    del lacking["columns"][PGD]
    with pytest.raises(UserError, match="lacks the column 'PGD-20 8/255 query'"):
        ablation.make_table([lacking])
    with pytest.raises(UserError, match="no variant was trained beside its reference"):
        ablation.draw(CHANGED)


def test_nets_of_two_encoders_are_no_ablation():
    other = measure("ablation-euclid", (36, 44, 55, 36, 45, 56))
    other["budget"] = other["budget"] | {"encoder": "conv4"}
    with pytest.raises(UserError, match="stand in one study and differ in encoder"):
        ablation.make_table([*WHOLES, other])
