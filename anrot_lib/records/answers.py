"""Which queries a net answered rightly, in few characters, and the episodes they stand in, drawn again without images.

An open interval asks what other classes and images would have given. That takes more than a count an episode: the
answers, and which image of which class each one is of. The images follow from the manifest once it is known how many
images each class has.
"""

import base64
from collections.abc import Sequence

import numpy as np

from anrot_lib.core.statistics import OpenInterval, measure_image_variance, measure_open_interval
from anrot_lib.data.episodes import EpisodeRows, EpisodeSampler, name_stream
from anrot_lib.records.parts import ColumnAbout, ColumnRecord, ManifestRecord

MOST_EPISODES = 2000  # of a column whose answers are kept: a record grows by a byte for every 6 queries


def pack_answers(right: np.ndarray) -> str:
    """bool (E, n) as base64 of bits, those of each episode padded to whole bytes."""
    return base64.b64encode(np.packbits(right, axis=1).tobytes()).decode()


def unpack_answers(text: str, episodes: int, queries: int) -> np.ndarray:
    """bool (E, n). ValueError for a text of another length."""
    packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    return np.unpackbits(packed.reshape(episodes, -(-queries // 8)), axis=1, count=queries).astype(bool)


def draw_layout(layout: Sequence[int], manifest: ManifestRecord) -> EpisodeRows:
    """The episodes of a manifest, from the number of images of each class: classes and images are numbered from 0."""
    labels = np.repeat(np.arange(len(layout)), layout)
    sizes = (manifest["n_way"], manifest["n_shot"], manifest["n_query"], manifest["n_tasks"])
    way, shot, query, tasks = sizes
    stream = name_stream(manifest["split"])
    return EpisodeSampler(labels, way, shot, query, tasks, manifest["seed"], stream=stream).draw()


def measure_open(column: ColumnRecord, manifest: ManifestRecord) -> OpenInterval | None:
    """The interval of a column over other classes and other query images; None if the record does not hold the answers.

    None, too, where there are too few episodes to tell the classes apart.
    """
    if "answers" not in column or "layout" not in manifest:
        return None
    episodes = len(column["correct"])
    rows = draw_layout(manifest["layout"], manifest)[:episodes].with_queries(column["queries"] // manifest["n_way"])
    return measure_marked(unpack_answers(column["answers"], episodes, column["queries"]), rows)


def measure_marked(right: np.ndarray, rows: EpisodeRows) -> OpenInterval | None:
    """The same from which queries are right, bool (E, n), and the episodes, with as many queries."""
    of_class = np.repeat(rows.classes, rows.query.shape[2], axis=1)
    try:
        variance = measure_image_variance(right, rows.query.reshape(right.shape), of_class)
        return measure_open_interval(right.mean(1), rows.classes, variance)
    except ValueError:
        return None


def join_answers(parts: Sequence[tuple[str | None, int]], rows: EpisodeRows) -> ColumnAbout:
    """What a column says of its answers, from packed parts and their numbers of episodes; nothing if one has none."""
    queries = rows.query[0].size
    if not all(text for text, _ in parts):
        return {}
    right = np.concatenate([unpack_answers(text, n, queries) for text, n in parts if text])
    about: ColumnAbout = {"answers": pack_answers(right)}
    if (interval := measure_marked(right, rows)) is not None:
        about["open_half_width"] = round(interval.half_width, 4)
    return about
