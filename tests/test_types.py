"""Numbers of NumPy are taken where Python's are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unshaken.attacks import carlini_wagner, pgd, spsa
from unshaken.data import load
from unshaken.evaluation.evaluate import evaluate
from unshaken.evaluation.predict import predict
from unshaken.models import Deterministic, MeanField, StochasticClassifier
from unshaken.models.smoothing import smoothing
from unshaken.networks import mlp
from unshaken.training import train

INTEGERS = (np.int64, np.int32)


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor]:
    x, y, *_ = load("digits", limit=12)
    return x, y


@pytest.fixture
def model() -> StochasticClassifier:
    torch.manual_seed(0)
    return MeanField(mlp((1, 8, 8), 10, widths=(8,)))


@pytest.mark.parametrize("integer", INTEGERS)
def test_an_attack_takes_them(model, data, integer) -> None:
    settings = {"draws": 2, "steps": 3, "restarts": 2, "batch_size": 5}
    numpy = {name: integer(value) for name, value in settings.items()}
    sizes = [0.25, 0.5]
    one = pgd(model, *data, eps=sizes, start="uniform", step_size=0.125, seed=1, **settings)
    eps = [np.float32(0.25), np.float64(0.5)]
    other = pgd(model, *data, eps=eps, start="uniform", step_size=np.float32(0.125), seed=integer(1), **numpy)
    assert torch.equal(one, other)
    for size in (np.float32(0.25), np.float64(0.25), integer(1)):
        assert torch.equal(
            pgd(model, *data, eps=size, draws=1, steps=1), pgd(model, *data, eps=float(size), draws=1, steps=1)
        )


@pytest.mark.parametrize("integer", INTEGERS)
@pytest.mark.parametrize(
    ("attack", "counts"),
    [(spsa, {"steps": 2, "directions": 2, "draws": 1}), (carlini_wagner, {"steps": 2, "search_steps": 1, "draws": 1})],
    ids=["spsa", "carlini_wagner"],
)
def test_other_attacks_take_them(model, data, integer, attack, counts) -> None:
    numpy = {name: integer(value) for name, value in counts.items()}
    one, other = attack(model, *data, eps=0.5, **counts), attack(model, *data, eps=np.float32(0.5), **numpy)
    assert torch.equal(one, other)


@pytest.mark.parametrize("integer", INTEGERS)
def test_evaluation_takes_them(model, data, integer) -> None:
    one = evaluate(model, *data, draws=3, repeats=2, seed=1, batch_size=5)
    other = evaluate(model, *data, draws=integer(3), repeats=integer(2), seed=integer(1), batch_size=integer(5))
    assert one.equals(other)
    draws, same = model.draw(integer(4), seed=integer(1)), model.draw(4, seed=1)
    assert torch.equal(
        predict(model, data[0], draws, batch_size=integer(5)), predict(model, data[0], same, batch_size=5)
    )


@pytest.mark.parametrize("integer", INTEGERS)
def test_training_takes_them(data, integer) -> None:
    def trained(number: type, real: type) -> tuple[list[float], StochasticClassifier]:
        torch.manual_seed(0)
        net = mlp((1, 8, 8), 10, widths=(number(8),))
        model = MeanField(net, prior_scale=real(0.5), initial_scale=real(0.125))
        history = train(model, *data, epochs=number(2), batch_size=number(5), updates=number(1), seed=number(1))
        return [epoch.loss for epoch in history], model

    one, other = trained(int, float), trained(integer, np.float32)
    assert one[0] == other[0]
    for a, b in zip(one[1].tensors().values(), other[1].tensors().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("integer", INTEGERS)
def test_data_and_other_models_take_them(data, integer) -> None:
    one = load("digits", limit=5, seed=1, size=6)
    assert torch.equal(load("digits", limit=integer(5), seed=integer(1), size=integer(6)).x, one.x)
    shares = {"held_out": 0.25, "validation": 0.5}
    one = load("digits", split="train", **shares)
    other = load("digits", split="train", **{name: np.float32(share) for name, share in shares.items()})
    assert torch.equal(one.x, other.x)
    net = mlp((1, 8, 8), 10)
    smoothed = smoothing(net, (1, 8, 8), sigma=np.float32(0.25), noises=integer(2), base=Deterministic)
    assert smoothed.draw(integer(1), seed=0) is not None
