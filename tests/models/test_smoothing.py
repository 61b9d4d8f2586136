"""Smoothing: Gaussian noise on the input of any model, as a part of its draws."""

from __future__ import annotations

import pytest
import torch

from oracles import SHAPE, Resampled, raises_sentence, small_inputs, small_net
from unshaken.attacks import mean, pgd
from unshaken.models import Deterministic, Dropout, MatrixGaussian, MeanField, SeededModule, Smoothing
from unshaken.models.execution import logits_by_loop, logits_by_vmap
from unshaken.models.smoothing import NOISE, smoothing
from unshaken.training.objectives import elbo

X, Y = small_inputs()
BASES = {
    "deterministic": Deterministic,
    "mean_field": MeanField,
    "matrix_gaussian": MatrixGaussian,
    "dropout": lambda net: Dropout(net, SHAPE),
    "module": SeededModule,
}
MORE = {"smoothing": lambda net: Smoothing(MeanField(net), SHAPE, sigma=0.1)}


def smoothed(base: str = "mean_field", **settings) -> Smoothing:
    net = small_net(layer=Resampled) if base == "module" else small_net()
    return Smoothing((BASES | MORE)[base](net), SHAPE, **{"sigma": 0.3, **settings})


@pytest.mark.parametrize("base", BASES)
def test_a_draw_is_one_of_the_model_with_one_noise_for_all_inputs(base):
    model = smoothed(base)
    draws = model.draw(3, seed=1)
    for s, state in enumerate(draws):
        noise = state.pop(NOISE)
        assert noise.shape == SHAPE
        expected = model.model.forward(X + noise, state)
        torch.testing.assert_close(model.logits(X, draws[s : s + 1])[0], expected)


def test_the_noise_is_gaussian_and_the_model_keeps_its_own_draws():
    model = smoothed(sigma=0.3)
    drawn = model.draw(3000, seed=1).stack()
    assert drawn[NOISE].std() == pytest.approx(0.3, rel=0.02)
    assert drawn[NOISE].mean() == pytest.approx(0, abs=0.01)
    inner = model.model.draw(2, seed=1).stack()  # of another stream: the same seed makes no common draws
    assert all(tensor.shape == drawn[name][:2].shape for name, tensor in inner.items())
    assert not any(torch.equal(drawn[name][:2], tensor) for name, tensor in inner.items())


def test_several_noises_can_share_a_draw_of_the_model():
    drawn = smoothed(noises=4).draw(8, seed=1).stack()
    weight = drawn["1.weight"].flatten(1)
    assert len(weight.unique(dim=0)) == 2
    assert torch.equal(weight[0], weight[3])
    assert len(drawn[NOISE].flatten(1).unique(dim=0)) == 8


def test_noise_can_be_vectorised():
    model = smoothed("dropout")
    draws = model.draw(4, seed=1)
    torch.testing.assert_close(logits_by_vmap(model, X, draws), logits_by_loop(model, X, draws))


def test_mean_is_the_mean_network_without_noise():
    model = smoothed()
    assert torch.equal(model.logits(X, model.mean()), model.model.logits(X, model.model.mean()))
    assert torch.equal(mean(model, X, Y, eps=0.1), mean(model.model, X, Y, eps=0.1))


@pytest.mark.parametrize("base", [Deterministic, MeanField])
def test_moments_know_the_noise(base):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    model = Smoothing(base(net), SHAPE, sigma=0.2)
    expected, variance = model.moments(X)
    drawn = model.logits(X, model.draw(4000, seed=1)).detach()
    assert ((expected - drawn.mean(0)) / drawn.std(0)).abs().max() < 0.1
    assert (variance.sqrt() / drawn.std(0) - 1).abs().max() < 0.1


def test_it_is_trained_as_its_model_is():
    model = smoothed()
    one = elbo(model, X, Y, examples=10, seed=0, draws=2)
    assert torch.equal(one, elbo(model.model, X, Y, examples=10, seed=0, draws=2))
    assert model.parameters() == model.model.parameters()


def test_passes_are_counted_once_and_an_attack_is_of_draws_with_noise():
    model = smoothed()
    pgd(model, X, Y, eps=0.1, draws=3, steps=2)
    assert (model.cost.forwards, model.cost.gradients) == (6 * len(X), 6 * len(X))


def test_by_name_it_wraps_a_model_of_any_kind():
    model = smoothing(small_net(), SHAPE, sigma=0.1, base=Dropout, noises=2)
    assert (type(model.model), model.noises, model.sigma) == (Dropout, 2, 0.1)
    assert type(smoothing(small_net(), SHAPE, sigma=0.1).model) is Deterministic


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigma": 0.0}, "sigma must be a number above 0; got 0.0"),
        ({"sigma": -0.1}, "sigma must be a number above 0; got -0.1"),
        ({"base": "smoothing"}, "the model has input noise already"),
        ({"noises": 0}, "noises must be a whole number, 1 or more; got 0"),
    ],
)
def test_no_noise_is_refused(settings, message):
    with raises_sentence(message):
        smoothed(**settings)


def test_a_shape_other_than_the_models_is_refused():
    with raises_sentence(r"shape must be that of the model's inputs, \(1, 3, 4\); got \(1, 4, 4\)"):
        Smoothing(Dropout(small_net(), SHAPE), (1, 4, 4), sigma=0.1)


def test_inputs_of_another_shape_are_refused():
    with raises_sentence(r"this model is for inputs of shape \(1, 3, 4\); got \(1, 4, 3\)"):
        smoothed().logits(X.transpose(2, 3), smoothed().draw(1, seed=0))
