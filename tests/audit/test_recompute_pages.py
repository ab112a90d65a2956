"""What pages print, computed again from records: every table, every number, and every altered one is named."""

import re
import shlex
from pathlib import Path

import pytest

from anrot_lib.audit.claims.registry import select_claims
from anrot_lib.audit.recompute import arithmetic, pages
from anrot_lib.audit.recompute.claimed import find_status
from anrot_lib.audit.recompute.printed import Shelf
from anrot_lib.publish import marks
from anrot_lib.records import results
from anrot_lib.reports.ablation import PartDifference
from tests.reports.test_ablation import CHANGED, WHOLES
from tests.reports.test_lengths import QUICK, trained
from tests.reports.test_tables import record as make_record

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "data" / "results"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
WORDS = {  # columns of words, in which digits are names and settings
    ("claims", "why, or what it takes"),
    ("suites", "images"),
}


SHELF = Shelf(RECORDS)


def recompute(text):
    found = arithmetic.Recomputation()
    pages.recompute_text("page.md", text, SHELF, found)
    return found


def test_what_pages_print_is_computed_too():
    found = arithmetic.Recomputation()
    for page in PAGES:
        pages.recompute_page(page, SHELF, found)
    assert found.deviations == []
    assert found.counts["printed number"] > 2000
    assert {"ranking", "reconstruction", "timing"} < found.taken.keys() and sum(found.taken.values()) > 700


def test_every_kind_of_mark_is_known():
    assert pages.NUMBERS.keys() == marks.NUMBERS.keys() and set(pages.TAKEN) < pages.NUMBERS.keys()
    assert {*pages.TABLES, *pages.UNMEASURED} == marks.TABLES.keys()
    assert not pages.TABLES.keys() & {*pages.UNMEASURED}


def list_alterations(text):
    """(heading, text with another digit in one cell) of each column of numbers of each table of a mark."""
    lines, headings, seen = text.splitlines(), [], set()
    for place, line in enumerate(lines):
        cells = line.strip().strip("|").split("|")
        if not line.startswith("| "):
            headings = []
        elif not headings:
            headings, seen = [cell.strip() for cell in cells], set()
        for column, cell in enumerate(cells[1:], 1) if headings and "---" not in line else ():
            if cell.strip() != headings[column] and column not in seen and (digit := re.search(r"\d", cell)):
                seen.add(column)
                other = cell[: digit.start()] + str((int(digit[0]) + 3) % 10) + cell[digit.end() :]
                altered = "|".join(["", *cells[:column], other, *cells[column + 1 :], ""])
                yield headings[column], "\n".join([*lines[:place], altered, *lines[place + 1 :]])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_column_of_any_table_is_passed_over(page):
    missed = []
    for sort, what, text in pages.MARK.findall(page.read_text("utf-8")):
        kind = shlex.split(what)[0]
        if sort == "table" and kind not in pages.UNMEASURED:
            for heading, altered in list_alterations(text):
                if not recompute(f"<!-- table: {what} -->{altered}<!-- end -->").deviations:
                    missed.append((kind, heading))
    assert {*missed} <= WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_number_of_any_sentence_is_passed_over(page):
    for sort, what, text in pages.MARK.findall(page.read_text("utf-8")):
        if sort == "number":
            altered = re.sub(r"\d", lambda digit: str((int(digit[0]) + 3) % 10), text)
            (deviation,) = recompute(f"<!-- number: {what} -->{altered}<!-- end -->").deviations
            assert (deviation.stored, deviation.computed) == (altered, text)


ALTERED = {
    "certificates.md": [("54.5 ± 2.2", "64.5 ± 2.2"), ("(72 %)", "(92 %)"), ("0 of 582", "0 of 682")],
    "consequences.md": [
        ("-8.5 ± 0.1", "-0.5 ± 0.1"),
        ("+3.2 ± 2.9", "+9.2 ± 2.9"),
        ("standard deviation 0.9", "standard deviation 0.2"),
    ],
    "attacks.md": [("APGD-CE-100 426", "APGD-CE-100 326"), ("| -0.8 ± 1.6 |", "| +0.8 ± 1.6 |")],
    "cifar-fs.md": [("(PGD overstates by 3.2)", "(PGD overstates by 3.0)"), ("| (2.89) |", "| (1.89) |")],
    "levels.md": [
        ("| < 0.001 | 89 : 11", "| 0.048 | 89 : 11"),
        ("6 are better than pixels alone", "9 are better than pixels alone"),
        ("the best is pixels + Wasserstein, +0.24", "the best is pixels + Wasserstein, +0.74"),
        ("it keeps 48 % of its clean accuracy", "it keeps 28 % of its clean accuracy"),
        ("Wasserstein keeps 81 %", "KL keeps 81 %"),
        ("the best single level has 8.0 % left", "the best single level has 9.0 % left"),
    ],
    "ranking.md": [("| 43.6 ± 0.8 |", "| 48.6 ± 0.8 |"), (" collapsed |", " |"), ("| 90.4 |", "| 98.4 |")],
    "reconstruction.md": [
        ("-15.7 ± 5.9 to Wasserstein", "-15.7 ± 0.9 to Wasserstein"),
        ("that of Kullback-Leibler, -6.8", "that of Wasserstein, -6.8"),
        ("(Hellinger (squared) 0.0234", "(Hellinger (squared) 0.3"),
        ("of that size: 0.218", "of that size: 0.118"),
    ],
    "claims.md": [
        ("| other setting | 32 px, not 84, 55,193", "| same setting, agrees | 32 px, not 84, 55,193"),
        ("| - | not run | mini-ImageNet in full", "| - | other setting | mini-ImageNet in full"),
        ("42.2 ± 0.5 (mini", "88.9 ± 0.5 (mini"),
        ("(ranking/fashion-28px/ACT[R])", "(ranking/fashion-28px)"),
    ],
}


@pytest.mark.parametrize(("page", "printed", "altered"), [(p, a, b) for p, some in ALTERED.items() for a, b in some])
def test_any_printed_number_that_somebody_altered_is_named(page, printed, altered):
    text = (ROOT / "docs" / "results" / page).read_text("utf-8")
    assert printed in text
    found = recompute(text.replace(printed, altered, 1))
    assert found.deviations and all(d.stored != d.computed for d in found.deviations)


def test_a_claim_is_judged_by_its_intervals():
    """A line that says that the setting is the same has to say what its two intervals say."""
    claim = next(claim for claim in select_claims(("MML",)) if claim.value == 67.58)
    said = {
        measured: find_status(
            claim, {"measured, nearest setting": f"{measured} (there/row)", "status": "same setting, agrees"}
        )
        for measured in ("67.0 ± 0.4", "66.9 ± 0.4", "68.3 ± 0.4", "< 0.3")
    }
    assert [*said.values()] == ["same setting, agrees", "same setting, below", "same setting, above", "other setting"]


def test_what_no_record_has_is_named_and_ends_nothing():
    page = (
        "<!-- table: tale of_two_nets --><!-- end -->"
        "<!-- number: first-rank ranking/nowhere -->1.0<!-- end -->"
        "<!-- table: timing bench/step-32px -->\n| step | median, ms |\n| --- | ---: |\n| a tale | 1 |\n<!-- end -->"
    )
    assert [d.what for d in recompute(page).deviations] == ["the mark"] * 3


def test_a_difference_that_rounds_to_nothing_has_one_sign():
    assert str(PartDifference(-1e-17, 0.5, (0.0,), 1.0)) == "+0.0 ± 0.5"


@pytest.fixture
def ablation_page(tmp_path, monkeypatch):
    """A page whose number and table are drawn from records of two seeds."""
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    for record in (*CHANGED, *WHOLES):
        results.write(tmp_path / "results" / "there" / f"{record['row']}.json", record)
    page = tmp_path / "page.md"
    number = "<!-- number: ablation there ablation-no-hesim PGD --><!-- end -->"
    page.write_text(marks.redraw(f"{number}\n\n<!-- table: ablation there -->\n<!-- end -->\n"), "utf-8")
    return page


def test_the_parts_of_an_ablation_are_computed_over_seeds(ablation_page, tmp_path):
    found = arithmetic.Recomputation()
    pages.recompute_page(ablation_page, Shelf(tmp_path / "results"), found)
    assert not found.deviations
    text = ablation_page.read_text("utf-8")
    printed = text[text.index("PGD -->") + 7 : text.index("<!-- end")]
    ablation_page.write_text(text.replace(printed, "-0.1 ± 0.1", 2), "utf-8")
    again = arithmetic.Recomputation()
    pages.recompute_page(ablation_page, Shelf(tmp_path / "results"), again)
    assert {d.computed[: len(printed)] for d in again.deviations} == {printed} and len(again.deviations) == 2


@pytest.fixture
def shelf_of_trainings(tmp_path, monkeypatch):
    """Records of two recipes at two lengths, and of one of them in two experiments of two nets each."""
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    slow = [trained("anrot", 4, 2), trained("anrot", 8, 3)]
    for number, record in enumerate((*slow, *QUICK)):
        folder = tmp_path / "results" / f"several-lengths-{number + 1}"
        results.write(
            folder / f"{record['row']}.json", record | {"budget": record["budget"] | {"episodes": number + 1}}
        )
    for shift, name in enumerate(("first", "second")):
        for seed, row in enumerate(("anrot", "anrot-seed1")):
            twin = make_record(row, 3 * shift + seed, manifest=slow[0]["manifest"])
            results.write(tmp_path / "results" / name / f"{row}.json", twin)
    return Shelf(tmp_path / "results")


@pytest.mark.parametrize("what", ["lengths several-lengths", "twins first second difference"])
def test_tables_of_several_trainings_are_computed_again(shelf_of_trainings, what):
    text = marks.redraw(f"<!-- table: {what} --><!-- end -->")
    found = arithmetic.Recomputation()
    pages.recompute_text("page.md", text, shelf_of_trainings, found)
    assert not found.deviations and found.counts["printed number"] > 10
    for heading, altered in list_alterations(text):
        again = arithmetic.Recomputation()
        pages.recompute_text("page.md", altered, shelf_of_trainings, again)
        assert again.deviations or heading == "column", heading
