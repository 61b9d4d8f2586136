"""How networks are run: vectorised passes and the loop behind them, memory order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import Branching, small_inputs, small_model
from unshaken.attacks import pgd
from unshaken.models import Deterministic, MeanField
from unshaken.models.execution import SMALL_BATCH, logits_by_loop

X, _ = small_inputs()


def test_a_network_that_cannot_be_vectorised_is_looped_over_from_then_on():
    model = MeanField(Branching(), initial_scale=0.2)
    draws = model.draw(4, seed=0)
    torch.testing.assert_close(model.logits(X[:2], draws), logits_by_loop(model, X[:2], draws))
    assert not model.execution.vectorises


def test_an_input_of_the_wrong_size_is_no_reason_to_stop_vectorising():
    model = small_model("mean_field")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        model.logits(torch.rand(2, 1, 5, 5), model.draw(4, seed=0))
    assert model.execution.vectorises


def test_small_batches_are_vectorised_and_large_ones_looped_over():
    model = small_model("mean_field")
    assert model.execution.vmap_wins(torch.rand(SMALL_BATCH, 1, 3, 4))
    assert not model.execution.vmap_wins(torch.rand(17, 1, 3, 4))
    draws = model.draw(3, seed=0)
    x = torch.rand(20, 1, 3, 4)
    torch.testing.assert_close(model.logits(x, draws)[:, :5], model.logits(x[:5], draws))


class Viewed(nn.Module):
    """A network of somebody's own whose forward pass counts on the usual memory order."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Conv2d(1, 3, 3), nn.Linear(3 * 16, 3)

    def forward(self, x):
        h = self.layer(x)
        return self.last(h.view(len(h), -1))


def test_a_forward_pass_of_ones_own_gets_inputs_in_the_usual_memory_order():
    x = torch.rand(5, 1, 6, 6)
    model = MeanField(Viewed())
    assert model.logits(x, model.draw(2, seed=0)).shape == (2, 5, 3)


def test_flat_inputs_that_the_network_folds_itself():
    net = MeanField(nn.Sequential(nn.Unflatten(1, (1, 6, 6)), nn.Conv2d(1, 3, 3), nn.Flatten()))
    x, y = torch.rand(5, 36), torch.zeros(5, dtype=torch.int64)
    assert pgd(net, x, y, eps=0.1, draws=2, steps=2).shape == x.shape


@pytest.mark.parametrize("channels", [1, 3])
def test_the_memory_order_of_inputs_changes_speed_not_results(channels):
    x = torch.rand(5, channels, 6, 6)
    net = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)).eval()
    model = Deterministic(net)
    assert model.execution.memory_order(x).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(model.logits(x, model.mean())[0], net(x))
    x_adv = pgd(model, x, torch.zeros(5, dtype=torch.int64), eps=0.1)
    assert x_adv.is_contiguous()
