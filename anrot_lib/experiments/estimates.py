"""TODO."""

import time

import numpy as np
import torch

from anrot_lib.attacks import transfer
from anrot_lib.core import randomness
from anrot_lib.experiments import columns
from anrot_lib.experiments.setting import Setting
from anrot_lib.fewshot.classifier import FewShotNet, folded


def _surrogate_seconds(setting: Setting) -> float:
    """How long the transfer attack's small CNN trains, from two batches."""
    image_set, rows = setting.image_set, setting.image_set.rows("train")
    sample = rows[np.linspace(0, len(rows) - 1, 2 * transfer.BATCH).astype(int)]  # from all classes
    generator = randomness.generator(setting.protocol.seed, "surrogate")
    started = time.perf_counter()
    transfer.train_surrogate(
        *(lambda picked: image_set.batch(sample[picked.numpy()]), image_set.labels[sample], generator),
        epochs=1,
        device=setting.device,
        precision=setting.precision,
    )
    return (time.perf_counter() - started) * setting.budget.surrogate_epochs * len(rows) / len(sample)


def _test_seconds(setting: Setting, net: FewShotNet) -> float:
    """How long testing takes at most, from one forward pass of some images."""
    rows = setting.image_set.rows("test")[:64]
    images = setting.image_set.batch(rows, setting.device)
    net = folded(net.to(setting.device))
    with torch.no_grad():
        net.encode(images)
        started = time.perf_counter()
        net.encode(images)
    return (
        (time.perf_counter() - started)
        / len(rows)
        * sum(columns.count_passes(setting, c) for c in columns.select_columns(setting))
    )
