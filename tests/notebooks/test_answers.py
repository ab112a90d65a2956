"""Right answers that are written in an unusual way pass: what is checked is what a function does, not how."""

import math
import statistics as stats

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch.nn import functional as F

from anrot_lib.course import exercises


def by_backward(model, images, labels, eps):
    """The gradient from `backward`, the mean of the losses, and numpy for the step."""
    points = images.clone().requires_grad_()
    F.cross_entropy(model(points), labels).backward()
    return torch.from_numpy(np.clip(images.numpy() + eps * np.sign(points.grad.numpy()), 0, 1))


def from_a_random_start(model, images, labels, eps, step, steps):
    """PGD from a random point of the ball, keeping the best candidate of each image."""
    points = images + eps * (2 * torch.rand(images.shape, generator=torch.Generator().manual_seed(3)) - 1)
    best, highest = images, F.cross_entropy(model(images), labels, reduction="none").detach()
    for start in (points.clamp(0, 1), images):
        x = start
        for _ in range(steps):
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(model(x), labels, reduction="sum"), x)
            x = torch.minimum(torch.maximum(x + step * slope.sign(), images - eps), images + eps).clamp(0, 1)
            loss = F.cross_entropy(model(x), labels, reduction="none").detach()
            better = loss > highest
            best, highest = torch.where(better[:, None, None, None], x, best), torch.maximum(loss, highest)
    return best


def in_double_precision(m, s2, n, t2):
    """The plain logarithm, with digits enough to spare."""
    m, s2, n, t2 = (v.double() for v in (m, s2, n, t2))
    return 0.5 * torch.log((s2 + t2) / (2 * (s2 * t2).sqrt())) + (m - n) ** 2 / (4 * (s2 + t2))


def by_one_logarithm(m, s2, n, t2):
    return 0.25 * torch.log1p((s2 - t2) ** 2 / (4 * s2 * t2)) + (m - n).square() / (s2 + t2) / 4


def by_the_hyperbolic_sine(d):
    """1 - exp(-d) = 2 exp(-d/2) sinh(d/2)."""
    return torch.where(d < 1, (2 * torch.exp(-d / 2) * torch.sinh(d / 2)).sqrt(), (1 - torch.exp(-d)).sqrt())


def by_loops(similarity, labels, temperature):
    losses = []
    for i in range(len(labels)):
        for p in range(len(labels)):
            if p != i and labels[p] == labels[i]:
                below = [similarity[i, n] for n in range(len(labels)) if labels[n] != labels[i]]
                logits = torch.stack([similarity[i, p], *below]) / temperature
                losses.append(F.cross_entropy(logits[None], torch.tensor([0])))
    return sum(losses) / len(losses)


def in_one_pass(model, optimizer, images, labels, attack, n, sigma, shares):
    """All versions together, a weight for each query, and a number instead of a tensor."""
    attacked = attack(model, images, labels)
    optimizer.zero_grad(set_to_none=True)
    logits = model(torch.cat([images, attacked, torch.clip(images + sigma * n, 0.0, 1.0)]))
    losses = F.cross_entropy(logits, labels.repeat(3), reduction="none")
    weights = torch.tensor(shares, dtype=torch.float).repeat_interleave(len(labels))
    loss = (weights * losses).sum() / weights.sum()
    loss.backward()
    optimizer.step()
    return loss.item()


def by_the_standard_library(accuracies):
    values = accuracies.tolist()
    half = scipy.stats.t.interval(0.95, len(values) - 1)[1] * stats.stdev(values) / math.sqrt(len(values))
    return [stats.fmean(values), half]


def by_the_matrix_root(x, y):
    s, t = np.cov(x.double().numpy().T), np.cov(y.double().numpy().T)
    root = scipy.linalg.sqrtm(s + 1e-14 * np.eye(len(s)))
    middle = np.linalg.eigvalsh(root.real @ t @ root.real)
    return float(((x - y.mean(0)).double().mean(0) ** 2).sum()) + np.trace(s + t) - 2 * np.sqrt(middle.clip(0)).sum()


def by_a_sort(query, pool, k):
    cosines = [[F.cosine_similarity(a, b, dim=0).item() for b in pool] for a in query]
    return sum(sum(sorted(line)[-k:]) for line in cosines) / (k * len(query))


def in_place(hardness, triplets, aim, eps, step, steps):
    """Changes its argument, one triplet after the other, and leaves the loop where one is there."""
    clean = triplets.clone()
    for k in range(len(triplets)):
        for _ in range(steps):
            x = triplets[k : k + 1].clone().requires_grad_()
            h = hardness(x)
            if h.item() >= aim[k]:
                break
            (slope,) = torch.autograd.grad(h.sum(), x)
            triplets[k : k + 1] = (x.detach() + step * slope.sign()).clamp(clean[k] - eps, clean[k] + eps).clamp(0, 1)
    return triplets


def with_numpy_indices(labels, digests, way, shot, query, generator):
    """Seeds numpy from the generator, and gives arrays."""
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    classes = rng.permutation(np.unique(labels))[:way]
    rows = np.full((way, shot + query), -1)
    for k, name in enumerate(classes):
        of_class = rng.permutation(np.flatnonzero(np.asarray(labels) == name))
        _, first = np.unique(np.asarray(digests)[of_class], return_index=True)
        rows[k] = rng.permutation(of_class[first])[: shot + query]
    return rows[:, :shot], rows[:, shot:]


def by_gather(images, most, generator):
    """Index arithmetic instead of padding."""
    n, _, h, w = images.shape
    moves = torch.randint(-most, most + 1, (n, 2), generator=generator)
    rows = (torch.arange(h)[None] + moves[:, :1]).clamp(0, h - 1)
    columns = (torch.arange(w)[None] + moves[:, 1:]).clamp(0, w - 1)
    return images[torch.arange(n)[:, None, None, None], torch.arange(images.shape[1])[:, None, None],
                  rows[:, None, :, None], columns[:, None, None, :]]  # fmt: skip


def by_a_dictionary(digests, splits):
    seen, pairs = {}, set()
    for j, digest in enumerate(digests):
        pairs |= {(i, j) for i in seen.get(digest, ()) if splits[i] != splits[j]}
        seen.setdefault(digest, []).append(j)
    return tuple(sorted(pairs))


def by_interpolation(eps, accuracy):
    """The place as a function of the height; falling heights are rising negative ones."""
    half = accuracy[0] / 2
    return np.interp(-half, [-a for a in accuracy], eps) if min(accuracy) <= half else math.inf


def with_arrays(fgsm, pgd, drop):
    fgsm, pgd = np.array(fgsm), np.array(pgd)
    best = pgd[:-1].argmax()
    return (pgd[-1] <= pgd[best] - drop) & (fgsm[-1] >= fgsm[best])


UNUSUAL = [
    ("0.1", lambda way: np.float64(1) / way),
    ("0.3", lambda s, y, q: [min(range(int(y.max()) + 1), key=lambda k: (v - s[y == k].mean(0)).norm()) for v in q]),
    ("1.3", by_a_dictionary),
    ("1.5", with_numpy_indices),
    ("2.3", lambda images, turns: torch.stack([x.rot90(int(k), (1, 2)) for x, k in zip(images, turns, strict=True)])),
    ("2.5", by_gather),
    ("3.1", by_backward),
    ("3.2", from_a_random_start),
    ("3.3", by_interpolation),
    ("4.1", lambda images, sigma, n: np.clip(images.numpy() + np.einsum("n,nchw->nchw", sigma, n), 0, 1)),
    ("5.5", lambda kernels, strides: 1 + sum((k - 1) * math.prod(strides[:j]) for j, k in enumerate(kernels))),
    ("6.1", in_double_precision),
    ("6.1", by_one_logarithm),
    ("6.3", lambda m, v: [m.mean(0), (v + m**2).mean(0) - m.mean(0) ** 2]),
    ("6.5", by_the_hyperbolic_sine),
    ("7.1", by_loops),
    ("8.3", with_arrays),
    ("8.4", in_one_pass),
    ("9.1", by_the_standard_library),
    ("9.4", lambda logits, labels: np.mean((logits.numpy().argmax(-1) == labels.numpy()).all(0))),
    ("10.1", by_the_matrix_root),
    ("11.1", by_a_sort),
    ("11.5", lambda j, i, way, n: np.array([(way * j + i) // n, (way * j + i) % n])),
    ("12.1", in_place),
    ("12.4", lambda p, d, other, margin: [bool(o and 0 < x - p < margin) for x, o in zip(d, other, strict=True)]),
]  # fmt: skip


@pytest.mark.parametrize(("number", "answer"), UNUSUAL, ids=[f"{number}-{k}" for k, (number, _) in enumerate(UNUSUAL)])
def test_an_unusual_right_answer_passes(number, answer):
    assert exercises.judge(number, answer).startswith("passed")


def test_the_field_of_the_encoder_is_the_one_that_its_hint_tells():
    field = exercises.get_exercises(5)["5.5"]
    strides = [1, 1, 1, 2, 1, 2, 1, 1, 1, 2, 1]
    assert field.solution([3] * 11, strides) == 65 and "see 65 pixels" in field.remark
