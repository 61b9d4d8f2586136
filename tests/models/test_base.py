"""What all models share: fixed tensors, the mean network and draws of it, files."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import Branching, small_inputs, small_net
from unshaken.models import Deterministic, MeanField, SeededModule

X, _ = small_inputs()


class Tied(nn.Module):
    """The same weight is used by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(12, 12), nn.Linear(12, 12)
        self.outer.weight = self.inner.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(self.inner(x.flatten(1)).relu())


def batch_norm_net() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))
    with torch.no_grad():
        net(5 * torch.rand(64, 1, 3, 4))  # running statistics that are not the initial ones
    return net


@pytest.mark.parametrize("make", [Tied, batch_norm_net, Branching, small_net])
@pytest.mark.parametrize("kind", [Deterministic, MeanField])
def test_the_mean_network_is_the_network_itself_in_eval_mode(kind, make):
    net = make()
    model = kind(net)
    torch.testing.assert_close(model.logits(X, model.mean())[0], net.eval()(X))


@pytest.mark.parametrize("make", [Tied, batch_norm_net, Branching])
def test_mean_field_draws_are_networks_with_the_drawn_weights(make):
    net = make()
    model = MeanField(net, initial_scale=0.1)
    draws = model.draw(4, seed=0)
    drawn = model.logits(X, draws)
    for state, logits in zip(draws, drawn, strict=True):
        with torch.no_grad():
            for name, tensor in net.named_parameters():
                tensor.copy_(state[name])
        torch.testing.assert_close(net.eval()(X), logits)


@pytest.mark.parametrize("make", [Tied, batch_norm_net])
@pytest.mark.parametrize("kind", [Deterministic, MeanField, SeededModule])
def test_buffers_and_tied_weights_are_saved_and_loaded(kind, make, tmp_path):
    model, other = kind(make().eval()), kind(make().eval())
    expected = model.logits(X, model.draw(3, seed=0))
    assert not torch.allclose(other.logits(X, other.draw(3, seed=0)), expected)
    model.save(tmp_path / "model")
    other.load(tmp_path / "model")
    assert torch.equal(other.logits(X, other.draw(3, seed=0)), expected)
