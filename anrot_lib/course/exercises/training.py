"""Exercises of 08: the cost of a step, the learning rate, the alarm, three sets in one loader, N-FGSM."""

import math

import torch

from anrot_lib.course.exercises.checking import Fill, Predict


def cosine_rate(full, step, n_steps):
    return full * 0.5 * (1 + math.cos(math.pi * step / n_steps))


def _places():
    return [(1e-3, 0, 100), (1e-3, 25, 100), (1e-3, 50, 100), (2.0, 99, 100), (1.0, 7, 10)]


def _a_straight_line(full, step, n_steps):
    return full * (1 - step / n_steps)


def _without_the_half(full, step, n_steps):
    return full * (1 + math.cos(math.pi * step / n_steps))


def overfits(fgsm, pgd, drop):
    best = max(range(len(pgd) - 1), key=lambda k: pgd[k])
    return pgd[-1] <= pgd[best] - drop and fgsm[-1] >= fgsm[best]


def _histories():
    healthy = ([0.30, 0.40, 0.45], [0.25, 0.33, 0.38], 0.10)
    late = ([0.30, 0.45, 0.80], [0.25, 0.40, 0.27], 0.10)
    both_fall = ([0.45, 0.30], [0.40, 0.20], 0.10)
    small_dip = ([0.30, 0.32, 0.35], [0.25, 0.31, 0.28], 0.10)
    return [healthy, late, both_fall, small_dip]


def _since_the_start(fgsm, pgd, drop):
    return pgd[-1] <= pgd[0] - drop and fgsm[-1] >= fgsm[0]


def _pgd_alone(fgsm, pgd, drop):
    return pgd[-1] <= max(pgd) - drop


def n_fgsm(images, u, gradient, eps):
    start = (images + 2 * eps * u).clamp(0, 1)
    return (start + eps * gradient(start).sign()).clamp(0, 1)


def _towards_the_middle(x):
    return 0.5 - x


def _away_from_the_middle(x):
    return x - 0.5


def _noisy_starts():
    g = torch.Generator().manual_seed(0)
    images = torch.tensor([0.0, 0.45, 0.5, 0.55, 1.0])
    u = torch.tensor([0.5, 1.0, -0.7, -1.0, -0.5])
    many, noise = torch.rand(2, 1, 3, 3, generator=g), 2 * torch.rand(2, 1, 3, 3, generator=g) - 1
    return [
        (images, u, _away_from_the_middle, 0.1),
        (many, noise, _towards_the_middle, 0.2),
        (many, noise, _away_from_the_middle, 0.0),
    ]


def _gradient_at_the_image(images, u, gradient, eps):
    return ((images + 2 * eps * u).clamp(0, 1) + eps * gradient(images).sign()).clamp(0, 1)


def _back_into_the_ball(images, u, gradient, eps):
    return (images + (n_fgsm(images, u, gradient, eps) - images).clamp(-eps, eps)).clamp(0, 1)


EXERCISES = {
    "8.1": Predict(
        5.5556,
        tell="525 passes train on the three versions and 725 make the attack: 1,250 / 225.",
        hint="Count 3 passes for each of 25 + 150 images, then 25 + 2 x 7 x 50 for the attack, and divide by 3 x 75.",
        wrong=(2.8889, 9.8889),
        tolerance=0.02,
    ),
    "8.2": Fill(cosine_rate, _places, (_a_straight_line, _without_the_half)),
    "8.3": Fill(overfits, _histories, (_since_the_start, _pgd_alone)),
    "8.4": Predict(
        29,
        tell="1,800 images in batches of 64 are 28 full batches and one with the last 8.",
        hint="How many images do the three sets hold together? The last batch may be smaller than the rest.",
        wrong=(1, 28),
    ),
    "8.5": Fill(n_fgsm, _noisy_starts, (_gradient_at_the_image, _back_into_the_ball)),
}
