import pytest
import torch
from torch import nn

from anrot_lib.attacks.ascent import ascend, frozen
from anrot_lib.attacks.gradient import cross_entropy, fgsm, keep_loss_only, pgd
from anrot_lib.core.errors import UserError
from tests.helpers import rng

PGD = pgd(0.1, 6, 0.03, 3, "query")
PGD_CLEAN = pgd(0.1, 6, 0.03, 1, "query", random_start=False)


def images(n=6, dtype=torch.float64):
    return torch.rand(n, 3, 6, 6, generator=rng(1), dtype=dtype)


def small_net(dtype=torch.float64):
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Softplus(), nn.Flatten(), nn.Linear(96, 4))
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5, generator=rng(2))
    return net.to(dtype).eval()


class Counting:
    """An objective that writes down what it was asked."""

    def __init__(self, objective):
        self.objective, self.calls, self.gradients, self.rows = objective, 0, 0, []

    def __call__(self, points, active):
        self.calls += 1
        self.gradients += torch.is_grad_enabled() and points.requires_grad
        self.rows.append((points.detach().clone(), active))
        return self.objective(points, active)


def linear(weight):
    """loss_i = <weight, x_i>: the best point of the ball is known."""
    return lambda points, active: (points * weight).sum((-3, -2, -1))


def check_ascent(attack, objective, x, eps):
    """What every attack must do: stay inside, and really raise the loss of the average unit."""
    points = attack(x)
    assert (points - x).abs().max() <= eps + 1e-7
    assert points.min() >= 0
    assert points.max() <= 1
    before, after = objective(x, None), objective(points, None)
    assert (after - before).mean() > 0.1 * before.std(), "the attack raises no loss"


def test_attacks_raise_the_loss_and_a_no_op_does_not_pass():
    x, net = images(), small_net()
    objective = keep_loss_only(cross_entropy(net, torch.arange(6) % 4))
    for threat in (PGD, PGD_CLEAN, fgsm(0.1, "query"), fgsm(0.1, "query", random_start=True)):
        check_ascent(lambda x, t=threat: ascend(objective, x, t, rng()).images, objective, x, 0.1)
    for lazy in (lambda x: x, lambda x: PGD.random_start(x, rng())):
        with pytest.raises(AssertionError, match="raises no loss"):
            check_ascent(lazy, objective, x, 0.1)
    with pytest.raises(AssertionError):
        check_ascent(lambda x: ascend(objective, x, fgsm(0.2, "query")).images, objective, x, 0.1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_loss_ends_at_the_best_point_of_the_ball(norm):
    x = images() * 0.2 + 0.4  # away from the box
    weight = torch.randn(3, 6, 6, generator=rng(), dtype=torch.float64)
    found = ascend(linear(weight), x, pgd(0.1, 12, 0.04, 2, "query", norm=norm), rng())
    best = 0.1 * (weight.sign() if norm == "linf" else weight / weight.norm())
    torch.testing.assert_close(found.images, x + best.expand_as(x))
    torch.testing.assert_close(found.loss, linear(weight)(found.images, None))


def test_fgsm_is_one_step_and_costs_one_pass():
    x, net = images(), small_net()
    labels = torch.arange(6) % 4
    objective = Counting(cross_entropy(net, labels))
    found = ascend(objective, x, fgsm(0.1, "query"))
    assert (objective.calls, objective.gradients) == (1, 1)
    assert found.loss is None
    leaf = x.clone().requires_grad_()
    nn.functional.cross_entropy(net(leaf), labels).backward()
    assert torch.equal(found.images, (x + 0.1 * leaf.grad.sign()).clamp(x - 0.1, x + 0.1).clamp(0, 1))


@pytest.mark.parametrize("start", [True, False])
def test_keep_last_costs_exactly_its_steps(start):
    objective = Counting(cross_entropy(small_net(), torch.zeros(6, dtype=torch.long)))
    ascend(objective, images(), pgd(0.1, 5, 0.03, 1, "query", random_start=start), rng(), keep="last", stop="beaten")
    assert (objective.calls, objective.gradients) == (5, 5)
    assert all(active is None for _, active in objective.rows)


@pytest.mark.parametrize(("threat", "calls", "gradients"), [(PGD_CLEAN, 8, 6), (PGD, 2 + 3 * 7, 1 + 3 * 6)])
def test_keep_best_costs_one_pass_a_step_and_a_look_at_the_end(threat, calls, gradients):
    objective = Counting(keep_loss_only(cross_entropy(small_net(), torch.zeros(6, dtype=torch.long))))
    ascend(objective, images(), threat, rng())
    assert (objective.calls, objective.gradients) == (calls, gradients)


def test_a_full_step_from_the_image_is_not_looked_at_twice():
    objective = Counting(keep_loss_only(cross_entropy(small_net(), torch.zeros(6, dtype=torch.long))))
    ascend(objective, images(), pgd(0.1, 2, 0.1, 1, "query", random_start=False))
    assert (objective.calls, objective.gradients) == (3, 2)


@pytest.mark.parametrize("threat", [PGD, PGD_CLEAN, pgd(0.5, 4, 0.2, 2, "query", norm="l2")])
def test_the_best_of_all_candidates_is_kept_for_each_unit(threat):
    objective = Counting(keep_loss_only(cross_entropy(small_net(), torch.arange(6) % 4)))
    x = images()
    found = ascend(objective, x, threat, rng())
    seen = torch.stack([objective.objective(points, None) for points, _ in objective.rows])
    torch.testing.assert_close(found.loss, seen.max(0).values)
    torch.testing.assert_close(objective.objective(found.images, None), found.loss)
    one_step = ascend(objective.objective, x, fgsm(threat.eps, "query", norm=threat.norm)).images
    assert (found.loss >= objective.objective(one_step, None) - 1e-12).all()
    assert (found.loss >= objective.objective(x, None)).all()


def test_a_loss_that_only_falls_keeps_the_clean_image():
    x = images() * 0.2 + 0.4
    bumpy = lambda points, active: -(points - x).abs().sum((-3, -2, -1))  # noqa: E731
    found = ascend(bumpy, x, pgd(0.1, 3, 0.05, 2, "query"), rng())
    assert torch.equal(found.images, x)


def test_dropping_beaten_units_finds_the_same_successes_with_fewer_images():
    x, net = images(40), small_net()
    labels = net(x).argmax(1)
    labels[:5] = (labels[:5] + 1) % 4  # beaten from the start
    full, dropping = (Counting(cross_entropy(net, labels)) for _ in range(2))
    threat = pgd(0.02, 6, 0.005, 3, "query")
    kept, left = ascend(full, x, threat, rng()), ascend(dropping, x, threat, rng(), stop="beaten")
    assert 5 < kept.beaten.sum() < 40
    assert torch.equal(kept.beaten, left.beaten)
    assert torch.equal(left.beaten, net(left.images).argmax(1) != labels)
    stayed = ~kept.beaten
    torch.testing.assert_close(kept.images[stayed], left.images[stayed])
    assert torch.equal(left.images[:5], x[:5])
    sizes = [len(points) for points, _ in dropping.rows]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) < 0.9 * sum(len(points) for points, _ in full.rows)


def test_all_beaten_ends_the_search_but_not_the_stream_of_numbers():
    x, net = images(), small_net()
    states = []
    for labels in (net(x).argmax(1), (net(x).argmax(1) + 1) % 4):
        g, objective = rng(), Counting(cross_entropy(net, labels))
        ascend(objective, x, pgd(1e-4, 4, 1e-4, 2, "query"), g, stop="beaten")
        states.append(g.get_state())
    assert objective.calls == 1
    assert torch.equal(*states)


def test_a_beaten_candidate_wins_over_a_larger_loss():
    x = torch.full((1, 1, 1, 1), 0.5)

    def objective(points, active):  # the loss rises with x, but only a narrow band beats the unit
        value = points.flatten(1).squeeze(1)
        return value, (value > 0.54) & (value < 0.56)

    found = ascend(objective, x, pgd(0.3, 6, 0.05, 1, "query", random_start=False))
    assert found.images.item() == pytest.approx(0.55)
    assert found.beaten.item()


@pytest.mark.parametrize("chunk", [1, 4, 100])
@pytest.mark.parametrize("stop", [None, "beaten"])
def test_chunks_change_the_size_of_a_pass_and_nothing_else(chunk, stop):
    x, net = images(10), small_net()
    objective = Counting(cross_entropy(net, torch.arange(10) % 4))
    whole = ascend(objective.objective, x, PGD, rng(), stop=stop)
    parts = ascend(objective, x, PGD, rng(), stop=stop, chunk=chunk)
    torch.testing.assert_close(whole.images, parts.images)
    torch.testing.assert_close(whole.loss, parts.loss)
    assert max(len(points) for points, _ in objective.rows) <= chunk


def test_units_may_be_groups_of_images_or_everything():
    x = images(6).unflatten(0, (2, 3))
    weight = torch.randn(3, 6, 6, generator=rng(), dtype=torch.float64)
    alone = ascend(linear(weight), x, PGD, rng())
    groups = ascend(lambda p, a: linear(weight)(p, a).mean(1), x, PGD, rng())
    everything = ascend(lambda p, a: linear(weight)(p, a).mean(), x, PGD, rng())
    assert (alone.loss.shape, groups.loss.shape, everything.loss.shape) == ((2, 3), (2,), ())
    for found in (groups, everything):
        torch.testing.assert_close(found.images, alone.images)


def test_warm_start_counts_as_a_candidate_inside_the_ball():
    x, net = images(), small_net()
    objective = keep_loss_only(cross_entropy(net, torch.arange(6) % 4))
    small = ascend(objective, x, PGD_CLEAN)
    wide = pgd(0.2, 1, 1e-9, 2, "query")
    warm = ascend(objective, x, wide, rng(), start=small.images)
    assert (warm.loss >= small.loss - 1e-6).all()
    shrunk = ascend(objective, x, fgsm(0.01, "query"), start=small.images).images
    assert (shrunk - x).abs().max() <= 0.01 + 1e-12


def test_same_generator_same_points_and_another_one_others():
    objective = cross_entropy(small_net(), torch.arange(6) % 4)
    runs = [ascend(objective, images(), PGD, rng(seed), keep="last").images for seed in (5, 5, 6)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_global_random_state_is_not_touched():
    net = small_net()  # its constructors do draw from it
    state = torch.get_rng_state()
    ascend(cross_entropy(net, torch.arange(6) % 4), images(), PGD, rng())
    assert torch.equal(state, torch.get_rng_state())


def test_zero_eps_returns_the_images():
    x = images()
    for threat in (fgsm(0.0, "query"), fgsm(0.0, "query", random_start=True), pgd(0.0, 5, 0.01, 2, "query")):
        assert torch.equal(ascend(cross_entropy(small_net(), torch.arange(6) % 4), x, threat, rng()).images, x)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_inside_a_context_without_gradients(context):
    net, x = small_net(), images()
    expected = ascend(cross_entropy(net, torch.arange(6) % 4), x, PGD_CLEAN).images
    with context():
        y = torch.rand(6, 3, 6, 6, generator=rng(1), dtype=torch.float64)
        found = ascend(cross_entropy(net, torch.arange(6) % 4), y, PGD_CLEAN)
    assert torch.equal(found.images, expected)


def test_channels_last_and_bf16_autocast():
    net, x = small_net(torch.float32), images(16, torch.float32)
    labels = net(x).argmax(1)
    objective = cross_entropy(net, labels)
    plain = ascend(objective, x, PGD_CLEAN)
    net.to(memory_format=torch.channels_last)
    last = ascend(objective, x.contiguous(memory_format=torch.channels_last), PGD_CLEAN, stop="beaten")
    assert last.images.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last.beaten, plain.beaten)
    with torch.autocast("cpu", torch.bfloat16):
        half = ascend(objective, x, PGD_CLEAN)
    assert half.images.dtype == half.loss.dtype == torch.float32
    assert half.beaten.float().mean().item() == pytest.approx(plain.beaten.float().mean().item(), abs=0.15)


def test_a_nan_loss_is_an_error():
    x = images()
    with pytest.raises(FloatingPointError, match="NaN"):
        ascend(lambda p, a: p.sum((1, 2, 3)) * float("nan"), x, PGD, rng())


def test_a_nan_gradient_stays_finite():
    masked_root = lambda p, a: (p - p).pow(0.5).sum((1, 2, 3)) + p.sum((1, 2, 3)).nan_to_num()  # noqa: E731
    found = ascend(masked_root, images(), PGD, rng())
    assert torch.isfinite(found.images).all()


def test_mistakes_of_the_caller_are_named():
    x = images()
    with pytest.raises(ValueError, match="detached"):
        ascend(lambda p, a: p.detach().sum((1, 2, 3)), x, PGD, rng())
    with pytest.raises(ValueError, match="leading shape"):
        ascend(lambda p, a: p.sum((1, 2, 3))[:2], x, PGD, rng())
    with pytest.raises(ValueError, match="beaten"):
        ascend(lambda p, a: p.sum((1, 2, 3)), x, PGD, rng(), stop="beaten")
    with pytest.raises(ValueError, match="stop"):
        ascend(lambda p, a: p.sum((1, 2, 3)), x, PGD, rng(), stop="early")
    with pytest.raises(UserError, match=r"\[0, 1\]"):
        ascend(lambda p, a: p.sum((1, 2, 3)), x + 1, PGD, rng())
    with pytest.raises(UserError, match="generator"):
        ascend(lambda p, a: p.sum((1, 2, 3)), x, PGD)


def snapshot(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def check_untouched(act):
    """Runs `act(net)` on a net with gradients, mixed flags and BN in train mode; nothing of it may change."""
    net = small_net().train()
    net[4].eval()
    net[0].bias.requires_grad_(False)
    net(images()).sum().backward()
    state, gradients = snapshot(net), [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    wants, flags = [p.requires_grad for p in net.parameters()], [m.training for m in net.modules()]
    act(net)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items()), "state changed"
    assert [p.requires_grad for p in net.parameters()] == wants
    assert [m.training for m in net.modules()] == flags
    for parameter, gradient in zip(net.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient), "gradient changed"


def test_frozen_leaves_no_trace_of_a_train_mode_attack():
    labels = torch.arange(6) % 4

    def guarded(net):
        with frozen(net):
            assert not any(p.requires_grad for p in net.parameters())
            ascend(cross_entropy(net, labels), images(), PGD, rng())

    def bare(net):
        ascend(cross_entropy(net, labels), images(), PGD, rng())

    check_untouched(guarded)
    with pytest.raises(AssertionError, match="state changed"):  # batch norm moved: the check can fail
        check_untouched(bare)


@pytest.mark.parametrize("training", [None, True, False])
def test_frozen_restores_after_an_exception_and_after_a_replaced_buffer(training):
    def act(net):
        with pytest.raises(RuntimeError, match="midway"), frozen(net, training=training):
            assert training is None or all(m.training is training for m in net.modules())
            net.train()
            net(images())
            net[1].running_mean = torch.zeros(6, dtype=torch.float64)
            raise RuntimeError("midway")

    check_untouched(act)


def test_a_graph_from_before_the_attack_can_still_run_backward():
    net, twin = small_net().train(), small_net().train()
    for each, attacked in ((net, True), (twin, False)):
        loss = each(images()).square().mean()
        if attacked:
            with frozen(each):
                ascend(cross_entropy(each, torch.arange(6) % 4), images(), PGD, rng())
        loss.backward()
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_metric_learning_attacks_are_objectives_too():
    """Triplets (B, 3, C, H, W) are units; hardness climbs until a wanted value and stops there by itself."""
    net, x = small_net(), images(12).unflatten(0, (4, 3))

    def hardness(triplets):
        a, p, n = nn.functional.normalize(net(triplets.flatten(0, 1)), dim=-1).unflatten(0, (-1, 3)).unbind(1)
        return (a - p).norm(dim=-1) - (a - n).norm(dim=-1)

    def toward(wanted):
        return lambda triplets, active: -(wanted - hardness(triplets)).relu().square()

    before = hardness(x)
    threat = pgd(0.1, 60, 0.001, 1, "both", random_start=False)
    after = hardness(ascend(toward(before + 0.05), x, threat, keep="last").images)
    assert (after >= before + 0.049).all()
    assert (after < before + 0.08).all()
    reached = ascend(toward(before - 0.1), x, threat, keep="last").images
    assert torch.equal(reached, x)
    alone = torch.cat([ascend(toward(before[i] + 0.05), x[i : i + 1], threat, keep="last").images for i in range(4)])
    torch.testing.assert_close(hardness(alone), after)


def thresholded(weight, level):
    """Flat for a unit from `level` on: loss_i = -relu(level_i - <weight, x_i>)^2."""

    def objective(points, active):
        some = slice(None) if active is None else active
        return -(level[some] - linear(weight)(points, active)).relu().square()

    return objective


@pytest.mark.parametrize("keep", ["last", "best"])
@pytest.mark.parametrize("threat", [PGD_CLEAN, PGD], ids=lambda t: t.name)
def test_still_units_leave_and_nothing_changes(keep, threat):
    x, weight = images(), torch.rand(3, 6, 6, generator=rng(3), dtype=torch.float64)
    level = linear(weight)(x, None) + torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0, 50.0], dtype=torch.float64)
    whole, leaving = Counting(thresholded(weight, level)), Counting(thresholded(weight, level))
    expected = ascend(whole, x, threat, rng(), keep=keep).images
    found = ascend(leaving, x, threat, rng(), keep=keep, stop="still").images
    assert torch.equal(found, expected)
    assert torch.equal(found[:2], x[:2]) or threat.restarts > 1
    assert sum(len(rows) for rows, _ in leaving.rows) < sum(len(rows) for rows, _ in whole.rows)


def test_a_batch_that_stands_still_ends_the_attack():
    x, weight = images(), torch.ones(3, 6, 6, dtype=torch.float64)
    objective = Counting(thresholded(weight, torch.full((6,), -1.0, dtype=torch.float64)))
    assert torch.equal(ascend(objective, x, PGD_CLEAN, keep="last", stop="still").images, x)
    assert objective.calls == 1


def test_still_needs_a_loss_of_every_unit():
    with pytest.raises(ValueError, match="units"):
        ascend(lambda points, active: points.sum(), images(), PGD_CLEAN, keep="last", stop="still")
