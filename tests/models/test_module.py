"""Somebody else's stochastic network: each draw repeats itself and nothing outside it notices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import Resampled, raises_sentence, small_inputs, small_net
from unshaken.models import SeededModule

X, _ = small_inputs()


def dropout_by_hand() -> nn.Module:
    net = small_net()
    net[3].train()
    return net


def batch_norm_in_train_mode() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 3))


NETS = [dropout_by_hand, lambda: small_net(layer=Resampled), batch_norm_in_train_mode]


@pytest.mark.parametrize("make", NETS)
def test_a_draw_repeats_itself_and_leaves_random_numbers_and_buffers_alone(make):
    net = make()
    model = SeededModule(net)
    modes = [module.training for module in net.modules()]
    buffers = [tensor.clone() for tensor in net.buffers()]
    random = torch.get_rng_state()
    one, other = (model.logits(X, model.draw(4, seed=1)) for _ in range(2))
    assert torch.equal(one, other)
    assert len(one.flatten(1).unique(dim=0)) == 4
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(a, b) for a, b in zip(buffers, net.buffers(), strict=True))
    assert [module.training for module in net.modules()] == modes


def test_a_draw_does_not_depend_on_the_random_numbers_outside():
    model = SeededModule(dropout_by_hand())
    before = model.logits(X, model.draw(2, seed=1))
    with torch.random.fork_rng():
        torch.manual_seed(123)
        assert torch.equal(model.logits(X, model.draw(2, seed=1)), before)


def test_a_draw_is_the_seeded_forward_pass():
    net = small_net(layer=Resampled)
    model = SeededModule(net)
    draws = model.draw(3, seed=5)
    for state, logits in zip(draws, model.logits(X, draws), strict=True):
        with torch.random.fork_rng():
            torch.manual_seed(int(state["seed"]))
            torch.testing.assert_close(net(X), logits)


def test_it_has_no_mean_network():
    with raises_sentence("a 'module' model has no mean network: attack it with a number of draws instead"):
        SeededModule(small_net()).mean()
