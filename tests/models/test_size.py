"""Parameters and operations of a model, against counts made by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import SHAPE, small_inputs, small_model, small_net, wrap
from unshaken.models import MODELS, Chain, Deterministic, Ensemble, MeanField, SeededModule, Smoothing, mean_network
from unshaken.models.size import flops, parameters
from unshaken.networks import resnet18

X, _ = small_inputs(1)
WEIGHTS = (12 + 1) * 16 + (16 + 1) * 3  # of `small_net`
PASS = 2 * (12 * 16 + 16 * 3)
LEARNT = {
    "mean_field": 2 * WEIGHTS,
    "matrix_gaussian": WEIGHTS + (13 + 16) + (17 + 3),
    "smoothing": 2 * WEIGHTS,  # of a mean-field network, as in the oracles
    "matrix_estimation": 2 * WEIGHTS,
    "chain": 4 * WEIGHTS,
    "ensemble": 2 * WEIGHTS,
}


@pytest.mark.parametrize("kind", MODELS)
def test_parameters_are_what_is_learnt_and_stored(kind):
    assert parameters(small_model(kind)) == LEARNT.get(kind, WEIGHTS)


@pytest.mark.parametrize("kind", MODELS)
def test_a_prediction_costs_a_pass_for_each_draw_or_one_where_nothing_is_random(kind):
    model = small_model(kind)
    estimate = 2 * 3 * 4 * 3 + 2 * (3 * 3 * 4) * 2 if kind == "matrix_estimation" else 0  # M·Mᵀ, Uᵀ·M, and U times that
    passes = 1 if kind in ("deterministic", "mean_network") else 7
    assert flops(model, X, model.draw(7, seed=1)) == passes * (PASS + estimate)
    assert flops(model, X.expand(5, -1, -1, -1), model.draw(1, seed=1)) == 5 * (PASS + estimate)
    assert flops(model, X, model.draw(7_000, seed=1)) == max(1, 1_000 * (passes > 1)) * passes * (PASS + estimate)


def test_stored_states_take_the_place_of_the_chains():
    model = Chain(small_net(), chains=2)
    assert parameters(model) == 2 * WEIGHTS
    for _ in range(3):
        model.keep_state()
    assert parameters(model) == 6 * WEIGHTS
    assert parameters(Smoothing(model, SHAPE, sigma=0.1)) == 6 * WEIGHTS
    assert parameters(mean_network(small_net(), SHAPE, base=Chain)) == WEIGHTS


@pytest.mark.parametrize("kind", ["deterministic", "mean_field", "matrix_gaussian", "chain"])
def test_buffers_are_no_parameters_and_a_shared_layer_counts_once(kind):
    torch.manual_seed(0)
    net = resnet18((1, 4, 4), 3, width=2)
    learnt = sum(tensor.numel() for tensor in net.parameters())
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    sides = sum(layer.weight[0].numel() + len(layer.weight) + (layer.bias is not None) for layer in layers)
    times, more = {"mean_field": (2, 0), "chain": (4, 0), "matrix_gaussian": (1, sides)}.get(kind, (1, 0))
    assert parameters(wrap(kind, net)) == times * learnt + more
    if kind in ("deterministic", "chain"):
        square = nn.Linear(5, 5)
        assert parameters(wrap(kind, nn.Sequential(square, nn.ReLU(), square))) == times * 30


def test_a_layer_counts_that_has_the_name_of_a_buffer_outside_it():
    net = nn.Sequential()
    net.register_buffer("weight", torch.ones(3))
    net.append(nn.Linear(4, 5))
    assert parameters(Deterministic(net)) == 25


def test_draws_of_a_wrapped_ensemble_cost_what_their_members_cost():
    pair = Ensemble(
        [
            nn.Sequential(nn.Flatten(), nn.Linear(9, 5)),
            nn.Sequential(nn.Flatten(), nn.Linear(9, 5, bias=False), nn.Linear(5, 5)),
        ]
    )
    x = torch.rand(1, 1, 3, 3)
    small, large = 2 * 9 * 5, 2 * 9 * 5 + 2 * 5 * 5
    noisy = Smoothing(pair, (1, 3, 3), sigma=0.1)
    for seed in range(3):
        assert flops(noisy, x, noisy.draw(4, seed=seed)) == 2 * (small + large)


def test_convolutions_are_counted_by_what_they_put_out():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Flatten())
    first, second = 2 * (9 * 2) * 3 * 8 * 8, 2 * (9 * 3) * 4 * 4 * 4
    model = MeanField(net)
    assert flops(model, torch.rand(1, 2, 8, 8), model.draw(3, seed=0)) == 3 * (first + second)


def test_counting_leaves_the_network_as_it_was():
    net = small_net()
    before = torch.random.get_rng_state()
    for model in (Deterministic(net), SeededModule(net)):
        assert flops(model, X, model.draw(2, seed=0)) > 0
    assert torch.equal(before, torch.random.get_rng_state())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in net.modules())
