"""Exercises of 00: how a check reacts, the size of an episode, the nearest class mean, wrong names."""

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def chance(way):
    return 1 / way


def _ways():
    return [(5,), (2,), (20,)]


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


def _sorted_by_class(support, labels, query):
    way = int(labels.max()) + 1
    return torch.cdist(query, support.unflatten(0, (way, -1)).mean(1)).argmin(1)


EXERCISES = {
    "0.1": Fill(
        chance,
        _ways,
        {
            "One class is missing: a guess may name the right one, too.": lambda way: 1 / (way - 1),
            "This is in per cent; a share in [0, 1] is asked for.": lambda way: 100 / way,
        },
        (
            "How many answers can a guess give, and how many of them are right?",
            "One of `way` answers is right, and a guess gives each equally often.",
            "With 5 ways it is 1/5 = 0.2. Do not forget the `return`.",
        ),
    ),
    "0.2": Predict(
        100,
        tell="5 classes with 5 shots and 15 queries each: 5 x (5 + 15) = 100, of which 25 come with a label.",
        hint="Count the images of one class first, shots and queries, then take five classes.",
        wrong=(25, 75),
    ),
    "0.3": Fill(
        nearest_mean,
        _features,
        {
            "This is the class of the nearest single shot; average the shots of a class first.": _nearest_shot,
            "This is the farthest mean: a distance is to be small, so take the `argmin`.": _farthest_mean,
            "The shots do not stand class by class; use `labels` to find those of a class.": _sorted_by_class,
        },
        (
            "Two steps: one mean for each class, then the distances from each query to all means.",
            "`support[labels == k].mean(0)` is the mean of class k. `torch.stack` makes one tensor (way, channels) of "
            "the list of all.",
            "`torch.cdist(query, means)` has the shape (queries, way). The class is the place of the smallest distance "
            "in a row: `argmin(1)`.",
        ),
    ),
    "0.4": Predict(
        "c",
        tell="The names are all that the support set tells. The net finds the right pictures and repeats their names.",
        hint="Move the labels by one with roll and compare the predictions with the labels and with the moved ones.",
        wrong=("a", "b"),
    ),
}
