"""Accuracy on stored episodes: clean, under noise, under attack. Every distinct test image is encoded once.

The functions ask one question each. `Evaluator` asks several about one net, and keeps what they share.

All results are correct counts per episode, as integers, so that means, intervals and paired differences can be
recomputed from a record.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from anrot_lib.attacks.ascent import frozen
from anrot_lib.attacks.episode import attack_episodes, attack_queries, encode, fit_support
from anrot_lib.attacks.suite import count_by_suite
from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.attacks.transfer import make_transfer_change as make_transfer_change
from anrot_lib.core import randomness
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.core.trees import concatenate
from anrot_lib.data.episodes import EpisodeRows
from anrot_lib.data.image_set import ImageSet
from anrot_lib.data.leakage.seen import check_unseen
from anrot_lib.data.noise import make_noise_change as make_noise_change
from anrot_lib.fewshot import passes
from anrot_lib.fewshot.calibration import measure_calibration
from anrot_lib.fewshot.classifier import FewShotNet, fold_net
from anrot_lib.fewshot.collapse import refuse_collapsed
from anrot_lib.fewshot.descriptions import Descriptions
from anrot_lib.fewshot.passes import count_images_per_pass, cut_blocks

Change = Callable[[Tensor, np.ndarray], Tensor]  # (images (B, C, H, W), their row numbers) -> changed images
Progress = Callable[[int], None]  # called with the number of images of each pass
Keep = Callable[[Tensor], None] | None  # called with the adversarial queries (E, n, C, H, W)
Marks = list[np.ndarray] | None  # gets which queries are right, bool (E, n), block by block
Device = torch.device | str


@torch.no_grad()
def describe(
    net: FewShotNet,
    image_set: ImageSet,
    rows: np.ndarray,
    device: Device = "cpu",
    change: Change | None = None,
    progress: Progress | None = None,
) -> Descriptions:
    """Encode the distinct images of `rows`, changed by `change` if given. UserError for a net in train mode."""
    check_eval(net)
    distinct = np.unique(rows)
    parts = []
    size = image_set.batch(distinct[:1]).shape[-1]
    for block in cut_blocks(len(distinct), count_images_per_pass(size, device)):
        images = image_set.batch(distinct[block], device)
        if change is not None:
            images = change(images, distinct[block])
        parts.append(net.head.describe(net.encode(images)))
        if progress is not None:
            progress(len(images))
    return Descriptions(distinct, concatenate(parts))


def check_eval(net: FewShotNet) -> None:
    """UserError for a net in train mode, whose batch norms would let the images of a batch influence one another."""
    if net.training or net.backbone.training or net.head.training:
        raise UserError("the net is in train mode, where the accuracy of a query hangs on its batch; call net.eval()")


def count_right(logits: Tensor, labels: Tensor, marks: Marks = None) -> np.ndarray:
    """How many queries of each episode have their largest logit at their label: (E, n, way), (E, n) -> (E,).

    NotFinite if a logit is NaN or infinite: the largest of NaNs is class 0, and the count would look like chance.
    """
    if not torch.isfinite(logits).all():
        raise NotFinite("the net's logits are not finite, so it names no class; train it again, at a smaller rate")
    return count_marked(logits.argmax(-1) == labels, marks)


def count_marked(right: Tensor, marks: Marks) -> np.ndarray:
    """How many queries of each episode (E,) are right, from which are, bool (E, n); `marks` keeps that."""
    if marks is not None:
        marks.append(right.cpu().numpy())
    return right.sum(1).cpu().numpy()


def make_support_labels(way: int, shot: int, episodes: int) -> Tensor:
    return torch.arange(way).repeat_interleave(shot).expand(episodes, way * shot)


@torch.no_grad()
def score_episodes(
    net: FewShotNet, rows: EpisodeRows, support: Descriptions, query: Descriptions
) -> Iterator[tuple[Tensor, Tensor]]:
    """(logits (E, n, way), labels (n,)) of blocks of tasks, from descriptions of their support and query images."""
    (_, way, shot), n_query = rows.support.shape, rows.query.shape[2]
    n, device = way * n_query, next(net.parameters()).device
    together = n if net.head.batch_dependent else passes.count_queries_per_pass(way)
    for block in cut_blocks(len(rows), passes.count_episodes_per_pass(n, way)):
        e = len(rows.classes[block])
        known = support.select(rows.support[block].reshape(e, -1)), make_support_labels(way, shot, e).to(device)
        model = net.head.fit_described(*known)
        asked = (query.select(rows.query[block].reshape(e, -1)[:, some]) for some in cut_blocks(n, together))
        logits = torch.cat([net.head.score_described(model, some).logits for some in asked], 1)
        yield logits, torch.arange(way, device=device).repeat_interleave(n_query)


def count_correct(
    net: FewShotNet, rows: EpisodeRows, support: Descriptions, query: Descriptions, marks: Marks = None
) -> np.ndarray:
    """Correct queries of each task (E,) from descriptions of its support and query images."""
    counts = [count_right(logits, labels, marks) for logits, labels in score_episodes(net, rows, support, query)]
    return np.concatenate(counts).astype(np.int64) if counts else np.zeros(0, np.int64)


def count_clean(
    net: FewShotNet, image_set: ImageSet, rows: EpisodeRows, device: Device = "cpu", progress: Progress | None = None
) -> np.ndarray:
    """Correct counts without any change of the images."""
    clean = describe(net, image_set, np.concatenate([rows.support.ravel(), rows.query.ravel()]), device, None, progress)
    return count_correct(net, rows, clean, clean)


def count_changed(
    net: FewShotNet,
    image_set: ImageSet,
    rows: EpisodeRows,
    change: Change,
    target: str = "query",
    device: Device = "cpu",
    progress: Progress | None = None,
    clean: Descriptions | None = None,
) -> np.ndarray:
    """Correct counts with the query, support or both images changed one by one, independently of their episode.

    `clean` are descriptions of the unchanged images, if they are at hand already.
    """

    def described(used: np.ndarray, changed: bool) -> Descriptions:
        if clean is not None and not changed:
            return clean
        return describe(net, image_set, used, device, change if changed else None, progress)

    support = described(rows.support.ravel(), target in ("support", "both"))
    query = described(rows.query.ravel(), target in ("query", "both"))
    return count_correct(net, rows, support, query)


def count_attacked(
    net: FewShotNet,
    image_set: ImageSet,
    rows: EpisodeRows,
    threat: ThreatModel,
    seed: int,
    device: Device = "cpu",
    first_task: int = 0,
    keep: Keep = None,
    marks: Marks = None,
) -> np.ndarray:
    """Correct counts (E,) under a white-box attack, all tasks at once; beaten queries leave the batch.

    A query counts as correct only if no candidate beat it, the clean image among them.

    `first_task` numbers the tasks for the attack's random stream: the counts of tasks 20..39 come out the same
    whether they are asked for alone or the caller goes through all tasks in blocks of 20. `keep` gets the queries.
    """
    check_eval(net)
    episode = rows.to_episode(image_set, device)
    max_images = count_images_per_pass(episode.query.shape[-1], device)
    generator = randomness.make_generator(seed, f"attack/{threat.name}/{first_task}")
    if threat.target == "query":
        with frozen(net), torch.no_grad():
            model = fit_support(net, episode, max_images)
        stop = None if net.head.batch_dependent else "beaten"
        ascent = attack_queries(
            net, model, episode.query, episode.labels, threat, generator, stop=stop, keep="best", max_images=max_images
        )
        if keep is not None:
            keep(ascent.images)
        if ascent.beaten is not None:
            return count_marked(~ascent.beaten, marks)
        with torch.no_grad():
            logits = net.head.score(model, encode(net, ascent.images, max_images)).logits
    else:
        attacked = attack_episodes(net, episode, threat, generator, max_images=max_images)
        with torch.no_grad():
            model = fit_support(net, attacked, max_images)
            logits = net.head.score(model, encode(net, attacked.query, max_images)).logits
    return count_right(logits, episode.labels, marks)


class Evaluator:
    """Asks several questions about one net on episodes of a split, and keeps what the answers share.

    The net is tested with its batch norms folded. All images of the split are described once, for the first question
    that shows one of them unchanged; the surrogate of the transfer attack is built for the first that needs it.
    UserError for a net that has seen test classes or test images, unless `allow_seen`; `seen` says which. A split of
    another name is for a choice, such as that of a recipe on "val": what the net has seen of it is not asked.
    """

    def __init__(
        self,
        net: FewShotNet,
        image_set: ImageSet,
        device: Device = "cpu",
        build_surrogate: Callable[[], torch.nn.Module] | None = None,
        allow_seen: bool = False,
        split: str = "test",
    ):
        self.seen = check_unseen(net.origin, image_set, allow_seen=allow_seen) if split == "test" else None
        self.split = split
        self.net, self.image_set, self.device = fold_net(net), image_set, torch.device(device)
        self._build_surrogate = build_surrogate
        self._surrogate: torch.nn.Module | None = None
        self._clean: Descriptions | None = None
        refuse_collapsed(self.net, image_set, split, self.device)

    def describe_images(self, progress: Progress | None = None) -> Descriptions:
        """Descriptions of all unchanged images of the split."""
        if self._clean is None:
            rows = self.image_set.rows(self.split)
            self._clean = describe(self.net, self.image_set, rows, self.device, progress=progress)
        return self._clean

    def get_surrogate(self) -> torch.nn.Module:
        """The net whose gradient the transfer attack follows; UserError if none was given."""
        if self._surrogate is None:
            if self._build_surrogate is None:
                raise UserError("a transfer attack needs a surrogate; give the Evaluator one by build_surrogate")
            self._surrogate = self._build_surrogate().to(self.device)
        return self._surrogate

    def count_clean(self, rows: EpisodeRows, progress: Progress | None = None, marks: Marks = None) -> np.ndarray:
        """Correct queries of each task (E,), on unchanged images."""
        clean = self.describe_images(progress)
        return count_correct(self.net, rows, clean, clean, marks)

    def measure_calibration(self, rows: EpisodeRows, progress: Progress | None = None) -> float:
        """Expected calibration error of the queries of all tasks, on unchanged images."""
        clean = self.describe_images(progress)
        return measure_calibration(score_episodes(self.net, rows, clean, clean))

    def count_changed(
        self, rows: EpisodeRows, change: Change, target: str = "query", progress: Progress | None = None
    ) -> np.ndarray:
        """Correct queries of each task (E,), with the query, support or both images changed one by one."""
        clean = self.describe_images(progress)
        return count_changed(self.net, self.image_set, rows, change, target, self.device, progress, clean)

    def count_transferred(
        self, rows: EpisodeRows, threat: ThreatModel, seed: int, progress: Progress | None = None
    ) -> np.ndarray:
        """Correct queries of each task (E,), with the queries changed by the surrogate's attack."""
        return self.count_changed(rows, make_transfer_change(self.get_surrogate(), threat, seed), progress=progress)

    def count_attacked(
        self,
        rows: EpisodeRows,
        threat: ThreatModel,
        seed: int,
        first_task: int = 0,
        keep: Keep = None,
        marks: Marks = None,
    ) -> np.ndarray:
        """Correct queries of each task (E,) under a white-box attack; see the function `count_attacked`."""
        return count_attacked(self.net, self.image_set, rows, threat, seed, self.device, first_task, keep, marks)

    def count_worst(
        self,
        rows: EpisodeRows,
        suite: str,
        threat: ThreatModel,
        seed: int,
        first_task: int = 0,
        keep: Keep = None,
        beaten: dict[str, int] | None = None,
    ) -> np.ndarray:
        """Correct queries of each task (E,) under the worst attack of a suite; see `attacks.suite.count_by_suite`."""
        episode = rows.to_episode(self.image_set, self.device)
        of = (f"{word}{threat.name}/{first_task}" for word in (f"{suite}/", ""))
        strong, table = (randomness.make_generator(seed, f"attack/{name}") for name in of)
        limit = count_images_per_pass(episode.query.shape[-1], self.device)
        return count_by_suite(self.net, episode, suite, threat, strong, limit, keep, beaten, table).cpu().numpy()
