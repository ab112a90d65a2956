"""Numbers that would be wrong without a word are refused: broken nets, wrong labels, train mode, seen classes."""

import pytest
import torch

from anrot_lib.attacks.gradient import attack, pgd
from anrot_lib.core import checkpoints
from anrot_lib.core.errors import NotFinite, UserError
from anrot_lib.data.episodes import EpisodeManifest
from anrot_lib.data.leakage.seen import get_origin
from anrot_lib.fewshot import nets
from anrot_lib.fewshot.classifier import FewShotNet, create_net, fold_net
from anrot_lib.fewshot.evaluation import Evaluator, count_attacked, count_clean
from anrot_lib.fewshot.methods import list_heads

STRONG = pgd(8 / 255, steps=3, step=2 / 255, restarts=1, target="query")


@pytest.fixture
def rows(small_set):
    return EpisodeManifest.make(small_set, "test", 5, 5, 3, 4, seed=0).rows


def broken(net, value):
    with torch.no_grad():
        next(net.backbone.parameters())[0] = value
    return net


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_net_with_broken_weights_has_no_accuracy(small_net, small_set, rows, value):
    net = broken(small_net, value)
    with pytest.raises(NotFinite):
        count_clean(net, small_set, rows)
    with pytest.raises(NotFinite):
        count_attacked(net, small_set, rows, STRONG, seed=0)


def test_a_checkpoint_with_broken_weights_is_refused(small_net, tmp_path):
    nets.save_net(tmp_path / "net.pt", broken(small_net, float("nan")), "anrot")
    with pytest.raises(NotFinite, match="are not finite"):
        nets.load_net(tmp_path / "net.pt")


@pytest.mark.parametrize("method", ["prototypes", "cosine", "anrot", "mml", "dn4", "easyfsl:SimpleShot"])
@pytest.mark.parametrize("question", ["clean", "attacked"])
def test_a_net_that_answers_alike_whatever_it_sees_is_refused(method, question, small_set, rows):
    """Clean, and under attack alone: it has no gradient, so that no attack would lower its chance."""
    net = create_net("tiny", method).eval()
    evaluator = Evaluator(net, small_set)  # untrained, which is no collapse
    assert len(evaluator.count_clean(rows) if question == "clean" else evaluator.count_attacked(rows, STRONG, 0)) == 4
    with torch.no_grad():
        for weight in net.backbone.parameters():
            weight.zero_()
    with pytest.raises(UserError, match="same logits whatever image"):
        Evaluator(net, small_set)


def test_a_net_in_train_mode_is_refused(small_net, small_set, rows):
    with pytest.raises(UserError, match=r"train mode.*net\.eval\(\)"):
        count_clean(small_net.train(), small_set, rows)
    with pytest.raises(UserError, match="train mode"):
        count_attacked(small_net, small_set, rows, STRONG, seed=0)
    assert len(Evaluator(small_net, small_set).count_clean(rows)) == 4, "an Evaluator takes a copy in eval mode"


LABELS = {
    "one to way": torch.tensor([1, 1, 2, 2, 3, 3]),
    "gaps": torch.tensor([3, 3, 7, 7, 8, 8]),
    "negative": torch.tensor([-1, -1, 0, 0, 1, 1]),
    "float": torch.tensor([0.0, 0.0, 1.0, 1.0, 2.0, 2.0]),
    "bool": torch.tensor([False, False, False, True, True, True]),
    "too few": torch.tensor([0, 0, 1, 1, 2]),
    "huge": torch.tensor([0, 0, 1, 1, 2, 10**12]),
}
HEADS = [*list_heads(), "easyfsl:PrototypicalNetworks", "easyfsl:SimpleShot", "easyfsl:FEAT", "levels:pixel+kl"]


@pytest.mark.parametrize("method", HEADS)
def test_wrong_support_labels_are_one_error_in_every_head(method):
    net = create_net("tiny", method, generator=torch.Generator().manual_seed(0)).eval()
    images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for name, labels in LABELS.items():
        for use in (net.process_support_set, net.bind):
            with pytest.raises(UserError, match="support labels must"):
                use(images, labels)
                pytest.fail(name)
    mask = torch.tensor([[True] * 4 + [False] * 2])
    with pytest.raises(UserError, match="support labels must"):
        net.fit(images[None], torch.tensor([[0, 0, 1, 1, 2, 2]]), mask)
    net.process_support_set(images, torch.tensor([2, 0, 1, 1, 0, 2]))
    assert net(images).shape == (6, 3)


def test_a_bound_episode_goes_backward_as_often_as_an_attack_likes(small_net, small_set):
    """Own steps by `loss.backward()`, several steps of an attack, and several batches, with gradients switched on."""
    images = small_set.batch(small_set.rows("test")[:20])
    labels = torch.arange(20) // 4 % 2
    bound = small_net.bind(images[:8], torch.arange(8) // 4)
    for batch in (images[8:14], images[14:20]):
        x = batch.clone().requires_grad_()
        for _ in range(3):
            torch.nn.functional.cross_entropy(bound(x), labels[:6]).backward()
        assert x.grad.abs().sum() > 0
        assert attack(bound, batch, labels[:6], STRONG, torch.Generator().manual_seed(0)).images.shape == batch.shape


def test_a_trained_net_carries_its_origin_through_files_folding_and_other_heads(small_training, small_set, tmp_path):
    net = small_training.net
    assert net.origin.sha256 == small_set.sha256 and net.origin.trained == small_set.split_names["train"]
    nets.save_net(tmp_path / "net.pt", net, "anrot")
    again = nets.load_net(tmp_path / "net.pt")[0]
    for other in (again, fold_net(again), FewShotNet(again.backbone, create_net("tiny", "prototypes").head)):
        assert other.origin.split_hash == small_set.split_hash and len(other.origin.images) == len(net.origin.images)
    assert get_origin(create_net("tiny", "anrot").backbone) is None


def test_a_net_is_not_tested_on_another_split_of_its_images_unnoticed(small_training, small_set):
    from dataclasses import replace

    turned = replace(small_set, splits={"train": small_set.splits["test"], "test": small_set.splits["train"][:6]})
    with pytest.raises(UserError, match="trained on 6 of the 6 test classes"):
        Evaluator(small_training.net, turned)
    assert Evaluator(small_training.net, turned, allow_seen=True).seen
    assert not Evaluator(small_training.net, small_set).seen


def test_a_training_in_progress_says_what_it_is_trained_on(small_set, small_budget, tmp_path):
    from anrot_lib.fewshot.training import train
    from anrot_lib.settings import Protocol, Recipe

    train(small_set, Recipe(), small_budget, Protocol(), tmp_path / "training.pt")
    assert checkpoints.load(tmp_path / "training.pt")["origin"]["sha256"] == small_set.sha256
    assert nets.load_net(tmp_path / "training.pt")[0].origin.trained == small_set.split_names["train"]
