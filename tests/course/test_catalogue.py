"""The nets that ship: small, the recorded files, good enough to teach with; and the list of notebooks."""

import pytest

from anrot_lib.core import checkpoints, paths
from anrot_lib.core.errors import UserError
from anrot_lib.course import catalogue
from anrot_lib.fewshot import nets
from anrot_lib.records import results

RECORDS = paths.results_dir() / "synthetic-32px-5way-5shot-smoke-course"


@pytest.mark.parametrize("name", ["clean", "mixture"])
def test_a_net_is_small_recorded_and_above_60_per_cent(name):
    path = catalogue.NETS / f"{name}.pt"
    assert path.stat().st_size < 1_000_000
    record = results.read(RECORDS / f"{name}.json")
    assert record["training"]["checkpoint"] == checkpoints.sha256(path) == catalogue.read_net_index()[name]["sha256"]
    assert record["columns"]["clean"]["mean"] - record["columns"]["clean"]["half_width"] > 60
    assert catalogue.read_net_index()[name]["command"].startswith("anrot train ")
    assert not catalogue.open_net(name).training


def test_mixture_is_the_robust_one():
    strong = "PGD-20 8/255 query"
    clean, mixture = (results.read(RECORDS / f"{n}.json")["columns"][strong] for n in ("clean", "mixture"))
    assert mixture["mean"] - mixture["half_width"] > clean["mean"] + clean["half_width"]


def test_the_reader_can_swap_in_a_net_of_their_own(tmp_path):
    mine = tmp_path / "mine.pt"
    nets.save_net(mine, catalogue.open_net("clean"), "anrot")
    ours, theirs = (catalogue.open_net(which).state_dict() for which in ("clean", mine))
    assert all((ours[k] == theirs[k]).all() for k in ours)


def test_unknown_names_and_altered_files_are_errors(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="choose clean or mixture"):
        catalogue.open_net("robust")
    (tmp_path / "nets.json").write_text((catalogue.NETS / "nets.json").read_text())
    (tmp_path / "clean.pt").write_bytes((catalogue.NETS / "clean.pt").read_bytes() + b"x")
    monkeypatch.setattr(catalogue, "NETS", tmp_path)
    with pytest.raises(UserError, match="not the file that was recorded"):
        catalogue.open_net("clean")
