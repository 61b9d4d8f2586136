"""The settings of the one loop: step size, start, draws and redrawing, update, callback."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from oracles import OF_LOGITS, CoinClassifier, LinearClassifier, raises_sentence, small_inputs, small_net
from oracles import precise_model as model
from unshaken.attacks import LOSSES, NORMS, fgm, fgsm, ifgsm, input_gradient, mean, one_step_cw, pgd
from unshaken.attacks.losses import SOFT, cw
from unshaken.attacks.norms import STARTS, UPDATES
from unshaken.models import Deterministic, derive, shared_draws
from unshaken.models.draws import provenance_of

X, Y = small_inputs(dtype=torch.float64)
LINEAR = LinearClassifier(dtype=torch.float64)
LINEAR_X, LINEAR_Y = LINEAR.inputs(10)
COIN = CoinClassifier(0.5, classes=3)
random_start = pytest.mark.parametrize("start", [start for start in STARTS if start != "none"])


def moves(norm: str, **settings) -> Tensor:
    """How far the inputs of a linear model go: its gradient has one direction, so steps add up."""
    return NORMS[norm].size(pgd(LINEAR, LINEAR_X, LINEAR_Y, norm=norm, draws=1, **settings) - LINEAR_X)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"steps": 1}, 0.2),
        ({"steps": 2}, 0.2),
        ({"steps": 10}, 0.2),
        ({"steps": 10, "step_size": 0.01}, 0.1),
        ({"steps": 10, "step_size": 0.05}, 0.2),
        ({"steps": 1, "step_size": 0.05}, 0.05),
        ({"steps": 1, "step_size": 5.0}, 0.2),
    ],
)
def test_steps_have_the_size_asked_for_and_end_in_the_ball(norm, settings, expected):
    torch.testing.assert_close(moves(norm, eps=0.2, **settings), torch.full((10,), expected, dtype=torch.float64))


@pytest.mark.parametrize("norm", NORMS)
def test_the_default_step_is_a_fifth_of_the_ball_for_ten_steps(norm):
    gradients = []
    pgd(model(), X, Y, eps=0.1, norm=norm, steps=10, draws=2, on_gradient=lambda _, g: gradients.append(g))
    x_adv, origin = X, X
    for gradient in gradients:
        moved = x_adv - origin + 0.02 * NORMS[norm].direction(gradient)
        x_adv = (origin + NORMS[norm].project(moved, torch.full((len(X),), 0.1, dtype=X.dtype))).clamp(0, 1)
    torch.testing.assert_close(pgd(model(), X, Y, eps=0.1, norm=norm, steps=10, draws=2), x_adv)


def test_restarts_keep_the_perturbation_with_the_largest_loss():
    settings = {"eps": [0.05, 0.3], "steps": 2, "draws": 1, "start": "uniform", "loss": "cw"}
    net = Deterministic(small_net(dtype=torch.float64))
    each = [pgd(net, X, Y, seed=seed, **settings) for seed in (5, derive(5, "restart", 1), derive(5, "restart", 2))]
    value = torch.stack([cw(net.logits(x.flatten(0, 1), net.mean()), Y.repeat(2)) for x in each]).view(3, 2, len(X))
    best = pgd(net, X, Y, seed=5, restarts=3, **settings)
    kept = value.argmax(0)
    assert len(kept.unique()) == 3
    for size in range(2):
        for i in range(len(X)):
            assert torch.equal(best[size, i], each[kept[size, i]][size, i])


@random_start
def test_a_random_start_is_that_of_the_input_whatever_the_batch(start):
    settings = {"eps": [0.1, 0.2], "draws": 2, "steps": 2, "start": start, "seed": 3}
    whole = pgd(model(), X, Y, **settings)
    some = pgd(model(), X[2:4], Y[2:4], indices=[2, 3], **settings)
    torch.testing.assert_close(some, whole[:, 2:4])
    assert not torch.allclose(pgd(model(), X[2:4], Y[2:4], **settings), some)


@pytest.mark.parametrize(("start", "message"), [("gausian", "did you mean 'gaussian'"), (0.0, "start"), (-1, "start")])
def test_a_start_is_a_word_or_a_positive_share(start, message):
    with pytest.raises(ValueError, match=message):
        pgd(COIN, X, Y, eps=0.1, start=start)


def test_restarts_are_judged_by_draws_of_their_own():
    net = model()
    x_adv = pgd(net, X, Y, eps=0.1, draws=2, steps=3, start="uniform", restarts=2, seed=1)
    used = provenance_of(x_adv)
    assert sum(len(ids) for _, _, ids in used) == 2 * 3 * 2 + 20
    assert len({seed for _, seed, _ in used}) == 3
    assert shared_draws(x_adv, net.draw(50, seed=derive(1, "inference", 0))) == 0
    with pytest.raises(ValueError, match="restarts start anew: 2 of them need a random start, such as 'uniform'"):
        pgd(net, X, Y, eps=0.1, restarts=2)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", OF_LOGITS)
def test_every_step_follows_the_gradient_where_it_is_and_the_draws_of_the_step(norm, loss):
    net, x_adv = model(), X
    for step in range(3):
        draws = net.draw(4 * (step + 1), seed=derive(7, "attack"))[4 * step :]
        gradient = input_gradient(net, x_adv, Y, draws, LOSSES[loss])
        moved = x_adv - X + 0.05 * NORMS[norm].direction(gradient)
        x_adv = (X + NORMS[norm].project(moved, torch.full((len(X),), 0.1, dtype=X.dtype))).clamp(0, 1)
    settings = {"norm": norm, "loss": loss, "draws": 4, "steps": 3, "step_size": 0.05, "seed": 7}
    torch.testing.assert_close(pgd(net, X, Y, eps=0.1, **settings), x_adv)


@pytest.mark.parametrize(
    ("attack", "settings"),
    [
        (fgsm, {"norm": "linf", "steps": 1}),
        (fgm, {"norm": "l2", "steps": 1}),
        (ifgsm, {"norm": "linf", "start": "none"}),
        (mean, {"norm": "linf", "steps": 1, "draws": "mean"}),
    ],
)
def test_named_attacks_are_settings_of_the_loop(attack, settings):
    assert torch.equal(attack(model(), X, Y, eps=0.1), pgd(model(), X, Y, eps=0.1, **settings))


def test_the_loss_may_be_a_function_or_the_name_of_one_elsewhere():
    expected = fgsm(model(), X, Y, eps=0.1, loss="cw")
    assert torch.equal(fgsm(model(), X, Y, eps=0.1, loss=cw), expected)
    assert torch.equal(fgsm(model(), X, Y, eps=0.1, loss="unshaken.attacks.losses:cw"), expected)
    assert torch.equal(pgd(model(), X, Y, eps=0.1, loss=lambda z, y: cw(z, y), norm=NORMS["linf"], steps=1), expected)


def test_one_step_cw_is_the_gradient_as_long_as_it_is_averaged_over_draws():
    net = model()
    draws = net.draw(4, seed=1)
    x = X.clone().requires_grad_()
    each = [z.scatter(1, Y[:, None], -z.gather(1, Y[:, None])).sum() for z in net.logits(x, draws)]
    (gradient,) = torch.autograd.grad(sum(each) / 4, x)
    expected = (X + gradient / 2**0.5).clamp(0, 1)
    lengths = NORMS["l2"].size(expected - X)
    assert lengths.std() > 0.01 * lengths.mean()
    torch.testing.assert_close(one_step_cw(net, X, Y, eps=12**0.5, draws=draws), expected)
    small, none = one_step_cw(net, X, Y, eps=[lengths / 2, 0.0], draws=draws)
    assert (NORMS["l2"].size(small - X) <= lengths / 2 + 1e-9).all()
    assert torch.equal(none, X)


def test_the_update_by_the_gradient_leaves_the_gradient_that_was_shown_alone():
    gradients = []
    settings = {"update": "gradient", "norm": "l2", "step_size": 0.5, "draws": 1, "steps": 2, "eps": 12**0.5}
    net = Deterministic(small_net(dtype=torch.float64))
    x_adv = pgd(net, X, Y, on_gradient=lambda _, g: gradients.append(g), **settings)
    torch.testing.assert_close(x_adv, ((X + 0.5 * gradients[0]).clamp(0, 1) + 0.5 * gradients[1]).clamp(0, 1))


# Probabilities in the place of labels.


def clean_prediction(net) -> Tensor:
    return net.logits(X, net.draw(50, seed=5)).softmax(-1).mean(0).detach()


def test_with_kl_to_the_clean_prediction_it_is_the_attack_that_trades_trains_against():
    net = small_net(dtype=torch.float64)
    y = net(X).softmax(-1).detach()
    settings = {"eps": 0.1, "steps": 5, "step_size": 0.03, "draws": 1, "start": "near", "seed": 2}
    x_adv = pgd(COIN, X, Y, **settings)  # where it starts
    for _ in range(5):
        x_adv.requires_grad_()
        loss = torch.nn.functional.kl_div(net(x_adv).log_softmax(-1), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = (x_adv.detach() + 0.03 * gradient.sign()).clamp(X - 0.1, X + 0.1).clamp(0, 1)
    x_adv_kl = pgd(Deterministic(net), X, y, loss="kl", **settings)
    torch.testing.assert_close(x_adv_kl, x_adv)
    moved = (net(x_adv_kl).softmax(-1) - y).abs().sum(1)
    assert (moved > 2 * (net(pgd(COIN, X, Y, **settings)).softmax(-1) - y).abs().sum(1)).all()


@pytest.mark.parametrize("start", ["none", "near"])
@pytest.mark.parametrize("restarts", [1, 2])
def test_probabilities_are_cut_and_copied_like_labels(start, restarts):
    if start == "none" and restarts > 1:
        pytest.skip("restarts need a random start")
    y = clean_prediction(model())
    settings = {"loss": "kl", "draws": 3, "steps": 3, "start": start, "restarts": restarts}
    whole = pgd(model(), X, y, eps=[0.1, 0.2], **settings)
    torch.testing.assert_close(pgd(model(), X, y, eps=[0.1, 0.2], batch_size=4, **settings), whole)
    torch.testing.assert_close(pgd(model(), X, y, eps=0.2, **settings), whole[1])
    some = pgd(model(), X[2:4], y[2:4], eps=[0.1, 0.2], indices=[2, 3], **settings)
    torch.testing.assert_close(some, whole[:, 2:4])


@pytest.mark.parametrize("loss", [name for name in LOSSES if LOSSES[name] not in SOFT])
def test_other_losses_refuse_probabilities_before_any_work(loss):
    net = model()
    with raises_sentence(r"y must be int64 class indices \(B,\); got probabilities \(6, 3\), .* only the loss 'kl'"):
        pgd(net, X, torch.full((6, 3), 1 / 3), eps=0.1, loss=loss)
    assert net.cost.forwards == 0


# Where it starts: a coin has no gradient, so the attack ends where it started.

start_of = partial(pgd, COIN, X, Y)


@pytest.mark.parametrize("norm", NORMS)
@random_start
def test_starts_differ_from_seed_to_seed_and_grow_with_the_ball(norm, start):
    small = start_of(eps=0.01, norm=norm, start=start) - X
    assert NORMS[norm].size(small).min() > 0
    assert len(small.flatten(1).unique(dim=0)) == len(X)
    assert not torch.equal(start_of(eps=0.01, norm=norm, start=start, seed=1) - X, small)
    middle = torch.full_like(X, 0.5)
    one, ten = (pgd(COIN, middle, Y, eps=eps, norm=norm, start=start) - middle for eps in (0.01, 0.1))
    torch.testing.assert_close(10 * one, ten)


@pytest.mark.parametrize("start", STARTS)
def test_the_network_is_never_shown_an_input_outside_the_box(start):
    net, batches = small_net(dtype=torch.float64), []
    net.register_forward_pre_hook(lambda module, args: batches.append(args[0].detach()))
    pgd(Deterministic(net), X, Y, eps=1.0, start=start, steps=3, draws=1)
    assert 0 <= torch.cat(batches).min() <= torch.cat(batches).max() <= 1


def test_without_a_start_it_starts_at_x():
    assert torch.equal(start_of(eps=0.1, start="none"), X)


@pytest.mark.parametrize("norm", NORMS)
@random_start
@pytest.mark.parametrize("update", UPDATES)
def test_sizes_of_a_list_share_start_and_draws_with_single_calls(norm, start, update):
    settings = {"norm": norm, "start": start, "update": update, "draws": 3, "steps": 4}
    sizes = [0.0, 0.05, torch.linspace(0, 0.3, len(X))]
    for eps, x_adv in zip(sizes, pgd(model(), X, Y, eps=sizes, **settings), strict=True):
        torch.testing.assert_close(x_adv, pgd(model(), X, Y, eps=eps, **settings))


# Which draws it uses.


def test_draws_are_new_at_every_step_unless_told_otherwise():
    net = model()
    fresh = pgd(net, X, Y, eps=0.1, draws=3, steps=5)
    assert [ids for _, _, ids in fresh.made_with] == [tuple(range(3 * t, 3 * t + 3)) for t in range(5)]
    kept = pgd(net, X, Y, eps=0.1, draws=3, steps=5, redraw=False)
    assert [ids for _, _, ids in kept.made_with] == [(0, 1, 2)] * 5
    assert {seed for _, seed, _ in kept.made_with} == {derive(0, "attack")}
    assert torch.equal(kept, pgd(net, X, Y, eps=0.1, draws=net.draw(3, seed=derive(0, "attack")), steps=5))
    assert not torch.equal(kept, pgd(net, X, Y, eps=0.1, draws=3, steps=5))


def test_a_perturbation_remembers_the_draws_that_made_it_and_never_meets_others():
    net = model()
    draws = net.draw(5, seed=3)
    x_adv = pgd(net, X, Y, eps=0.1, draws=draws, steps=2)
    assert shared_draws(x_adv, draws) == 5
    assert shared_draws(pgd(net, X, Y, eps=0.1, draws=5, seed=3), draws) == 0
    assert shared_draws(pgd(net, X, Y, eps=[0.1, 0.2], draws=draws), draws[3:]) == 2


def test_the_mean_attack_uses_the_mean_network():
    net = LinearClassifier(scale=0.5, dtype=torch.float64)
    x, y = net.inputs(10)
    distance = net.distance(x, y, "linf")
    for factor, survives in ((0.9999, True), (1.0001, False)):
        x_adv = mean(net, x, y, eps=factor * distance)
        assert ((net.logits(x_adv, net.mean())[0].argmax(-1) == y) == survives).all()


@pytest.mark.parametrize("norm", NORMS)
def test_with_the_draws_of_the_defender_a_linear_label_falls_at_the_distance(norm):
    net = LinearClassifier(scale=0.5, dtype=torch.float64)
    x, y = net.inputs(50)
    draws = net.draw(7, seed=1)
    distance = net.distance(x, y, norm, draws)
    x, y, distance = x[distance > 0], y[distance > 0], distance[distance > 0]
    assert len(x) > 10
    for factor, survives in ((0.9999, True), (1.0001, False)):
        x_adv = pgd(net, x, y, eps=factor * distance, norm=norm, steps=1, draws=draws, loss="cw")
        assert ((net.logits(x_adv, draws).mean(0).argmax(-1) == y) == survives).all()


# How it moves and what can be seen of it.


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("steps", [1, 5])
def test_adam_is_the_optimizer_of_torch(norm, steps):
    net = Deterministic(small_net(dtype=torch.float64))
    delta = torch.zeros_like(X).requires_grad_()
    optimizer = torch.optim.Adam([delta], lr=0.03, eps=1e-9, maximize=True)
    for _ in range(steps):
        delta.grad = input_gradient(net, X + delta.detach(), Y, net.draw(1), LOSSES["log_error"])
        optimizer.step()
        with torch.no_grad():
            projected = NORMS[norm].project(delta, torch.full((len(X),), 0.1, dtype=X.dtype))
            delta.copy_((X + projected).clamp(0, 1) - X)
    x_adv = pgd(net, X, Y, eps=0.1, norm=norm, steps=steps, step_size=0.03, update="adam", draws=1)
    torch.testing.assert_close(x_adv, X + delta.detach())


def test_on_gradient_is_called_with_the_gradient_before_each_step():
    calls = []
    pgd(model(), X, Y, eps=[0.1, 0.2], steps=3, on_gradient=lambda step, gradient: calls.append((step, len(gradient))))
    assert calls == [(0, len(X)), (1, 2 * len(X)), (2, 2 * len(X))]


def test_an_input_that_requires_a_gradient_is_attacked_all_the_same():
    x = X.clone().requires_grad_()
    x_adv = fgsm(model(), x, Y, eps=0.1)
    assert torch.equal(x_adv, fgsm(model(), X, Y, eps=0.1))
    assert not x_adv.requires_grad
    assert x.grad is None


def test_any_layout_in_memory_gives_the_same_result():
    x = torch.rand(4, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    other = x.to(memory_format=torch.channels_last)
    expected, got = (pgd(model(), t, Y[:4], eps=[0.1, 0.2], steps=2) for t in (x, other))
    torch.testing.assert_close(got, expected)


def test_a_sweep_attacks_as_well_as_its_label_says():
    """Accuracy under attack never grows with the size, for a model that is right on all clean inputs."""
    x, y = LINEAR.inputs(100)
    x_adv = pgd(LINEAR, x, y, eps=[0.0, 0.02, 0.05, 0.2], draws=1, steps=1)
    right = torch.stack([LINEAR.logits(batch, LINEAR.mean())[0].argmax(-1) == y for batch in x_adv]).sum(1).tolist()
    assert right == sorted(right, reverse=True)
    assert (right[0], right[-1]) == (100, 0)
