"""A plain network as a model: it shares the network's tensors, and every draw is the network."""

from __future__ import annotations

import torch
from torch import nn

from oracles import small_inputs, small_net
from unshaken.models import Deterministic
from unshaken.models.base import mode


def test_every_draw_is_the_network_in_eval_mode_at_the_weights_it_has_now():
    net, (x, _) = small_net(), small_inputs()
    model = Deterministic(net.train())
    draws = model.draw(3)
    assert draws.seed is None
    for _ in range(2):
        torch.testing.assert_close(model.logits(x, draws), model.net(x).expand(3, -1, -1))
        with torch.no_grad():
            net[1].weight.mul_(2)  # training the user's network trains the model
    assert not torch.equal(net(x), net(x))  # the user's network is still in train mode, with dropout


def test_its_parameters_are_those_of_the_network():
    net = small_net()
    assert [id(p) for p in Deterministic(net).parameters()] == [id(p) for p in net.parameters()]


def passes(net: nn.Module, draws: int) -> tuple[torch.Tensor, int]:
    """The logits of training, and how many passes they took."""
    seen, model = [], Deterministic(net)
    model.net.register_forward_hook(lambda *_: seen.append(1))
    with mode(model.net, training=True):
        return model.training_logits(torch.rand(4, 3), draws, 0), len(seen)


def test_training_takes_one_pass_for_draws_that_are_the_same():
    net = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    logits, count = passes(net, 7)
    assert logits.shape == (7, 4, 5)
    assert count == 1
    assert net[1].num_batches_tracked == 1  # a batch is counted once
    logits, count = passes(nn.Sequential(nn.Linear(3, 5), nn.Dropout()), 7)
    assert count == 7
    assert len(logits.detach().unique(dim=0)) == 7
