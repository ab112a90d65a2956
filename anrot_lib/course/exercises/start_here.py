"""Exercises of 00: how a check reacts, the size of an episode, the nearest class mean, wrong names."""

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def chance(way):
    return 1 / way


def _ways():
    return [(5,), (2,), (20,)]


def _one_class_less(way):
    return 1 / (way - 1)


def _percentage(way):
    return 100 / way


def nearest_mean(support, labels, query):
    way = int(labels.max()) + 1
    means = torch.stack([support[labels == k].mean(0) for k in range(way)])
    return torch.cdist(query, means).argmin(1)


def _features():
    g = torch.Generator().manual_seed(0)
    cases = []
    for way, shot, dims in ((2, 1, 2), (3, 4, 5), (5, 5, 8)):
        labels = torch.arange(way).repeat(shot)  # not sorted by class
        centres = 2 * torch.randn(way, dims, generator=g)
        support = centres[labels] + torch.randn(len(labels), dims, generator=g)
        cases.append((support, labels, centres.repeat(2, 1) + torch.randn(2 * way, dims, generator=g)))
    return cases


def _nearest_shot(support, labels, query):
    return labels[torch.cdist(query, support).argmin(1)]


def _farthest_mean(support, labels, query):
    way = int(labels.max()) + 1
    means = torch.stack([support[labels == k].mean(0) for k in range(way)])
    return torch.cdist(query, means).argmax(1)


EXERCISES = {
    "0.1": Fill(chance, _ways, (_one_class_less, _percentage)),
    "0.2": Predict(
        100,
        tell="5 classes with 5 shots and 15 queries each: 5 x (5 + 15) = 100, of which 25 come with a label.",
        hint="Count the images of one class first, shots and queries, then take five classes.",
        wrong=(25, 75),
    ),
    "0.3": Fill(nearest_mean, _features, (_nearest_shot, _farthest_mean)),
    "0.4": Predict(
        "c",
        tell="The names are all that the support set tells. The net finds the right pictures and repeats their names.",
        hint="Move the labels by one with roll and compare the predictions with the labels and with the moved ones.",
        wrong=("a", "b"),
    ),
}
