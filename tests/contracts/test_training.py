"""Every function of training inputs and every objective of the dicts, in its plain case."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from oracles import raises_sentence
from unshaken.models import Deterministic, MeanField, StochasticClassifier
from unshaken.networks import mlp
from unshaken.networks.dense import vae
from unshaken.training import INPUTS, OBJECTIVES
from unshaken.training.inputs import Batch, Points, with_augmentation
from unshaken.training.objectives import UNLABELLED, elbo

# the settings in which inputs are as they were
PLAIN = {
    "adversarial": {"eps": 0.0, "probability": 1.0},
    "constant_noise": {"size": 0.0, "copies": 1},
    "variable_noise": {"size": 0.0, "copies": 1},
    "langevin": {"step_size": 1e-12, "cost": 0.0, "temperature": 0.0},
    "wasserstein": {"weight": 1e-12},
}
INDICES = torch.arange(6)


def minibatch(
    name: str, model: StochasticClassifier, x: torch.Tensor, y: torch.Tensor, seed: int, **settings: Any
) -> Batch:
    """A minibatch as a function of the dict makes it."""
    make = with_augmentation(partial(INPUTS[name], **PLAIN.get(name, {}) | settings))
    return make(model, x, y, Points(INDICES, torch.zeros_like(INDICES), 0, seed), lambda images: images, seed)


def network(name: str) -> torch.nn.Module:
    """A network for this objective."""
    return vae((1, 3, 3), 3, latent=2, widths=(5,)) if OBJECTIVES[name] in UNLABELLED else mlp((1, 3, 3), 3)


def objective(name: str) -> Callable[..., torch.Tensor]:
    """An objective of the dict; one that compares the inputs with what they were finds them unchanged."""
    function = OBJECTIVES[name]
    if "before" not in inspect.signature(function).parameters:
        return function
    return lambda model, x, y, **settings: function(model, x, y, before=x, **settings)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(6, 1, 3, 3), torch.arange(6) % 3


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_stay_in_the_box_and_follow_the_seed(name: str, batch) -> None:
    model = Deterministic(mlp((1, 3, 3), 3))
    (x, y, _), (again, _, _) = [minibatch(name, model, *batch, seed=1) for _ in range(2)]
    assert x.shape[1:] == batch[0].shape[1:]
    assert len(x) == len(y)
    assert torch.equal(x, again)
    assert x.min() >= 0
    assert x.max() <= 1


@pytest.mark.parametrize("name", INPUTS)
def test_in_their_plain_case_inputs_are_as_they_were(name: str, batch) -> None:
    x, y, _ = minibatch(name, Deterministic(mlp((1, 3, 3), 3)), *batch, seed=0)
    assert torch.equal(x, batch[0])
    assert torch.equal(y, batch[1])


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if OBJECTIVES[name] not in UNLABELLED])
def test_an_objective_is_the_cross_entropy_on_a_network_without_randomness(name: str, batch) -> None:
    net, (x, y) = mlp((1, 3, 3), 3), batch
    value = objective(name)(Deterministic(net), x, y, examples=100, seed=0)
    assert value.item() == pytest.approx(cross_entropy(net(x), y).item(), abs=1e-6)
    value.backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_empirical_risk_is_the_mean_over_draws(batch) -> None:
    model, (x, y) = MeanField(mlp((1, 3, 3), 3), initial_scale=0.5), batch
    draws = [cross_entropy(model.logits(x, draw)[0], y) for draw in model.draw(3, seed=4).chunks(1)]
    risk = OBJECTIVES["cross_entropy"](model, x, y, examples=60, seed=4, draws=3)
    assert risk.item() == pytest.approx(float(sum(draws)) / 3, rel=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_reaches_every_parameter(name: str, batch) -> None:
    model = MeanField(network(name))
    objective(name)(model, *batch, examples=100, seed=0, draws=2).backward()
    assert all(bool((parameter.grad != 0).any()) for parameter in model.parameters())


def test_a_mixture_is_the_log_of_the_mean_likelihood(batch) -> None:
    model, (x, y) = MeanField(mlp((1, 3, 3), 3), initial_scale=0.5), batch
    likelihood = model.logits(x, model.draw(3, seed=4)).detach().softmax(-1)[:, range(6), y].mean(0)
    fit, kl = -float(likelihood.log().mean()), float(model.divergence().detach())
    for settings, weight in (({}, 1 / 60), ({"kl_weight": 0.01}, 0.01), ({"kl_weight": 0.0}, 0.0)):
        value = OBJECTIVES["mixture"](model, x, y, examples=60, seed=4, draws=3, **settings)
        assert value.item() == pytest.approx(fit + weight * kl, rel=1e-5)


def test_a_mixture_of_one_draw_is_the_elbo(batch) -> None:
    model = MeanField(mlp((1, 3, 3), 3), initial_scale=0.5)
    one, other = (objective(name)(model, *batch, examples=60, seed=4, draws=1) for name in ("elbo", "mixture"))
    assert one.item() == pytest.approx(other.item(), rel=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_draws_are_refused(name: str, batch) -> None:
    with raises_sentence("draws must be a whole number, 1 or more; got 0"):
        objective(name)(MeanField(network(name)), *batch, examples=60, seed=4, draws=0)


def test_the_elbo_counts_the_kl_once_in_a_pass_over_the_data(batch) -> None:
    model, (x, y) = MeanField(mlp((1, 3, 3), 3)), batch
    settings = {"examples": 60, "seed": 3}
    fit = OBJECTIVES["cross_entropy"](model, x, y, **settings)
    kl = model.divergence()
    assert elbo(model, x, y, **settings).item() == pytest.approx((fit + kl / 60).item(), rel=1e-6)
    assert elbo(model, x, y, **settings, kl_scale=0.5).item() == pytest.approx((fit + kl / 120).item(), rel=1e-6)
