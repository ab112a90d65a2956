"""Exercises of 05: sizes of maps, parameters of the gates, batch norm as a straight line, eps and normalisation."""

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def side_after(side, strides):
    for stride in strides:
        side = (side - 1) // stride + 1
    return side


def _sides():
    return [(84, [1, 1, 2, 2, 1, 2]), (32, [1, 2, 2, 2]), (7, [3]), (1, [2, 2])]


def _rounded_down(side, strides):
    for stride in strides:
        side = side // stride
    return side


def _without_padding(side, strides):
    for stride in strides:
        side = (side - 3) // stride + 1
    return side


def as_straight_line(mean, variance, scale, shift, tiny):
    slope = scale / (variance + tiny).sqrt()
    return torch.stack([slope, shift - slope * mean])


def _batch_norms():
    g = torch.Generator().manual_seed(0)
    cases = []
    for channels, tiny in ((1, 1e-5), (3, 1e-5), (4, 0.1)):
        mean, scale, shift = torch.randn(3, channels, generator=g)
        cases.append((mean, torch.rand(channels, generator=g) + 0.2, scale, shift, tiny))
    return cases


def _divided_by_the_variance(mean, variance, scale, shift, tiny):
    slope = scale / (variance + tiny)
    return torch.stack([slope, shift - slope * mean])


def _mean_not_scaled(mean, variance, scale, shift, tiny):
    return torch.stack([scale / (variance + tiny).sqrt(), shift - mean])


EXERCISES = {
    "5.1": Fill(side_after, _sides, (_rounded_down, _without_padding)),
    "5.2": Predict(
        610,
        tell="2 x 64 x 4 = 512 for the two matrices of the channel gate, and 2 x 7 x 7 = 98 for the spatial one.",
        hint="Two matrices between 64 and 64 / 16 numbers, and a 7 x 7 convolution from two maps to one. No biases.",
        wrong=(512, 8290),
    ),
    "5.3": Fill(as_straight_line, _batch_norms, (_divided_by_the_variance, _mean_not_scaled)),
    "5.4": Predict(
        0.125,
        tell="Every change is divided by 0.25 inside, so it is four times as large there.",
        hint="The encoder computes (x - 0.5) / 0.25. What does it make of x + d, and how does that differ from x?",
        wrong=(8 / 255, 2 / 255),
        tolerance=2e-3,
    ),
}
