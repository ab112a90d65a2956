"""Exercises of 09: how many episodes, intervals that overlap, queries that nothing beat, where accuracy halves."""

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


def halving(x, accuracy):
    half = accuracy[0] / 2
    for k in range(1, len(x)):
        if accuracy[k] <= half:
            share = (accuracy[k - 1] - half) / (accuracy[k - 1] - accuracy[k])
            return x[k - 1] + share * (x[k] - x[k - 1])
    return None


def _curves():
    eps = [0.0, 1.0, 2.0, 4.0, 8.0]
    return [
        (eps, [80.0, 70.0, 50.0, 20.0, 0.0]),
        (eps, [60.0, 30.0, 20.0, 10.0, 5.0]),
        (eps, [90.0, 85.0, 80.0, 70.0, 60.0]),
    ]


def _next_point_of_the_grid(x, accuracy):
    return next((e for e, a in zip(x, accuracy, strict=True) if a <= accuracy[0] / 2), None)


def _falls_to_fifty(x, accuracy):
    return halving(x, [100.0, *accuracy[1:]])


EXERCISES = {
    "9.1": Fill(episodes_needed, _precisions, (_rounded_down, _not_squared)),
    "9.2": Predict(
        "c",
        tell="Both saw the same episodes, so only the interval of their difference, episode by episode, can decide.",
        hint="Think of the figure with the three intervals: which of them was the narrowest, and what was it made of?",
        wrong=("a", "b"),
    ),
    "9.3": Fill(robust_accuracy, _candidates, (_average_over_candidates, _last_candidate_alone)),
    "9.4": Fill(halving, _curves, (_next_point_of_the_grid, _falls_to_fifty)),
}
