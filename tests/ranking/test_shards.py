"""Galleries that several processes share: the same bits as in one, and a lost process costs what it was doing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed

from anrot_lib.cli import main
from anrot_lib.core.errors import UserError
from anrot_lib.core.ranks import ALONE, Ranks
from anrot_lib.ranking.attacks.names import make_profile
from anrot_lib.ranking.distances import normalise
from anrot_lib.ranking.gallery import Gallery
from anrot_lib.ranking.retrieval import retrieve
from anrot_lib.ranking.score.testing import ScoreProtocol, attack_all, gather_subject, measure_benign
from anrot_lib.ranking.shards import TILE, Shard, cut, embed
from tests.helpers import command, same, silent

from .conftest import make_toy
from .sets import write_digits

NAME = "fashion:rc2f2:ptripletN"


class Pictures:
    """The toy's images in single precision; some are copies of those of other tiles, and of other classes."""

    def __init__(self):
        toy = make_toy()
        self.net, self.labels, self.images = toy.net.float(), toy.labels.clone(), toy.images.float()
        for first, second in ((3, 300), (40, 590), (256, 511), (7, 520)):
            self.images[second] = self.images[first]
        self.labels[300], self.labels[590] = (self.labels[3] + 1) % 6, self.labels[40]

    def batch(self, rows, device="cpu"):
        return self.images[torch.as_tensor(rows)]

    def embed(self, metric, ranks=ALONE) -> Shard:
        return embed(self.net, self.batch, self.labels, metric, ranks=ranks)


def measure(ranks: Ranks) -> dict:
    """What one process of several, or the only one, makes of it."""
    torch.set_num_threads(1)
    pictures, found = Pictures(), {}
    for metric in "NCEH":
        shard = pictures.embed(metric, ranks)
        queries = retrieve(shard)
        found[metric] = {name: torch.from_numpy(values) for name, values in vars(queries).items()}
        found[metric] |= {"summary": measure_benign(shard, silent, nmi=metric == "N"), "all": shard.gather().embeddings}
    shard = pictures.embed("N", ranks)
    found["tiles"] = len(shard.tiles)
    protocol = ScoreProtocol(make_profile("rob28", eps=0.1, steps=1))
    _, attacked, seconds = attack_all(
        gather_subject(pictures.net, shard, pictures), protocol, np.arange(130), silent, ranks=ranks
    )
    found["attacked"] = {name: torch.from_numpy(values) for name, values in attacked.items()}
    assert min(seconds.values()) > 0
    return found


PROCESS = """
import sys, types
sys.modules["tests"] = types.ModuleType("tests")  # not a package of that name that a library may have installed
sys.modules["tests"].__path__ = [sys.argv[1]]
from tests.ranking.test_shards import work
work(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
"""


def work(number: int, count: int, folder: str) -> None:
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=number, world_size=count)
    torch.save(measure(Ranks(number, count)), f"{folder}/{number}.pt")
    distributed.destroy_process_group()


def test_three_processes_measure_the_same_bits_and_keep_ties(tmp_path):
    tests, threads = Path(__file__).resolve().parents[1], torch.get_num_threads()
    words = [[sys.executable, "-c", PROCESS, str(tests), str(number), "3", str(tmp_path)] for number in range(3)]
    processes = [subprocess.Popen(some, stderr=subprocess.PIPE, text=True) for some in words]
    alone = measure(ALONE)
    torch.set_num_threads(threads)
    for process in processes:
        _, err = process.communicate()
        assert process.returncode == 0, err
    assert alone.pop("tiles") == 3, "a tile for each process"
    for number in range(3):
        found = torch.load(tmp_path / f"{number}.pt")
        assert found.pop("tiles") == 1
        assert same(found, alone), number
    pictures = Pictures()
    ranking = retrieve(pictures.embed("N"))
    assert ranking.first[3] > 0, "its copy, of another class, counts against it"
    assert ranking.first[40] == 0, "and one of its class is found first"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_row_is_held_by_one_process(count):
    rows = torch.arange(3 * TILE + 10)
    gallery = Gallery(rows.double()[:, None], rows % 7, "E")
    shards = [cut(gallery, Ranks(number, count)) for number in range(count)]
    assert sum(shard.held for shard in shards) == len(rows)
    assert len({len(shard.tiles) for shard in shards}) == 1, "as what is gathered asks for"
    place, holder = shards[0].find(rows)
    values = torch.stack([shard.tiles.flatten() for shard in shards])
    assert torch.equal(values[holder, place], rows.double())
    for number, shard in enumerate(shards):
        assert torch.equal(place[holder == number].sort().values, torch.arange(shard.held))


def test_distances_are_those_of_the_whole_gallery():
    generator = torch.Generator().manual_seed(0)
    for metric in "NCEH":
        rows = normalise(torch.randn(TILE + 20, 8, generator=generator).double(), metric)
        gallery = Gallery(rows, torch.arange(len(rows)) % 5, metric)
        found = cut(gallery).distances(rows[:9])
        torch.testing.assert_close(found[:, : len(rows)], gallery.distances(rows[:9]), rtol=0, atol=1e-6)
        assert found[:, len(rows) :].isinf().all()


def test_a_gallery_that_cannot_be_is_refused():
    with pytest.raises(UserError, match="not finite"):
        embed(
            torch.nn.Flatten(), lambda rows: torch.full((len(rows), 1, 2, 2), torch.nan), torch.zeros(300).long(), "N"
        )
    with pytest.raises(UserError, match="at least two images, got 1"):
        embed(torch.nn.Flatten(), lambda rows: torch.ones(len(rows), 4), torch.zeros(1).long(), "N")


# --- the command ---


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A home with an untrained net, beside digits whose test images are three tiles."""
    pytest.importorskip("lightning_fabric", reason="runs of several processes need the extra 'ranks'")
    folder = tmp_path_factory.mktemp("shards")
    write_digits(folder / "digits", 40, 2 * TILE + 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANROT_HOME", str(folder / "home"))
        words = ["retrieve", "train", "-C", NAME, "--data", str(folder / "digits"), "--device", "cpu"]
        assert main.main([*words, "--epochs", "0", "--batch", "20"]) == 0
    return folder


def start(folder: Path, *words: str) -> subprocess.Popen:
    variables = {**os.environ, "ANROT_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    attack = ("retrieve", "attack", "-C", NAME, "--data", folder / "digits", "--device", "cpu", "--queries", "300")
    words = command(*attack, "--steps", "2", "--few-shot", "40", "--shot", "1", *words)
    return subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_record(folder: Path, tag: str) -> dict:
    """The record without what differs from run to run."""
    (file,) = (folder / "home" / "runs").rglob(f"*-{tag}.rob28.json")
    record = json.loads(file.read_text("utf-8"))
    del record["run"]
    for number in record["numbers"].values():
        del number["seconds"]
    return record


def test_an_attack_loses_a_process_and_ends_with_the_record_of_a_single_one(trained):
    process = start(trained, "--devices", "2", "--tag", "two")
    journals = []
    while process.poll() is None and not any(path.read_text("utf-8").count("\n") > 2 for path in journals):
        time.sleep(0.02)
        journals = list((trained / "home" / "checkpoints").rglob("*-two.rob28-rank1.jsonl"))
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode and "Traceback" not in err, err
    out, err = (process := start(trained, "--devices", "2", "--tag", "two")).communicate()
    assert process.returncode == 0, out + err
    assert out.count("record: ") == out.count("ERS ") == 1, "the second process is to be silent"
    assert "2 processes, each " in out and not list((trained / "home").rglob("*.jsonl"))
    out, err = (process := start(trained, "--tag", "one")).communicate()
    assert process.returncode == 0, out + err
    assert read_record(trained, "two") == read_record(trained, "one")
