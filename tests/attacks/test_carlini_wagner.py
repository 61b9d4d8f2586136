"""Carlini & Wagner: the nearest point that wins, by descent in w and a search for c, found once for all sizes."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from oracles import LinearClassifier, raises_sentence, small_inputs, small_net
from oracles import precise_model as model
from unshaken.attacks import ATTACKS, LOSSES, NORMS, carlini_wagner
from unshaken.attacks.losses import cw
from unshaken.attacks.sampling import draws_of_steps
from unshaken.models import Deterministic, StochasticClassifier
from unshaken.models.draws import generator, provenance_of
from unshaken.runs.parts import all_arguments, resolve_part

X, Y = small_inputs(dtype=torch.float64)
LINEAR = LinearClassifier(classes=3, dtype=torch.float64)  # a label can be taken everywhere in its box
WIDE_X = torch.rand(6, 1, 1, 8, dtype=torch.float64, generator=generator(0, 0))
WIDE_Y = LINEAR.logits(WIDE_X, LINEAR.mean())[0].argmax(-1)
BOX = math.sqrt(8)
size = NORMS["l2"].size


def answers(net: StochasticClassifier, x: Tensor) -> Tensor:
    return net.logits(x, net.mean())[0].argmax(-1)


@pytest.mark.parametrize("classes", [2, 5])
def test_on_a_linear_classifier_it_finds_the_exact_distance(classes):
    net = LinearClassifier(classes=classes, dtype=torch.float64)
    x, y = net.inputs(30)
    settings = {"draws": "mean", "steps": 60, "search_steps": 6, "lr": 0.02, "initial_c": 0.1, "confidence": 0.0}
    distance = net.distance(x, y, "l2")
    x, y, distance = (tensor[distance > 0.01] for tensor in (x, y, distance))
    x_adv = carlini_wagner(net, x, y, eps=2.0, **settings)
    ratio = size(x_adv - x) / distance
    assert ratio.min() > 1
    assert ratio.median() < 1.01
    assert ratio.max() < (1.03 if classes == 2 else 1.25)  # a point that is near several boundaries
    assert (net.logits(x_adv, net.mean())[0].argmax(-1) != y).all()


def test_a_size_below_the_distance_has_the_projection_and_one_above_it_the_point_itself():
    attack = partial(carlini_wagner, LINEAR, WIDE_X, WIDE_Y, draws="mean", steps=40, search_steps=3, confidence=0.0)
    x_adv = attack(eps=BOX)
    distance = size(x_adv - WIDE_X)
    assert (answers(LINEAR, x_adv) != WIDE_Y).all()
    inside, outside = attack(eps=[1.01 * distance, 0.5 * distance])
    torch.testing.assert_close(inside, x_adv)
    torch.testing.assert_close(outside, WIDE_X + 0.5 * (x_adv - WIDE_X))
    assert (answers(LINEAR, outside) == WIDE_Y).all()


def descended(net: StochasticClassifier, x: Tensor, y: Tensor, c: float, steps: int, lr: float, kappa: float) -> Tensor:
    """One turn of the search as a textbook writes it, by torch's own Adam and autograd: the nearest point that wins."""
    w = torch.atanh((2 * x - 1) * 0.999999).requires_grad_()
    optimizer = torch.optim.Adam([w], lr=lr, eps=1e-9)
    best, nearest = x.clone(), torch.full((len(x),), math.inf, dtype=x.dtype)
    for _ in range(steps):
        x_adv = (w.tanh() + 1) / 2
        value, distance = cw(net.logits(x_adv, net.mean()), y), (x_adv - x).flatten(1).norm(dim=1)
        better = (value > kappa) & (distance < nearest)
        best[better], nearest[better] = x_adv[better].detach(), distance[better].detach()
        optimizer.zero_grad()
        ((x_adv - x).square().flatten(1).sum(1) + c * (kappa - value).clamp_min(0)).sum().backward()
        optimizer.step()
    return best


@pytest.mark.parametrize("kappa", [0.0, 0.1])
def test_a_turn_of_the_search_is_adam_on_the_objective_of_the_paper(kappa):
    expected = descended(LINEAR, WIDE_X, WIDE_Y, 0.5, 40, 0.1, kappa)
    assert (size(expected - WIDE_X) > 0.01).all()
    settings = {"steps": 40, "search_steps": 1, "initial_c": 0.5, "lr": 0.1, "confidence": kappa}
    x_adv = carlini_wagner(LINEAR, WIDE_X, WIDE_Y, eps=BOX, draws="mean", **settings)
    torch.testing.assert_close(x_adv, expected, atol=2e-5, rtol=0)  # the edges of the box are kept from infinity


def test_c_grows_tenfold_until_it_wins_and_is_halved_then():
    net = LinearClassifier(dtype=torch.float64)
    x, y = net.inputs(40)
    far_away = net.distance(x, y, "l2") > 0.05
    x, y = x[far_away], y[far_away]
    settings = {"draws": "mean", "steps": 40, "lr": 0.02, "confidence": 0.0, "eps": 3.0}

    def perturbed(**more) -> Tensor:
        return carlini_wagner(net, x, y, **settings, **more)

    assert (answers(net, perturbed(initial_c=1e-5, search_steps=1)) == y).all()
    assert (answers(net, perturbed(initial_c=1e-5, search_steps=5)) != y).all()
    torch.testing.assert_close(perturbed(initial_c=1e-5, search_steps=5), perturbed(initial_c=0.1, search_steps=1))
    far, near = (size(perturbed(initial_c=100.0, search_steps=turns) - x) for turns in (1, 12))
    assert (near <= far).all()
    assert near.mean() < 0.9 * far.mean()


def test_what_is_wrong_already_is_not_moved_and_confidence_asks_for_more():
    attack = partial(carlini_wagner, LINEAR, WIDE_X, draws="mean", eps=BOX, steps=40, search_steps=3)
    assert torch.equal(attack((WIDE_Y + 1) % 3, confidence=0.0), WIDE_X)
    perturbed = [attack(WIDE_Y, confidence=kappa) for kappa in (0.0, 0.2)]
    for x_adv, kappa in zip(perturbed, (0.0, 0.2), strict=True):
        assert (cw(LINEAR.logits(x_adv, LINEAR.mean()), WIDE_Y) > kappa).all()
    assert (size(perturbed[1] - WIDE_X) > size(perturbed[0] - WIDE_X)).all()


def test_without_confidence_new_draws_find_the_point_on_either_side_and_with_it_they_do_not():
    net = LinearClassifier(scale=0.5, dtype=torch.float64)
    x, y = net.inputs(60)
    settings = {"draws": 5, "steps": 30, "search_steps": 4, "lr": 0.05, "initial_c": 0.1, "eps": 1.0, "redraw": False}
    new = net.draw(200, seed=7)
    still = {}
    for kappa in (0.0, 1.0):
        x_adv = carlini_wagner(net, x, y, confidence=kappa, **settings)
        still[kappa] = float((net.logits(x_adv, new).mean(0).argmax(-1) == y).double().mean())
    assert still[0.0] > 0.2
    assert still[1.0] < 0.05


def test_a_descent_that_falls_no_more_is_stopped_where_draws_are_kept():
    net = LinearClassifier(classes=3, scale=0.1, dtype=torch.float64)
    settings = {"eps": 1.0, "draws": 2, "steps": 50, "search_steps": 2, "initial_c": 1e-4}
    costs = []
    for redraw in (True, False):
        net.cost.gradients = 0
        carlini_wagner(net, WIDE_X, WIDE_Y, redraw=redraw, **settings)
        costs.append(net.cost.gradients)
    assert costs[0] == 2 * len(WIDE_X) * 50 * 2
    assert costs[0] / 10 <= costs[1] < costs[0]


@pytest.mark.parametrize("redraw", [True, False])
def test_the_result_of_an_input_depends_on_no_other_input(redraw):
    settings = {"eps": [0.1, 1.0], "steps": 20, "search_steps": 3, "draws": 2, "redraw": redraw, "confidence": 0.3}
    whole = carlini_wagner(model(), X, Y, **settings)
    torch.testing.assert_close(carlini_wagner(model(), X[[4, 1]], Y[[4, 1]], **settings), whole[:, [4, 1]])
    torch.testing.assert_close(carlini_wagner(model(), X, Y, batch_size=4, **settings), whole)


def test_every_turn_has_the_same_draws():
    net, settings = model(), {"steps": 4, "search_steps": 2, "draws": 3, "seed": 1}
    for redraw in (True, False):
        used = provenance_of(carlini_wagner(net, X, Y, eps=0.1, redraw=redraw, **settings))
        of_one_turn = [sample.provenance for sample in draws_of_steps(net, 3, 4, redraw, 1)]
        assert used == of_one_turn * 2


def test_on_gradient_is_called_with_the_gradient_of_the_loss_at_x_first():
    net, calls = Deterministic(small_net(dtype=torch.float64)), []
    carlini_wagner(net, X, Y, eps=0.1, steps=2, search_steps=2, on_gradient=lambda *call: calls.append(call))
    assert [step for step, _ in calls] == [0, 1, 2, 3]
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cw(net.logits(x, net.mean()), Y).sum(), x)
    torch.testing.assert_close(calls[0][1], gradient)
    torch.testing.assert_close(calls[2][1], gradient)


@pytest.mark.parametrize("loss", [name for name in LOSSES if name not in ("cw", "margin")])
def test_losses_whose_sign_says_nothing_are_refused_before_any_work(loss):
    net = model()
    with raises_sentence("loss must be above 0 where the label has fallen, as 'cw' and 'margin' are; got"):
        carlini_wagner(net, X, Y, eps=0.1, loss=loss)
    assert net.cost.forwards == 0


def test_the_loss_may_be_the_margin_of_probabilities_or_a_function():
    settings = {"eps": 1.0, "steps": 10, "search_steps": 2, "confidence": 0.0, "initial_c": 1.0}
    by_name = carlini_wagner(model(), X, Y, loss="margin", **settings)
    assert not torch.equal(by_name, carlini_wagner(model(), X, Y, **settings))
    assert torch.equal(by_name, carlini_wagner(model(), X, Y, loss=lambda z, y: LOSSES["margin"](z, y), **settings))


def test_a_recipe_sets_the_search_and_not_the_norm():
    resolved = resolve_part("attack", ATTACKS, {"kind": "carlini_wagner", "search_steps": 3, "confidence": 0})
    assert (resolved.get("search_steps"), resolved.get("confidence"), all_arguments(ATTACKS, resolved)["norm"]) == (
        3,
        0,
        "l2",
    )
    for settings, message in (
        ({"search_steps": 0}, "search_steps must be a whole number, 1 or more; got 0"),
        ({"initial_c": 0.0}, "initial_c must be a number above 0; got 0.0"),
        ({"confidence": -1.0}, "confidence must be a finite number, 0 or more; got -1.0"),
        ({"norm": "l2"}, "unknown setting 'norm'"),
    ):
        with raises_sentence(message):
            resolve_part("attack", ATTACKS, {"kind": "carlini_wagner", **settings})
    for words in ({"search_steps": 0}, {"initial_c": 0.0}, {"confidence": -1.0}, {"lr": -0.1}):
        with raises_sentence(f"{next(iter(words))} must be"):
            carlini_wagner(model(), X, Y, eps=0.1, **words)
