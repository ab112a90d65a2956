"""Ranking models under few-shot heads."""

import numpy as np
import pytest
import torch

from anrot_lib.attacks.threat import ThreatModel
from anrot_lib.core.errors import UserError
from anrot_lib.experiments import ranking
from anrot_lib.fewshot.heads.trial import measure_batch_dependence
from anrot_lib.ranking import embedders, few_shot
from anrot_lib.ranking.data.sets import Part


@pytest.fixture(scope="module")
def embedder():
    return embedders.build("rc2f2", "N", dim=16, generator=torch.Generator().manual_seed(0)).eval()


@pytest.fixture(scope="module")
def part():
    """8 classes of 12 images of 28 px, and one class of 3."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.cat([torch.arange(8).repeat_interleave(12), torch.full((3,), 8)])
    templates = torch.rand(9, 28, 28, 1, generator=generator)
    images = (templates[labels] + 0.1 * torch.randn(99, 28, 28, 1, generator=generator)).clamp(0, 1)
    return Part((255 * images).byte().numpy(), np.arange(99), labels, 9, 28)


@pytest.mark.parametrize(
    ("backbone", "shape"), [("rc2f2", (64, 7, 7)), ("rlenet", (50, 4, 4)), ("rres18", (512, 2, 2))]
)
def test_last_maps(backbone, shape):
    net = embedders.build(backbone, dim=16, generator=torch.Generator().manual_seed(0)).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    encoder = few_shot.MapEncoder(net)
    assert encoder.out_channels == shape[0] and net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    side = 28 if net.size else 64
    images = torch.rand(2, net.in_channels, side, side)
    assert encoder(images).shape == (2, *shape)
    assert not net.trunk.get_submodule(few_shot.LAST_MAP[backbone])._forward_hooks


def test_every_backbone_has_its_last_map():
    assert set(few_shot.LAST_MAP) == {*embedders.SMALL, *embedders.TORCHVISION, "rswinl"}


def test_the_last_map_is_what_the_rest_of_the_net_goes_on_from(embedder):
    images = torch.rand(3, 1, 28, 28)
    maps = few_shot.MapEncoder(embedder)(images)
    torch.testing.assert_close(embedder.trunk[6:](maps), embedder(images))


def test_embeddings_as_maps_of_one_position(embedder):
    maps = few_shot.MapEncoder(embedder, "embedding")(torch.rand(3, 1, 28, 28))
    assert maps.shape == (3, 16, 1, 1)
    torch.testing.assert_close(maps.flatten(1).norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("kind", few_shot.KINDS)
@pytest.mark.parametrize("method", ["prototypes", "cosine", "anrot", "hela-vfa", "easyfsl:SimpleShot"])
def test_heads_of_the_kit_on_a_ranking_model(embedder, part, method, kind):
    net = few_shot.build_few_shot_net(embedder, method, kind)
    images = ranking.PartImages(part)
    rows = np.arange(48).reshape(1, 4, 12)
    model = net.fit(images.batch(rows[:, :, :5]).flatten(1, 2), torch.arange(4).repeat_interleave(5)[None])
    maps = net.encode(images.batch(rows[:, :, 5:]).flatten(1, 2))
    assert net.head.score(model, maps).logits.shape == (1, 28, 4)
    assert measure_batch_dependence(net.head, model, maps)[0] < 2e-3  # an untrained net: little spread


def test_accuracy_clean_and_under_attack(embedder, part):
    net = few_shot.build_few_shot_net(embedder)
    threat = ThreatModel(norm="linf", eps=0.3, step=0.05, steps=5, restarts=1, start="clean", target="query")
    done, journal = [], {}
    arguments = (net, part, threat, 5, 1, 24)
    found = ranking.measure_few_shot_columns(*arguments, progress=done.append, journal=journal)
    assert list(found) == ["clean", threat.name] and done == [20, 24]
    clean, attacked = (np.array(column["correct"]) for column in found.values())
    assert len(clean) == 24 and (attacked <= clean).all() and attacked.sum() < clean.sum()
    assert found["clean"]["mean"] > 60  # templates with a little noise
    again = ranking.measure_few_shot_columns(
        *arguments, journal={"few-shot/20": [7, 7, 7, 7]}
    )  # a finished part is not asked again
    assert again[threat.name]["correct"] == [*attacked[:20], 7, 7, 7, 7]


def test_mistakes(embedder, part):
    with pytest.raises(UserError, match="choose map or embedding"):
        few_shot.MapEncoder(embedder, "both")
    with pytest.raises(UserError, match="weights to be trained"):
        few_shot.build_few_shot_net(embedder, "variational")
    threat = ThreatModel(norm="linf", eps=0.1, step=0.1, steps=1, restarts=1, start="clean", target="query")
    with pytest.raises(UserError, match="9-way"):
        ranking.measure_few_shot_columns(few_shot.build_few_shot_net(embedder), part, threat, 9, 1, 2)
