"""The nets that ship: small, the recorded files, good enough to teach with; and the list of notebooks."""

import numpy as np
import pytest

from anrot_lib.core import checkpoints, paths
from anrot_lib.core.errors import UserError
from anrot_lib.core.units import format_pixels
from anrot_lib.course import catalogue
from anrot_lib.data.embedded import open_embedded
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.fewshot import nets
from anrot_lib.fewshot.evaluation import count_clean
from anrot_lib.records import results
from anrot_lib.settings import CHARACTERS, FIGURES, get_radii

RECORDS = paths.results_dir()  # of the checkout: read before the tests have a data root of their own
NETS = {"clean": CHARACTERS, "mixture": CHARACTERS, "figures-clean": FIGURES, "figures-mixture": FIGURES}


def read_record(name):
    return results.read(RECORDS / f"{catalogue.read_net_index()[name]['record']}.json", "accuracy")


@pytest.mark.parametrize("name", NETS)
def test_a_net_is_small_recorded_and_good_on_clean_images(name):
    path, index = catalogue.find_net(name), catalogue.read_net_index()[name]
    assert path.suffix == ".safetensors" and path.stat().st_size < 400_000
    record, net = read_record(name), catalogue.open_net(name)
    assert checkpoints.sha256(path) == index["sha256"] and record["training"]["checkpoint"] == index["checkpoint"]
    assert record["columns"]["clean"]["mean"] - record["columns"]["clean"]["half_width"] > 80
    assert index["command"].startswith("anrot train ") and f"--data {NETS[name]} " in index["command"]
    assert index["data"] == NETS[name] == net.origin.data == record["data"]["name"]
    assert net.origin.sha256 == record["data"]["sha256"] and not net.training
    assert set(catalogue.read_net_index()) == set(NETS)


@pytest.mark.parametrize("name", NETS)
def test_a_net_answers_as_its_record_says(name):
    """The first clean episodes again: the weights in the file are those that were recorded."""
    record, image_set = read_record(name), open_embedded(NETS[name])
    protocol, budget = record["protocol"], record["budget"]
    sizes = (protocol["way"], protocol["shot"], budget["clean_query"], budget["clean_tasks"], protocol["seed"])
    manifest = EpisodeManifest.make(image_set, "test", *sizes)
    assert manifest.hash == record["manifest"]["hash"]
    counts = count_clean(catalogue.open_net(name), image_set, manifest.rows[:8])
    assert np.abs(counts - np.array(record["columns"]["clean"]["correct"][:8])).max() <= 1, "up to the last bit"


@pytest.mark.parametrize("prefix", ["", "figures-"])
def test_mixture_is_the_robust_one(prefix):
    """At the radii of its images, far above chance and above what clean training leaves."""
    columns = {name: read_record(f"{prefix}{name}")["columns"] for name in ("clean", "mixture")}
    eps = format_pixels(get_radii(NETS[f"{prefix}clean"]).eps)
    clean, mixture = (columns[name][f"PGD-20 {eps} query"] for name in ("clean", "mixture"))
    assert mixture["mean"] - mixture["half_width"] > max(50, clean["mean"] + clean["half_width"])


def test_the_reader_can_swap_in_a_net_of_their_own(tmp_path):
    for mine in (tmp_path / "mine.pt", tmp_path / "mine.safetensors"):
        nets.save_net(mine, catalogue.open_net("clean"), "anrot")
        ours, theirs = (catalogue.open_net(which).state_dict() for which in ("clean", mine))
        assert all((ours[k] == theirs[k]).all() for k in ours)


def test_unknown_names_and_altered_files_are_errors(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=f"choose one of {', '.join(catalogue.read_net_index())}, or give"):
        catalogue.open_net("robust")
    (tmp_path / "nets.json").write_text((catalogue.NETS / "nets.json").read_text())
    data = catalogue.find_net("clean").read_bytes()
    (tmp_path / "clean.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    monkeypatch.setattr(catalogue, "NETS", tmp_path)
    with pytest.raises(UserError, match="not the file that was recorded"):
        catalogue.open_net("clean")
