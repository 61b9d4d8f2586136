"""Doubling of steps until they no longer help."""

from __future__ import annotations

import sys

import pytest
import torch

from oracles import raises_sentence, small_inputs, small_model
from unshaken.attacks import doubling, pgd
from unshaken.evaluation.predict import predict
from unshaken.models import derive

X = small_inputs(30)[0]
HOW = {"eps": 0.08, "draws": "all", "loss": "cw", "start": "uniform"}


def right(model, x: torch.Tensor) -> torch.Tensor:
    return predict(model, x, model.all()).argmax(-1) == Y


def ensemble():
    """Two members that are right on every input, whose biases do not decide."""
    model = small_model("ensemble", hidden=32)
    with torch.no_grad():
        for name, tensor in model.tensors().items():
            tensor.mul_(0.0 if name.endswith("bias") else 3.0)
        model.tensors()["member1.1.bias"].sub_(model.tensors()["member1.1.weight"].sum(1) / 2)
        model.tensors()["member2.1.bias"].sub_(model.tensors()["member2.1.weight"].sum(1) / 2)
    return model


Y = predict(ensemble(), X, ensemble().all()).argmax(-1)


def test_it_is_at_least_as_strong_as_each_of_its_rounds() -> None:
    model = ensemble()
    whole = right(model, doubling(model, X, Y, steps=2, most_steps=16, rise=0.0, seed=1, **HOW))
    for steps in (2, 4, 8, 16):
        assert whole.sum() <= right(model, pgd(model, X, Y, steps=steps, seed=derive(1, "round", steps), **HOW)).sum()


def test_rounds_end_when_they_no_longer_help() -> None:
    model = ensemble()
    before = model.cost.gradients
    doubling(model, X, Y, steps=2, most_steps=64, rise=1e9, seed=1, **HOW)
    assert model.cost.gradients - before <= 2 * len(X) * (2 + 4)  # the second round raised no loss by so much
    before = model.cost.gradients
    doubling(model, X, Y, steps=2, most_steps=2, rise=0.0, seed=1, **HOW)
    assert model.cost.gradients - before == 2 * len(X) * 2


def test_inputs_that_fell_are_left_alone() -> None:
    model = ensemble()
    before = model.cost.gradients
    x_adv = doubling(model, X, Y, steps=2, most_steps=4, rise=0.0, seed=1, **HOW | {"eps": 1.0})
    assert not right(model, x_adv).any()
    assert model.cost.gradients - before < 2 * len(X) * (2 + 4)


def test_inputs_that_fall_in_a_later_round_are_left_alone_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model, done, rounds = ensemble(), set[int](), []

    def recorded_pgd(model, x, y, **settings):
        x_adv = pgd(model, x, y, **settings)
        rounds.append(len(x))
        assert done.isdisjoint(settings["indices"])
        fooled_now = predict(model, x_adv, model.all()).argmax(-1) != y
        done.update(index for index, fooled in zip(settings["indices"], fooled_now.tolist(), strict=True) if fooled)
        return x_adv

    monkeypatch.setattr(sys.modules["unshaken.attacks.doubling"], "pgd", recorded_pgd)
    doubling(model, X, Y, steps=1, most_steps=64, rise=0.0, step_size=0.004, seed=1, **HOW)
    assert len(rounds) > 3
    assert rounds[2] < rounds[1]


def test_the_last_round_is_not_shorter_than_the_first() -> None:
    with raises_sentence("most_steps must be at least the 10 steps of the first round; got 5"):
        doubling(ensemble(), X, Y, most_steps=5, **HOW)


def test_a_loss_of_latents_is_refused() -> None:
    with raises_sentence("doubling ends where the label has fallen, which a loss of latents does not aim at: use pgd"):
        doubling(ensemble(), X, Y, **HOW | {"loss": "latent_shift"})


def test_what_takes_the_label_is_kept_though_another_has_a_larger_loss() -> None:
    y = torch.zeros(1, dtype=torch.int64)
    model, x = small_model("ensemble", hidden=32), X[:1]
    losses = iter([torch.tensor([2.0]), torch.tensor([-1.0]), torch.tensor([1.0]), torch.tensor([1.0])])
    candidates = []

    def losses_under(model, inputs, *rest):
        candidates.append(inputs.clone())
        return next(losses, torch.tensor([1.0]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["unshaken.attacks.doubling"], "losses_under", losses_under)
        x_adv = doubling(model, x, y, steps=1, most_steps=2, seed=1, **HOW)
    assert not torch.equal(candidates[0], candidates[2])
    assert torch.equal(x_adv, candidates[2])  # loss 1 after 2, but the label is lost
