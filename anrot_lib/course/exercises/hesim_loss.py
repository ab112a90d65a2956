"""Exercises of 07: the loss of a batch, equal similarities, how hard a negative pushes, a constant loss."""

import math

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def hesim(similarity, labels, temperature):
    logits = similarity / temperature
    same = labels[:, None] == labels[None]
    itself = torch.eye(len(labels), dtype=torch.bool)
    against = logits.masked_fill(same, -torch.inf).logsumexp(1, keepdim=True)
    losses = torch.logaddexp(logits, against) - logits
    return losses[same & ~itself].mean()


def _similarities():
    g = torch.Generator().manual_seed(0)
    cases = []
    for labels, temperature in (([0, 0, 1, 1], 1.0), ([1, 0, 1, 2, 0, 1, 2], 0.1), ([0, 0, 0, 0, 1, 1, 2], 0.01)):
        rows = torch.nn.functional.normalize(torch.rand(len(labels), 3, generator=g), dim=1)
        cases.append((rows @ rows.T, torch.tensor(labels), temperature))
    return cases


def _masks(similarity, labels):
    same = labels[:, None] == labels[None]
    return same, same & ~torch.eye(len(labels), dtype=torch.bool)


def _exponentials_first(similarity, labels, temperature):
    same, positive = _masks(similarity, labels)
    up = (similarity / temperature).exp()
    against = up.masked_fill(same, 0).sum(1, keepdim=True)
    return -(up / (up + against)).log()[positive].mean()


def _masked_as_published(similarity, labels, temperature):
    same, positive = _masks(similarity, labels)
    lowest = torch.finfo(similarity.dtype).min
    root = (similarity / temperature).masked_fill(same, lowest).abs().sqrt()
    ratio = (similarity / temperature).exp() / root.exp().sum(1, keepdim=True)
    return -(ratio + torch.finfo(similarity.dtype).tiny).log()[positive].mean()


def _positives_below(similarity, labels, temperature):
    _, positive = _masks(similarity, labels)
    logits = similarity / temperature
    against = logits.masked_fill(torch.eye(len(labels), dtype=torch.bool), -torch.inf).logsumexp(1, keepdim=True)
    return (against - logits)[positive].mean()


def _itself_as_a_positive(similarity, labels, temperature):
    same, _ = _masks(similarity, labels)
    logits = similarity / temperature
    against = logits.masked_fill(same, -torch.inf).logsumexp(1, keepdim=True)
    return (torch.logaddexp(logits, against) - logits)[same].mean()


def _mean_over_anchors(similarity, labels, temperature):
    same, positive = _masks(similarity, labels)
    logits = similarity / temperature
    against = logits.masked_fill(same, -torch.inf).logsumexp(1, keepdim=True)
    losses = (torch.logaddexp(logits, against) - logits) * positive
    partners = positive.sum(1)
    return (losses.sum(1)[partners > 0] / partners[partners > 0]).mean()


def pushes(positive, negatives, temperature):
    together = torch.cat([positive[None], negatives]) / temperature
    return together.softmax(0)[1:] / temperature


def _pairs():
    g = torch.Generator().manual_seed(0)
    easy = (torch.tensor(0.9), torch.rand(4, generator=g), 0.1)
    hard = (torch.tensor(0.2), torch.rand(20, generator=g), 1.0)
    cold = (torch.tensor(0.95), torch.tensor([0.94, 0.5, 0.1]), 0.005)
    return [easy, hard, cold]


def _pushes_without_temperature(positive, negatives, temperature):
    return pushes(positive, negatives, temperature) * temperature


def _pushes_among_negatives(positive, negatives, temperature):
    return (negatives / temperature).softmax(0) / temperature


EXERCISES = {
    "7.1": Fill(
        hesim,
        _similarities,
        {
            "An exponential overflows at a small temperature: let `logsumexp` and `logaddexp` keep it together with "
            "its "
            "logarithm.": _exponentials_first,
            "What was to be ignored has become infinitely similar, as in the published code: mask with -inf before the "
            "exponential.": _masked_as_published,
            "The other positives of an anchor stand in the sum below; only its negatives and the one positive of the "
            "pair belong there.": _positives_below,
            "An image counts as a positive of itself: leave out the diagonal.": _itself_as_a_positive,
            "The mean is one over all positive pairs, not over anchors first.": _mean_over_anchors,
        },
        (
            "Three matrices (B, B): the logits, which pairs are of one class, and which of these are an image with "
            "itself.",
            "The negatives of an anchor are one number: `logits.masked_fill(same, -torch.inf).logsumexp(1, "
            "keepdim=True)`.",
            "The loss of every pair at once is `torch.logaddexp(logits, against) - logits`. Pick the positive pairs, "
            "`same & ~itself`, and take the mean.",
        ),
        tolerance=1e-4,
    ),
    "7.2": Predict(
        2.3026,
        tell="Nine negatives and one positive share the sum equally, so the loss is ln 10.",
        hint="Each anchor has 2 positives and 9 negatives, and a pair's sum holds one positive and all negatives.",
        wrong=(round(math.log(9), 4), round(math.log(12), 4)),
        tolerance=0.01,
    ),
    "7.3": Fill(
        pushes,
        _pairs,
        {
            "The factor 1/T in front is missing.": _pushes_without_temperature,
            "The positive belongs into the sum below the fraction, too.": _pushes_among_negatives,
        },
        (
            "The weights w are a softmax. Over which similarities does its sum run?",
            "Over the positive and all negatives, each divided by the temperature; the first of the results is left "
            "out.",
            "`torch.cat([positive[None], negatives]) / temperature`, a softmax over it, all but the first place, "
            "divided "
            "by the temperature once more.",
        ),
    ),
    "7.4": Predict(
        "a",
        tell="A constant has gradient 0, and 500 times 0 is 0.",
        hint="The weights move by gradients. What is the gradient of a constant, whatever its factor?",
        wrong=("b", "c"),
    ),
}
