"""Exercises of 09: how many episodes, intervals that overlap, queries that nothing beat, paired intervals."""

import numpy as np
import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def episodes_needed(deviation, half_width):
    return int(np.ceil((1.96 * deviation / half_width) ** 2))


def _precisions():
    return [(10.0, 2.0), (10.0, 0.3), (7.5, 0.5), (12.0, 1.0)]


def _rounded_down(deviation, half_width):
    return int((1.96 * deviation / half_width) ** 2)


def _not_squared(deviation, half_width):
    return int(np.ceil(1.96 * deviation / half_width))


def robust_accuracy(logits, labels):
    right = logits.argmax(-1) == labels
    return right.all(0).double().mean()


def _candidates():
    g = torch.Generator().manual_seed(0)
    cases = []
    for candidates, queries, way in ((1, 6, 3), (4, 20, 5), (3, 12, 2)):
        labels = torch.randint(way, (queries,), generator=g)
        lift = 2.0 * torch.nn.functional.one_hot(labels, way)
        cases.append((torch.randn(candidates, queries, way, generator=g) + lift, labels))
    return cases


def _average_over_candidates(logits, labels):
    return (logits.argmax(-1) == labels).double().mean()


def _last_candidate_alone(logits, labels):
    return (logits[-1].argmax(-1) == labels).double().mean()


def paired_half_width(first, second):
    difference = second - first
    return 1.96 * difference.std() / len(difference) ** 0.5


def _two_nets():
    g = torch.Generator().manual_seed(0)
    cases = []
    for n, spread in ((4, 0.1), (20, 0.1), (50, 0.02)):
        hard = 0.7 + 0.1 * torch.randn(n, generator=g)  # what both share
        cases.append((hard, hard + 0.03 + spread * torch.randn(n, generator=g)))
    return cases


def _not_paired(first, second):
    return 1.96 * ((first.var() + second.var()) / len(first)) ** 0.5


def _deviation_of_one_episode(first, second):
    return 1.96 * (second - first).std()


EXERCISES = {
    "9.1": Fill(episodes_needed, _precisions, (_rounded_down, _not_squared)),
    "9.2": Predict(
        "c",
        tell="Both saw the same episodes, so only the interval of their difference, episode by episode, can decide.",
        hint="Think of the figure with the three intervals: which of them was the narrowest, and what was it made of?",
        wrong=("a", "b"),
    ),
    "9.3": Fill(robust_accuracy, _candidates, (_average_over_candidates, _last_candidate_alone)),
    "9.4": Fill(paired_half_width, _two_nets, (_not_paired, _deviation_of_one_episode)),
}
