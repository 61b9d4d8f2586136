"""A Gaussian for every weight: moments of its draws, its divergence, its settings."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import softplus

from oracles import raises_sentence, small_net
from unshaken.models import MeanField


def spread_model(net: nn.Module, **scales: float) -> MeanField:
    """A model whose standard deviations differ from weight to weight."""
    model = MeanField(net, **scales)
    with torch.no_grad():
        model.rho_vector.add_(torch.randn(model.rho_vector.shape, generator=torch.Generator().manual_seed(0)))
    return model


def test_the_logits_of_a_linear_network_have_the_mean_and_variance_of_the_closed_form():
    net, n = nn.Linear(6, 3).double(), 4000
    model = spread_model(net, initial_scale=0.3)
    x = torch.rand(5, 6, dtype=torch.float64)
    logits = model.logits(x, model.draw(n, seed=0))
    scale = model.views(softplus(model.rho_vector).detach())
    variance = x.square() @ scale["weight"].square().T + scale["bias"].square()
    assert ((logits.mean(0) - net(x)).abs() <= 4 * (variance / n).sqrt()).all()
    assert ((logits.var(0) / variance - 1).abs() <= 4 * math.sqrt(2 / n)).all()


def test_weights_are_drawn_independently():
    model = MeanField(nn.Linear(2, 2), initial_scale=1.0)
    drawn = torch.stack([torch.cat([t.flatten() for t in s.values()]) for s in model.draw(4000, seed=0)])
    assert ((drawn.T.corrcoef() - torch.eye(6)).abs() < 4 / math.sqrt(4000)).all()


def test_divergence_is_that_of_torch_distributions():
    model = spread_model(small_net(), prior_scale=0.7, initial_scale=0.3)
    posterior = Normal(model.mean_vector, softplus(model.rho_vector))
    torch.testing.assert_close(model.divergence(), kl_divergence(posterior, Normal(0.0, 0.7)).sum())
    assert model.divergence().requires_grad


def test_means_start_at_the_weights_of_the_network_and_scales_where_asked():
    net = small_net()
    model = MeanField(net, initial_scale=0.05)
    for name, tensor in net.named_parameters():
        assert torch.equal(model.views(model.mean_vector)[name], tensor)
    torch.testing.assert_close(softplus(model.rho_vector), torch.full_like(model.rho_vector, 0.05))


def test_the_network_is_copied():
    net = small_net()
    model = MeanField(net)
    with torch.no_grad():
        net[1].weight.zero_()
    assert next(iter(model.mean()))["1.weight"].any()


def test_the_mean_is_a_snapshot():
    model = MeanField(small_net())
    mean = model.mean()
    before = next(iter(mean))["1.weight"].clone()
    with torch.no_grad():
        model.mean_vector.add_(1)
    assert torch.equal(next(iter(mean))["1.weight"], before)


def test_training_reaches_means_and_scales_through_the_draws():
    model = MeanField(small_net())
    state = model.sampler()(0, 0)
    loss = model.forward(torch.rand(4, 1, 3, 4), state).square().sum()
    gradients = torch.autograd.grad(loss, model.parameters())
    assert all(gradient.any() for gradient in gradients)
    assert torch.equal(state["1.weight"], next(iter(model.draw(1, seed=0)))["1.weight"])


@pytest.mark.parametrize("name", ["prior_scale", "initial_scale"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "1"])
def test_a_scale_that_is_no_number_above_zero_is_refused(name, value):
    with raises_sentence(f"{name} must be a number above 0; got {value!r}"):
        MeanField(small_net(), **{name: value})


def test_a_network_without_parameters_is_refused():
    with raises_sentence("mean_field needs a network with parameters"):
        MeanField(nn.Flatten())


def test_a_gaussian_start_is_wide():
    torch.manual_seed(0)
    model = MeanField(small_net(hidden=400), initial="gaussian")
    for vector in (model.mean_vector, model.rho_vector):
        assert vector.mean().item() == pytest.approx(0, abs=0.05)
        assert vector.std().item() == pytest.approx(1, abs=0.05)
    with raises_sentence("unknown initial 'gausian': did you mean 'gaussian'"):
        MeanField(small_net(), initial="gausian")
