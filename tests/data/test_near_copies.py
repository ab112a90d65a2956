"""Near copies in large sets: cells propose what all pairs would, and processes share the work without a trace."""

import numpy as np
import pytest
import torch

from anrot_lib.core.ranks import Ranks
from anrot_lib.data.leakage import candidates, fingerprints, near_copies
from anrot_lib.data.leakage.candidates import Candidates, find_candidates
from anrot_lib.data.leakage.fingerprints import Fingerprints, Views
from tests.data import test_guard as guarded


@pytest.fixture(scope="module")
def prints() -> Fingerprints:
    """Random fingerprints, of which many agree: each is near one of 40 directions, in either orientation."""
    chance = torch.Generator().manual_seed(0)
    centres = torch.randn(40, 30, generator=chance)
    rows = centres[torch.randint(40, (1200,), generator=chance)] + 0.9 * torch.randn(1200, 30, generator=chance)
    rows = torch.nn.functional.normalize(rows, dim=1)
    turned = torch.where(torch.rand(1200, 1, generator=chance) < 0.5, -1.0, 1.0)
    return Fingerprints(rows[:, :16].contiguous(), rows[:, 16:] * turned)


def list_pairs(found: Candidates) -> list[tuple[int, int, bool]]:
    return list(zip(found.first.tolist(), found.second.tolist(), found.mirrored.tolist(), strict=True))


def find_by_loop(prints: Fingerprints, least: float, most: int) -> set[tuple[int, int, bool]]:
    """Of all agreeing pairs the best of each image with later images, and with earlier ones, one after another."""
    even, odd = (part.double().numpy() for part in prints)
    score, sign = even @ even.T + np.abs(odd @ odd.T), odd @ odd.T < 0
    kept = set()
    for row, agreement in enumerate(score):
        for others in (range(row), range(row + 1, len(score))):
            best = sorted(others, key=lambda k: -agreement[k])[:most]
            kept |= {(min(row, k), max(row, k), bool(sign[row, k])) for k in best if agreement[k] > least}
    return kept


def test_all_pairs_are_the_best_of_each_image(prints):
    found = list_pairs(find_candidates(prints, 0.4, 6))
    assert found == sorted(set(found)) and set(found) == find_by_loop(prints, 0.4, 6)


def test_cells_that_are_all_visited_propose_what_all_pairs_do(prints, monkeypatch):
    monkeypatch.setattr(candidates, "CELL", 100)
    assert candidates.VISITS > 1200 // 100
    assert list_pairs(find_candidates(prints, whole=0)) == list_pairs(find_candidates(prints))


def test_a_visit_to_some_cells_finds_most_at_a_part_of_the_work(prints, monkeypatch):
    monkeypatch.setattr(candidates, "CELL", 20)
    monkeypatch.setattr(candidates, "VISITS", 12)
    tiles = list(candidates.cut_cells(prints, 60, 12))
    work = sum(len(rows) * len(others) for rows, others in tiles)
    assert work < 0.4 * 1200**2
    assert sorted(row for rows, others in tiles for row in set(others.tolist()) & set(rows.tolist())) == list(
        range(1200)
    )
    near, every = (set(list_pairs(find_candidates(prints, whole=whole))) for whole in (0, 1200))
    assert len(near & every) > 0.97 * len(every)


def test_pairs_that_are_dropped_on_the_way_are_not_missed(prints, monkeypatch):
    whole = list_pairs(find_candidates(prints, most=2))
    monkeypatch.setattr(candidates, "STEP", 64)
    monkeypatch.setattr(candidates, "PENDING", 500)
    compared = []

    def compare(*given):
        compared.append(len((pairs := compare_all(*given)).first))
        return pairs

    compare_all = candidates._compare
    monkeypatch.setattr(candidates, "_compare", compare)
    assert list_pairs(find_candidates(prints, most=2)) == whole
    even, odd = prints
    agreeing = int(((even @ even.T + (odd @ odd.T).abs()).triu(1) > candidates.LEAST).sum())
    assert len(whole) < sum(compared) < 0.7 * agreeing, "pairs below the floors of both images are never listed"


class Recorded(Ranks):
    """One of several processes, which hears of no other."""

    def gather(self, value):
        return [value]


@pytest.mark.parametrize("whole", [0, 1200])
def test_the_shares_of_three_processes_make_the_whole(prints, monkeypatch, whole):
    monkeypatch.setattr(candidates, "CELL", 60)
    monkeypatch.setattr(candidates, "STEP", 256)
    shares = [find_candidates(prints, whole=whole, ranks=Recorded(k, 3)) for k in range(3)]
    assert all(len(share.first) for share in shares)
    together = candidates._keep_best(Candidates.concatenate(shares[::-1]), candidates.MOST, torch.zeros(2, 1200))
    alone = find_candidates(prints, whole=whole)
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))


def test_views_that_are_made_when_asked_for_are_those_that_are_kept(monkeypatch):
    images = guarded.textured(30, 40)
    kept = Views(images)
    monkeypatch.setattr(fingerprints, "WHOLE", 0)
    made, rows = Views(images), torch.tensor([3, 3, 29, 0])
    for some in (rows, slice(5, 9)):
        assert torch.equal(made.get_thumbnails(some), kept.get_thumbnails(some))
        assert torch.equal(made.get_details(some), kept.get_details(some))


def test_planted_copies_are_found_by_cells_too(monkeypatch):
    images, planted = guarded.plant(guarded.textured(300, 32), guarded.CHANGES, each=10)
    for module in (fingerprints, candidates):
        monkeypatch.setattr(module, "WHOLE", 0)
    monkeypatch.setattr(
        candidates, "find_candidates", lambda prints, ranks: find_candidates(prints, whole=0, ranks=ranks)
    )
    monkeypatch.setattr(candidates, "CELL", 4)
    monkeypatch.setattr(candidates, "VISITS", 24)  # of 92
    found = {(a, b) for a, b, _, _ in near_copies.find_near_copies(images)}
    assert np.mean([pair in found for pair in planted]) >= 0.95
    assert not guarded.unrelated(found, planted)


def test_identical_rows_are_grouped_as_a_plain_loop_does():
    images = np.random.default_rng(0).integers(0, 2, (60, 1, 3, 1), dtype=np.uint8)
    rows: dict[bytes, list[int]] = {}
    for row, image in enumerate(images):
        rows.setdefault(image.tobytes(), []).append(row)
    grouped = near_copies.group_identical(near_copies.compute_digests(images))
    assert sorted(grouped) == sorted(members for members in rows.values() if len(members) > 1)
    assert near_copies.group_identical(near_copies.compute_digests(images[:0])) == []
