"""A new kind of model: one method, and everything that other models can do works for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from oracles import raises_sentence, small_inputs, small_net
from unshaken.attacks import pgd
from unshaken.evaluation.evaluate import evaluate
from unshaken.models import StochasticClassifier, load_draws, shared_draws
from unshaken.models.draws import generator
from unshaken.models.execution import logits_by_loop, logits_by_vmap
from unshaken.models.latents import latents
from unshaken.training import train
from unshaken.types import State

X, _ = small_inputs(20)


class ScaledInputs(StochasticClassifier):
    """Every draw multiplies each entry of the input by a factor from N(1, 0.1²)."""

    kind = "scaled_inputs"

    def sampler(self) -> Callable[[int, int], State]:
        weight = self.net[1].weight.clone()

        def sample(seed: int, index: int) -> State:
            return {"1.weight": weight * (1 + 0.1 * torch.randn(weight.shape[1], generator=generator(seed, index)))}

        return sample


def model(seed: int = 0) -> ScaledInputs:
    return ScaledInputs(small_net(seed))


def test_draws_differ_and_have_logits_one_by_one_or_vectorised() -> None:
    scaled = model()
    draws = scaled.draw(5, seed=1)
    logits = scaled.logits(X, draws)
    assert len(logits.flatten(1).unique(dim=0)) == 5
    torch.testing.assert_close(logits_by_loop(scaled, X, draws), logits)
    torch.testing.assert_close(logits_by_vmap(scaled, X, draws), logits)
    net = small_net()
    net.load_state_dict(scaled.net.state_dict() | next(iter(draws)))
    torch.testing.assert_close(net(X), logits[0])


def test_it_is_trained_attacked_and_evaluated() -> None:
    scaled, y = model(), (X[:, 0, 0, 0] > 0.5).long()
    train(scaled, X, y, optimizer=partial(torch.optim.Adam, lr=0.02), epochs=40, batch_size=10)
    draws = scaled.draw(20, seed=2)
    x_adv = pgd(scaled, X, y, eps=0.3, draws=10, steps=5, seed=3)
    assert 0 < (x_adv - X).abs().max() <= 0.3 + 1e-6
    assert shared_draws(x_adv, draws) == 0
    clean, attacked = (evaluate(scaled, inputs, y, draws=draws).correct.mean() for inputs in (X, x_adv))
    assert clean > 0.8
    assert attacked < 0.2


def test_it_and_its_draws_are_saved_and_loaded(tmp_path) -> None:
    scaled, other = model(), model(seed=1)
    scaled.save(tmp_path / "model")
    other.load(tmp_path / "model")
    draws = scaled.draw(3, seed=1)
    draws.save(tmp_path / "draws")
    expected = scaled.logits(X, draws)
    assert torch.equal(other.logits(X, other.draw(3, seed=1)), expected)
    assert torch.equal(other.logits(X, load_draws(tmp_path / "draws")), expected)


def test_what_it_does_not_have_is_a_sentence() -> None:
    scaled = model()
    with raises_sentence("a 'scaled_inputs' model has no mean network"):
        pgd(scaled, X, torch.zeros(len(X)).long(), eps=0.1, draws="mean")
    with raises_sentence("a 'scaled_inputs' model has no mean network"):
        pgd(scaled, X, torch.zeros(len(X)).long(), eps=0.1, draws="moments")
    with raises_sentence(r"latents are those of a network with encode\(\)"):
        latents(scaled, X, scaled.draw(2, seed=0))
