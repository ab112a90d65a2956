"""The list of planted faults fits the code, and the committed record fits the list."""

import json
import re

import pytest

from tests.faults import MOST_SURVIVORS, RECORD, ROOT, SCHEMA, Fault, list_faults

FAULTS = list_faults()
ROOMS = {
    "attacks", "audit", "cli", "core", "data", "divergences", "experiments", "fewshot", "ranking", "reconstruction",
    "records", "reports",
}  # fmt: skip


def test_there_are_enough_faults_in_every_room():
    assert len(FAULTS) >= 150 and {fault.room for fault in FAULTS} >= ROOMS
    assert len({fault.key for fault in FAULTS}) == len(FAULTS), "a fault stands twice in the list"


def test_every_fault_can_be_planted():
    for fault in FAULTS:
        assert fault.plant(ROOT) != (ROOT / "anrot_lib" / fault.file).read_text("utf-8"), fault.key


def test_a_text_that_occurs_no_more_is_an_error():
    with pytest.raises(ValueError, match=r"core/units.py holds 'shtop' 0 times, not once"):
        Fault("core/units.py", "shtop", "stop", "core/test_checks.py").plant(ROOT)


def test_every_named_test_exists():
    for fault in FAULTS:
        for test in fault.tests.split():
            file, _, name = test.partition("::")
            text = (ROOT / "tests" / file).read_text("utf-8")
            assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE), test


def test_the_record_is_of_this_list_and_hardly_a_fault_survived():
    record = json.loads(RECORD.read_text("utf-8"))
    assert record["schema"] == SCHEMA
    assert [row["fault"] for row in record["results"]] == [fault.key for fault in FAULTS]
    assert [row["tests"] for row in record["results"]] == [fault.tests for fault in FAULTS]
    survivors = [fault for fault, row in zip(FAULTS, record["results"], strict=True) if not row["killed"]]
    assert record["survivors"] == [fault.key for fault in survivors]
    assert len(survivors) <= MOST_SURVIVORS and all(fault.excuse for fault in survivors)
