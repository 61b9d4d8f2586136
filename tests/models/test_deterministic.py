"""A plain network as a model: it shares the network's tensors, and every draw is the network."""

from __future__ import annotations

import torch

from oracles import small_inputs, small_net
from unshaken.models import Deterministic


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
