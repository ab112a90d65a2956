"""Backbones: their sizes, what they take, frozen batch norms, weights from a file, a round trip."""

import pytest
import torch

from anrot_lib.core.errors import UserError
from anrot_lib.ranking import embedders
from anrot_lib.records.describe import count_parameters
from tests.helpers import rng


@pytest.mark.parametrize(("backbone", "count"), [("rc2f2", 3_789_184), ("rres18", 11_439_168)])
def test_parameters(backbone, count):
    assert count_parameters(embedders.build(backbone)) == count


@pytest.mark.parametrize("backbone", ["rc2f2", "rlenet"])
def test_small_backbones(backbone):
    net = embedders.build(backbone, "E", dim=128, generator=rng())
    assert net(torch.rand(2, 1, 28, 28)).shape == (2, 128)
    assert net.metric == "E"
    for images in (torch.rand(2, 3, 28, 28), torch.rand(2, 1, 32, 32)):
        with pytest.raises(UserError, match="1 channels and 28 px"):
            net(images)


@pytest.mark.parametrize("backbone", ["rres18", "rres50", "rmnas05", "rmnas10", "reffb0", "rswint"])
def test_large_backbones(backbone):
    net = embedders.build(backbone, freeze_bn=True, generator=rng()).train()
    rows = net(torch.rand(2, 3, 64, 64))
    assert rows.shape == (2, 512)
    rows.sum().backward()
    with pytest.raises(UserError, match="3 channels"):
        net(torch.rand(2, 1, 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["rswins", "rswinb", "rswinl"])
def test_large_transformers(backbone):
    assert embedders.build(backbone).eval()(torch.rand(1, 3, 64, 64)).shape == (1, 512)


def test_inception_bn_is_named_unavailable():
    with pytest.raises(UserError, match="Inception-BN"):
        embedders.build("ribn")
    with pytest.raises(UserError, match="unknown backbone"):
        embedders.build("rvgg")


def test_frozen_batch_norms_keep_statistics_and_learn_weights():
    net = embedders.build("rres18", freeze_bn=True, generator=rng()).train()
    statistics = [norm.running_mean.clone() for norm in net.batch_norms()]
    net(torch.rand(4, 3, 64, 64)).square().sum().backward()
    assert all(torch.equal(a, norm.running_mean) for a, norm in zip(statistics, net.batch_norms(), strict=True))
    assert all(norm.weight.grad is not None for norm in net.batch_norms())
    assert len(statistics) == 20
    net.freeze_bn = False
    net.train()(torch.rand(4, 3, 64, 64))
    assert not torch.equal(statistics[0], net.batch_norms()[0].running_mean)


def test_initial_weights_follow_the_generator_and_leave_the_global_one_alone():
    before = torch.random.get_rng_state()
    first, second, other = (embedders.build("rc2f2", generator=rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.trunk[0].weight, second.trunk[0].weight)
    assert not torch.equal(first.trunk[0].weight, other.trunk[0].weight)
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_from_a_file(tmp_path):
    from anrot_lib.core.torchvision_compat import load_torchvision

    classifier = load_torchvision().models.resnet18(num_classes=1000)
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    net = embedders.build("rres18", weights=tmp_path / "resnet18.pth")
    assert torch.equal(net.trunk.conv1.weight, classifier.conv1.weight)
    assert net.trunk.fc.out_features == 512
    with pytest.raises(UserError, match="not those of rres50"):
        embedders.build("rres50", weights=tmp_path / "resnet18.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for file, why in (("text.pth", "cannot be read"), ("nothing.pth", "no file of weights")):
        with pytest.raises(UserError, match=why):
            embedders.build("rres18", weights=tmp_path / file)
    with pytest.raises(UserError, match="from scratch"):
        embedders.build("rc2f2", weights=tmp_path / "resnet18.pth")


def test_a_checkpoint_gives_the_embedder_back(tmp_path):
    net = embedders.build("rc2f2", "C", generator=rng()).eval()
    embedders.save(tmp_path / "net.pt", net, name="fashion:rc2f2:ptripletC")
    again, about = embedders.load(tmp_path / "net.pt")
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(net(images), again(images))
    assert (again.metric, about["name"]) == ("C", "fashion:rc2f2:ptripletC")
