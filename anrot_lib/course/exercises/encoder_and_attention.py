"""Exercises of 05: sizes of maps, the gates' parameters, batch norm as a line, normalisation, what a place sees."""

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


def receptive_field(kernels, strides):
    field, jump = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field += (kernel - 1) * jump
        jump *= stride
    return field


def _stacks():
    return [([3], [1]), ([3, 3], [1, 1]), ([3, 3, 3], [2, 2, 2]), ([7, 1, 3], [2, 2, 1]), ([3, 5, 3, 2], [1, 2, 3, 2])]


def _strides_forgotten(kernels, strides):
    return 1 + sum(kernel - 1 for kernel in kernels)


def _own_stride_first(kernels, strides):
    field, jump = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        jump *= stride
        field += (kernel - 1) * jump
    return field


def _kernels_multiplied(kernels, strides):
    field = 1
    for kernel in kernels:
        field *= kernel
    return field


EXERCISES = {
    "5.1": Fill(
        side_after,
        _sides,
        {
            "A half is rounded down; with a border of one zero it is rounded up.": _rounded_down,
            "The border of one zero on each side is missing from the formula.": _without_padding,
        },
        (
            "Put k = 3 and p = 1 into the formula of the first section.",
            "n + 2 - 3 is n - 1, so one layer makes (n - 1) // stride + 1 of n.",
            "Apply this once for each stride in the list, each time to the side that the layer before has left.",
        ),
    ),
    "5.2": Predict(
        610,
        tell="2 x 64 x 4 = 512 for the two matrices of the channel gate, and 2 x 7 x 7 = 98 for the spatial one.",
        hint="Two matrices between 64 and 64 / 16 numbers, and a 7 x 7 convolution from two maps to one. No biases.",
        wrong=(512, 8290),
    ),
    "5.3": Fill(
        as_straight_line,
        _batch_norms,
        {
            "Divide by the root of the variance, not by the variance.": _divided_by_the_variance,
            "The mean is scaled, too: b is the shift minus the slope times the mean.": _mean_not_scaled,
        },
        (
            "Write y = scale (x - mean) / root(variance + tiny) + shift and collect what stands before x.",
            "The slope a is scale / root(variance + tiny).",
            "What is left is b = shift - a x mean. `torch.stack([a, b])` has the shape (2, channels).",
        ),
    ),
    "5.4": Predict(
        0.125,
        tell="Every change is divided by 0.25 inside, so it is four times as large there.",
        hint="The encoder computes (x - 0.5) / 0.25. What does it make of x + d, and how does that differ from x?",
        wrong=(8 / 255, 2 / 255),
        tolerance=2e-3,
    ),
    "5.5": Fill(
        receptive_field,
        _stacks,
        {
            "After a stride neighbours lie farther apart in the image: a window then spans more pixels.": (
                _strides_forgotten
            ),
            "The stride of a layer spreads the windows of the layers behind it, not its own.": _own_stride_first,
            "Windows add up, they do not multiply: two windows of 3 see 5 pixels.": _kernels_multiplied,
        },
        (
            "Without strides each layer adds its window less one.",
            "Keep a second number: how many pixels of the image two neighbours of the map lie apart. It begins at 1.",
            "A layer adds (kernel - 1) times this distance; after it the distance is multiplied by the stride.",
        ),
        remark="The 3 x 3 convolutions of `resnet12_anrot` see 65 pixels, by `receptive_field([3] * 11, "
        "[1, 1, 1, 2, 1, 2, 1, 1, 1, 2, 1])`; its channel gates see the whole image.",
    ),
}
