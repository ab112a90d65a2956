"""The page about one's own images, head and loss: its blocks run one after the other, and the new rows come out."""

import re
import time
from pathlib import Path

import pytest

from anrot_lib.settings import Protocol

PAGE = Path(__file__).resolve().parents[1] / "docs" / "your_own.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LONGEST = 15
SECONDS = 60  # of processor time of one thread


def blocks() -> list[str]:
    return BLOCK.findall(PAGE.read_text("utf-8"))


def test_every_block_is_short():
    lengths = [sum(bool(line.strip()) for line in block.splitlines()) for block in blocks()]
    assert len(lengths) == 6 and max(lengths) <= LONGEST


def test_five_imports_are_enough():
    lines = [line for block in blocks() for line in block.splitlines() if line.startswith(("import ", "from "))]
    assert 1 <= len(lines) <= 5


@pytest.mark.slow
def test_the_blocks_run_and_the_table_has_the_new_rows(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANROT_HOME", str(tmp_path))
    namespace: dict = {"__name__": "your_own"}
    started = time.process_time()
    for number, block in enumerate(blocks()):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), namespace)
    assert time.process_time() - started < SECONDS
    rows = {record["row"]: record for record in namespace["comparison"].records}
    assert list(rows) == ["anrot-clean", "laplace", "triplets"]
    assert rows["laplace"]["recipe"]["method"] == "laplace" and rows["triplets"]["training"]["loss"] == "hard_triplets"
    assert len({record["manifest"]["hash"] for record in rows.values()}) == 1
    counts = [tuple(record["columns"]["clean"]["correct"]) for record in rows.values()]
    assert len(set(counts)) == 3, "two of the rows are the same net"
    for record in rows.values():
        clean = record["columns"]["clean"]
        assert clean["mean"] - clean["half_width"] > 100 / Protocol().way, "no better than chance"
    table = capsys.readouterr().out
    evaluated = [line.split("  ")[0] for line in table.splitlines()[:4]]
    assert evaluated == ["clean", "FGSM 8/255 query", "PGD-20 8/255 query", "noise 0.10 query"]
    headings = next(line for line in table.splitlines() if "step cost" in line).split()
    assert {"FGSM", "PGD-20", "noise"} <= set(headings)
    for name in ("Laplace prototypes", "ANROT with hard triplets"):
        row = next(line for line in table.splitlines() if line.startswith(name))
        assert row.count("±") + row.count("< ") + row.count("> ") == 4, "clean, FGSM, PGD and noise; bounds for 0 of n"
    assert table.count("ANROT with hard triplets") == 2, "in the table and in that of the differences"
