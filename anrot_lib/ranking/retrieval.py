"""Retrieval on clean or attacked images: R@1, R@2, mAP, mAP@10, MAP@R, mean first hit, NMI.

The test set is query set and database. A query's own row is left out by its number. An image of the query's class is
relevant. **Ties count against the query**: an irrelevant image at the same distance as a relevant one stands before
it, so that a net that maps everything to one point scores R@1 = 0 and not the order of the files.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from anrot_lib.ranking.gallery import Gallery, cut_queries, sort_rows
from anrot_lib.ranking.shards import Shard, cut

CUT = 10  # of mAP@10


@dataclass(frozen=True, eq=False)
class Retrieval:
    """One number a query, float64 (n,). NaN where the query's class has no other image: there is nothing to find.

    With pos_j, 1-based, the position of the j-th nearest of the n relevant images:
    first   pos_1 - 1;
    ap      average precision over the whole ranking, (1/n) sum_j j / pos_j;
    ap10    (1/10) sum of j / pos_j over pos_j <= 10, whatever n (some code calls it mAP@R);
    apr     (1/n) sum of j / pos_j over pos_j <= n (MAP@R of Musgrave et al. 2020, arXiv 2003.08505).
    """

    first: np.ndarray
    ap: np.ndarray
    ap10: np.ndarray
    apr: np.ndarray

    def hits(self, k: int = 1) -> np.ndarray:
        """R@k of each query: 1.0 where one of the k nearest is relevant, else 0.0; NaN as above."""
        return np.where(np.isnan(self.first), np.nan, self.first < k)

    def summary(self) -> dict[str, float]:
        """Means over the queries that have something to find: R@1, R@2, mAP, mAP@10 and MAP@R in per cent, the mean
        0-based position of the first hit, and the number of queries left out. NaN if all were."""
        columns = {"R@1": self.hits(1), "R@2": self.hits(2), "mAP": self.ap, "mAP@10": self.ap10, "MAP@R": self.apr}
        some = ~np.isnan(self.first)
        numbers = {name: 100 * _mean(values[some]) for name, values in columns.items()}
        return numbers | {"first hit": _mean(self.first[some]), "alone": int((~some).sum())}


def retrieve(
    gallery: Gallery | Shard,
    rows: Tensor | None = None,
    embeddings: Tensor | None = None,
    progress: Callable[[int], None] | None = None,
) -> Retrieval:
    """Rank the gallery for some of its rows (n,) (all for None), with their own embeddings or with (n, D) others.

    No matrix larger than `gallery.BLOCK_NUMBERS` is held, and nothing is sorted but distances: positions come from
    counting. Processes that hold a shard each call this together: each counts among its own rows, and the sums are the
    same for any number of processes. progress is called with the number of queries done.
    """
    shard = gallery if isinstance(gallery, Shard) else cut(gallery)
    rows = torch.arange(len(shard), device=shard.labels.device) if rows is None else rows
    by_class = shard.labels[rows].argsort(stable=True)  # so that the queries of a block have similar class sizes
    numbers = np.full((len(fields(Retrieval)), len(rows)), np.nan)
    for block in cut_queries(len(rows), len(shard)):
        some = by_class[block]
        queries = shard.select(rows[some]) if embeddings is None else embeddings[some]
        numbers[:, some.cpu().numpy()] = _rank(shard, rows[some], queries).cpu().numpy()
        if progress is not None:
            progress(block.stop)
    return Retrieval(*numbers)


def _rank(shard: Shard, rows: Tensor, embeddings: Tensor) -> Tensor:
    """The fields of Retrieval for one block of queries: (4, B)."""
    ranks, distances = shard.ranks, shard.distances(embeddings)
    columns, real = shard.classmates(rows)
    place, holder = shard.find(columns)
    relevant = distances.gather(1, place).masked_fill_(~real | (holder != ranks.number), torch.inf)
    relevant = ranks.gather_rows([relevant]).amin(0).sort(1).values  # each is finite in one process at most
    real = real.sort(1, descending=True).values
    place, holder = shard.find(rows)
    here = holder == ranks.number
    distances[here.nonzero().squeeze(1), place[here]] = torch.inf  # the query itself
    # Irrelevant rows that stand before each relevant one: all rows at most as far, less the relevant among them.
    before = ranks.gather_rows([torch.searchsorted(sort_rows(distances), relevant, right=True)]).sum(0)
    before -= torch.searchsorted(relevant, relevant, right=True)
    order = torch.arange(1, real.shape[1] + 1, device=real.device)
    position = (before + order).double()
    share = (order / position) * real
    n = real.sum(1)
    sums = [share, (share * (position <= CUT)) / CUT * n[:, None], share * (position <= n[:, None])]
    numbers = torch.stack([position[:, 0] - 1, *(part.sum(1) / n for part in sums)])
    return numbers.masked_fill_(n == 0, torch.nan)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def measure_nmi(gallery: Gallery, seed: int = 0, iterations: int = 100) -> float:
    """Normalised mutual information, in per cent, of k-means clusters with the classes; as many clusters as classes.

    One start by k-means++, at most so many iterations, arithmetic normalisation. Numbers of other k-means programs
    differ by some tenths.
    """
    labels = gallery.labels.cpu().numpy()
    means = KMeans(len(np.unique(labels)), n_init=1, max_iter=iterations, random_state=seed % 2**32)
    return 100 * float(normalized_mutual_info_score(labels, means.fit_predict(gallery.embeddings.cpu().numpy())))
