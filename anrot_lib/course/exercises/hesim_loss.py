"""Exercises of 07: the loss of a pair, equal similarities, how hard a negative pushes, a constant loss."""

import math

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def loss_of_pair(positive, negatives, temperature):
    against = torch.logsumexp(negatives / temperature, 0)
    return torch.nn.functional.softplus(against - positive / temperature)


def _pairs():
    g = torch.Generator().manual_seed(0)
    easy = (torch.tensor(0.9), torch.rand(4, generator=g), 0.1)
    hard = (torch.tensor(0.2), torch.rand(20, generator=g), 1.0)
    cold = (torch.tensor(0.95), torch.tensor([0.94, 0.5, 0.1]), 0.005)
    return [easy, hard, cold]


def _exponentials_first(positive, negatives, temperature):
    up = (positive / temperature).exp()
    return -(up / (up + (negatives / temperature).exp().sum())).log()


def _positive_left_out_below(positive, negatives, temperature):
    return torch.logsumexp(negatives / temperature, 0) - positive / temperature


def pushes(positive, negatives, temperature):
    together = torch.cat([positive[None], negatives]) / temperature
    return together.softmax(0)[1:] / temperature


def _pushes_without_temperature(positive, negatives, temperature):
    return pushes(positive, negatives, temperature) * temperature


def _pushes_among_negatives(positive, negatives, temperature):
    return (negatives / temperature).softmax(0) / temperature


EXERCISES = {
    "7.1": Fill(loss_of_pair, _pairs, (_exponentials_first, _positive_left_out_below)),
    "7.2": Predict(
        2.3026,
        tell="Nine negatives and one positive share the sum equally, so the loss is ln 10.",
        hint="Each anchor has 2 positives and 9 negatives, and a pair's sum holds one positive and all negatives.",
        wrong=(round(math.log(9), 4), round(math.log(12), 4)),
        tolerance=0.01,
    ),
    "7.3": Fill(pushes, _pairs, (_pushes_without_temperature, _pushes_among_negatives)),
    "7.4": Predict(
        "a",
        tell="A constant has gradient 0, and 500 times 0 is 0.",
        hint="The weights move by gradients. What is the gradient of a constant, whatever its factor?",
        wrong=("b", "c"),
    ),
}
