"""Episodes: which images stand in which task. Drawn from labels alone, many at once, and replayable by recipe.

All draws come from numpy's raw Philox stream, which is promised stable across versions and machines, so the
recipe (labels, way, shot, query, number of tasks, seed) stands for the very same episodes everywhere.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from anrot_lib.core import randomness
from anrot_lib.core.errors import UserError

if TYPE_CHECKING:  # episodes are drawn without torch; only their images take it
    import torch
    from torch import Tensor

    from anrot_lib.data.image_set import ImageSet


@dataclass(frozen=True)
class Episode:
    """E tasks of `way` classes. Images are float in [0, 1]; labels are 0..way-1 within each task.

    support (E, way, shot, C, H, W), mask (E, way, shot) True where a shot exists, query (E, n, C, H, W),
    labels (E, n) int64, class_ids (E, way), support_rows (E, way, shot) and query_rows (E, n) of the image set.
    """

    support: "Tensor"
    mask: "Tensor"
    query: "Tensor"
    labels: "Tensor"
    class_ids: "Tensor"
    support_rows: "Tensor"
    query_rows: "Tensor"

    @property
    def support_labels(self) -> "Tensor":
        """(E, way * shot): the class of each shot when `support` is flattened over (way, shot)."""
        import torch

        e, way, shot = self.mask.shape
        return torch.arange(way, device=self.mask.device).repeat_interleave(shot).expand(e, way * shot)


@dataclass(frozen=True)
class EpisodeRows:
    """Row numbers of E tasks as arrays: classes (E, way), support (E, way, shot), query (E, way, n_query)."""

    classes: np.ndarray
    support: np.ndarray
    query: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, item: slice) -> "EpisodeRows":
        return EpisodeRows(self.classes[item], self.support[item], self.query[item])

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.classes, self.support, self.query

    def with_queries(self, n_query: int) -> "EpisodeRows":
        """The same tasks with only the first `n_query` queries of each class."""
        return EpisodeRows(self.classes, self.support, self.query[:, :, :n_query])

    def to_episode(self, image_set: "ImageSet", device: "str | torch.device" = "cpu") -> Episode:
        """Load the images. Query labels are ordered by class: 0..0 1..1 ..."""
        import torch

        e, way, n_query = self.query.shape
        labels = torch.arange(way, device=device).repeat_interleave(n_query).expand(e, way * n_query)
        query_rows = self.query.reshape(e, -1)
        return Episode(
            support=image_set.batch(self.support, device),
            mask=torch.ones(self.support.shape, dtype=torch.bool, device=device),
            query=image_set.batch(query_rows, device),
            labels=labels,
            class_ids=torch.as_tensor(self.classes, device=device),
            support_rows=torch.as_tensor(self.support, device=device),
            query_rows=torch.as_tensor(query_rows, device=device),
        )


BLOCK = 256  # tasks drawn at a time: bounds the memory of the random keys


def find_smallest(keys: np.ndarray, k: int) -> np.ndarray:
    """The positions of the k smallest keys along the last axis, smallest first."""
    largest = np.partition(keys, k - 1, axis=-1)[..., k - 1 : k]  # quicker than argpartition
    places = np.flatnonzero(keys <= largest)
    if len(places) == largest.size * k:
        first = (places % keys.shape[-1]).reshape(*keys.shape[:-1], k)
    else:  # equal keys
        first = np.argpartition(keys, k - 1, axis=-1)[..., :k]
    order = np.argsort(np.take_along_axis(keys, first, axis=-1), axis=-1)
    return np.take_along_axis(first, order, axis=-1)


@dataclass(frozen=True)
class EpisodeSampler:
    """Draws `n_tasks` episodes from `labels` (any integer labels, one an image; rows are positions in it).

    Iterating yields, a task at a time, the flat list of row numbers that easyfsl's TaskSampler yields (class
    by class, shots before queries), so it serves as a `batch_sampler`; `draw(n)` gives many tasks at once.
    `rows` limits the draw to some rows of a larger set. `class_names` and `split` serve messages.
    Every pass over the sampler is an epoch with new tasks: epoch e yields tasks e n_tasks to (e + 1) n_tasks - 1 of the
    stream, the first pass those of `draw()`. `set_epoch(e)` chooses the epoch of the next pass, as in torch's samplers.
    Raises UserError when the labels hold too few classes or too few images a class.
    """

    labels: "Sequence[int] | np.ndarray | Tensor"
    n_way: int
    n_shot: int
    n_query: int
    n_tasks: int
    seed: int = 0
    rows: np.ndarray | None = None
    stream: str = "episodes"
    class_names: Sequence[str] | None = None
    split: str = ""

    @cached_property
    def _rows_of_class(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(class ids (K,), their rows padded with -1 (K, longest), counts (K,))."""
        labels = np.asarray(self.labels)
        rows = np.arange(len(labels)) if self.rows is None else np.asarray(self.rows)
        chosen = labels[rows]
        classes, counts = np.unique(chosen, return_counts=True)
        table = np.full((len(classes), counts.max(initial=0)), -1, dtype=np.int64)
        order = np.argsort(chosen, kind="stable")
        table[np.arange(table.shape[1]) < counts[:, None]] = rows[order]
        return classes, table, counts

    def __post_init__(self) -> None:
        if min(self.n_way, self.n_shot, self.n_query) < 1 or self.n_tasks < 0:
            raise UserError("way, shot and query must be at least 1 and the number of tasks at least 0")
        classes, _, counts = self._rows_of_class
        where = f" of the split {self.split!r}" if self.split else ""
        if len(classes) < self.n_way:
            names = (
                f" ({', '.join(map(self._name, classes[:8].tolist()))})" if self.class_names and len(classes) else ""
            )
            raise UserError(
                f"{self.n_way}-way episodes need at least {self.n_way} classes{where}, found {len(classes)}{names}; "
                "ask for fewer ways (--way), or prepare the set with more classes there"
            )
        need = self.n_shot + self.n_query
        if counts.min() < need:
            worst = int(np.argmin(counts))
            raise UserError(
                f"class {self._name(int(classes[worst]))}{where} has {counts[worst]} images, but {self.n_shot} shots "
                f"and {self.n_query} queries need {need} of each class; ask for fewer or leave the class out"
            )

    def _name(self, c: int) -> str:
        return repr(self.class_names[c]) if self.class_names else str(c)

    def set_epoch(self, epoch: int) -> None:
        """Choose the tasks of the next pass."""
        object.__setattr__(self, "_epoch", epoch)

    def __len__(self) -> int:
        return self.n_tasks

    def draw(self, n: int | None = None, start: int = 0) -> EpisodeRows:
        """Tasks start .. start + n - 1 (default: all), as arrays of row numbers. O(n (K + way x images a class))."""
        n = self.n_tasks - start if n is None else n
        blocks = [self._draw(min(BLOCK, start + n - at), at) for at in range(start, start + n, BLOCK)]
        blocks = blocks or [self._draw(0, start)]
        return EpisodeRows(
            np.concatenate([b.classes for b in blocks]),
            np.concatenate([b.support for b in blocks]),
            np.concatenate([b.query for b in blocks]),
        )

    def _draw(self, n: int, start: int) -> EpisodeRows:
        classes, table, counts = self._rows_of_class
        # Philox counts: task t owns one stretch of the stream, so any slice can be drawn by itself.
        words = len(classes) + self.n_way * table.shape[1]
        stride = -(-words // 4)  # Philox-4x64 gives four words a counter step
        bits = randomness.make_philox(self.seed, self.stream)
        bits.advance(start * stride)
        keys = bits.random_raw(n * stride * 4).reshape(n, stride * 4)[:, :words]
        picked = find_smallest(keys[:, : len(classes)], self.n_way)
        image_keys = keys[:, len(classes) :].reshape(n, self.n_way, table.shape[1])
        if counts.min() < table.shape[1]:
            missing = np.arange(table.shape[1]) >= counts[picked][..., None]
            image_keys = np.where(missing, np.uint64(2**64 - 1), image_keys)
        chosen = find_smallest(image_keys, self.n_shot + self.n_query)
        rows = np.take_along_axis(table[picked], chosen, axis=-1)
        return EpisodeRows(classes[picked], rows[..., : self.n_shot], rows[..., self.n_shot :])

    def __iter__(self) -> Iterator[list[int]]:
        epoch: int = getattr(self, "_epoch", 0)
        self.set_epoch(epoch + 1)
        return self._tasks(epoch * self.n_tasks)

    def _tasks(self, first: int) -> Iterator[list[int]]:
        for start in range(first, first + self.n_tasks, BLOCK):
            block = self.draw(min(BLOCK, first + self.n_tasks - start), start)
            for support, query in zip(block.support, block.query, strict=True):
                yield np.concatenate([support, query], axis=1).ravel().tolist()


def name_stream(split: str) -> str:
    """The random stream of the manifests of a split."""
    return f"manifest-{split}"


@dataclass(frozen=True)
class EpisodeManifest:
    """A replayable list of test episodes: the recipe, and the hash of the rows that it gives.

    Two runs with equal `hash` saw the very same images in the very same tasks, so their accuracies are paired.
    """

    image_set_hash: str
    split: str
    n_way: int
    n_shot: int
    n_query: int
    n_tasks: int
    seed: int
    rows: EpisodeRows = field(repr=False, compare=False)

    @classmethod
    def make(
        cls, image_set: "ImageSet", split: str, n_way: int, n_shot: int, n_query: int, n_tasks: int, seed: int
    ) -> "EpisodeManifest":
        sampler = EpisodeSampler(
            image_set.labels,
            n_way,
            n_shot,
            n_query,
            n_tasks,
            seed,
            rows=image_set.rows(split),
            stream=name_stream(split),
            class_names=image_set.class_names,
            split=split,
        )
        return cls(image_set.sha256, split, n_way, n_shot, n_query, n_tasks, seed, sampler.draw())

    @classmethod
    def draw_again(cls, image_set: "ImageSet", recipe: Mapping[str, Any]) -> "EpisodeManifest":
        """The manifest of a recipe as a record stores it; compare its `hash` with the stored one."""
        sizes = (recipe[name] for name in ("n_way", "n_shot", "n_query", "n_tasks", "seed"))
        return cls.make(image_set, recipe["split"], *sizes)

    @cached_property
    def hash(self) -> str:
        """sha256 over the image set's hash and all rows: equal recipes on equal data give equal hashes."""
        digest = hashlib.sha256(f"{self.image_set_hash}/{self.split}".encode())
        for array in self.rows.arrays():
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array, dtype="<i8").tobytes())
        return digest.hexdigest()

    def recipe(self) -> dict[str, Any]:
        """What a result record stores: the recipe and the hash, not the rows."""
        return {k: v for k, v in asdict(self).items() if k != "rows"} | {"hash": self.hash}

    def files(self, image_set: "ImageSet", task: int) -> dict[str, dict[str, list[str]]]:
        """The file names of one task, by class: {"class": {"support": [...], "query": [...]}}."""
        one = self.rows[task : task + 1]
        return {
            image_set.class_names[c]: {
                "support": [image_set.files[r] for r in one.support[0, k]],
                "query": [image_set.files[r] for r in one.query[0, k]],
            }
            for k, c in enumerate(one.classes[0])
        }
