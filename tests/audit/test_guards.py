"""Guards of the audit's defects that no other room has: what a step and a test see, and what is not made."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from anrot_lib.core import randomness
from anrot_lib.data.episodes import EpisodeManifest, EpisodeSampler
from anrot_lib.data.image_set import ImageSet
from anrot_lib.fewshot import episode_loss, evaluation
from anrot_lib.fewshot.classifier import create_net
from anrot_lib.settings import Recipe

MIXTURE = Recipe(clean=1.0, adversarial=1.0, noisy=1.0, sigma_low=0.1, sigma_high=0.1)


def see_images(net):
    """A list that gets every batch of images that the encoder of a net is given."""
    seen = []
    net.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    return seen


def test_one_training_step_uses_every_version_of_the_mixture(small_set):
    sampler = EpisodeSampler(small_set.labels, 3, 2, 2, 1, rows=small_set.rows("train"))
    task = sampler.draw().to_episode(small_set)
    net = create_net("tiny", "anrot", generator=randomness.make_generator(0, "init")).train()
    seen = see_images(net)
    loss = episode_loss.compute_episode_loss(
        net, task, replace(MIXTURE, hesim=0.0), None, lambda name: randomness.make_generator(0, name)
    )
    loss.backward()
    support, clean, attacked, noisy = seen[-1].split([6, 6, 6, 6])
    queries = task.query.flatten(0, 1)
    assert torch.equal(support, task.support.flatten(0, 2)) and torch.equal(clean, queries)
    assert 0 < (attacked - queries).abs().max() <= MIXTURE.eps + 1e-6
    assert (noisy - queries).abs().max() > MIXTURE.eps


def test_the_evaluation_sees_the_images_as_they_are(small_net, small_set):
    rows = EpisodeManifest.make(small_set, "test", 5, 2, 3, 4, 0).rows
    seen = see_images(small_net)
    evaluation.count_clean(small_net, small_set, rows)
    stored = {image.tobytes() for image in small_set.images[small_set.rows("test")]}
    shown = (torch.cat(seen) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    assert len(shown) and all(image.tobytes() in stored for image in shown)


def test_drawing_episodes_makes_no_image(small_set, monkeypatch):
    def never(self, rows, *_, **__):
        raise AssertionError(f"{np.size(rows)} images were made")

    monkeypatch.setattr(ImageSet, "batch", never)
    assert len(EpisodeManifest.make(small_set, "test", 5, 2, 3, 4, 0).rows) == 4
    with pytest.raises(AssertionError, match="3 images"):
        small_set.batch(np.arange(3))
