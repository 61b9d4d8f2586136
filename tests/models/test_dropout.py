"""MC dropout: one mask for each draw, shared by all inputs; the mean network has dropout off."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import SHAPE, raises_sentence, small_inputs, small_net
from unshaken.attacks import moments
from unshaken.models import Deterministic, Dropout
from unshaken.models.execution import logits_by_loop, logits_by_vmap
from unshaken.training.objectives import cross_entropy

X, Y = small_inputs()


class Twice(nn.Module):
    """One dropout layer that the forward pass calls twice."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.first, self.second = nn.Dropout(0.5), nn.Linear(12, 20), nn.Linear(20, 3)

    def forward(self, x):
        return self.second(self.drop(self.first(self.drop(x.flatten(1))).relu()))


class Unused(nn.Module):
    """A dropout layer that the forward pass leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(12, 3)

    def forward(self, x):
        return self.last(x.flatten(1))


class Growing(Unused):
    """A dropout layer that is called once, and later twice."""

    times = 1

    def forward(self, x):
        for _ in range(self.times):
            x = self.drop(x)
        return super().forward(x)


def convolutional(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 6, 2), nn.BatchNorm2d(6), layer, nn.Flatten(), nn.Linear(36, 3)).eval()


def test_a_draw_is_the_network_with_one_mask():
    net = small_net()
    model = Dropout(net, SHAPE)
    for state, logits in zip(model.draw(3, seed=1), model.logits(X, model.draw(3, seed=1)), strict=True):
        (mask,) = state.values()
        assert set(mask.tolist()) == {0.0, 2.0}
        torch.testing.assert_close(logits, net[4](mask * net[2](net[1](net[0](X)))))


def test_a_mask_keeps_its_share_with_mean_one():
    masks = Dropout(nn.Sequential(nn.Flatten(), nn.Linear(12, 50), nn.Dropout(0.3)), SHAPE).draw(400, seed=0).stack()
    (mask,) = masks.values()
    assert (mask > 0).float().mean() == pytest.approx(0.7, abs=0.01)
    assert mask.mean() == pytest.approx(1, abs=0.02)


def test_the_mean_network_has_dropout_off():
    net = small_net()
    model = Dropout(net, SHAPE)
    torch.testing.assert_close(model.logits(X, model.mean())[0], net(X))


def test_a_layer_that_is_called_twice_has_two_masks():
    model = Dropout(Twice(), SHAPE)
    state = next(iter(model.draw(1, seed=0)))
    assert {name: tuple(mask.shape) for name, mask in state.items()} == {"drop.mask0": (12,), "drop.mask1": (20,)}
    net = model.net
    by_hand = net.second(state["drop.mask1"] * net.first(state["drop.mask0"] * X.flatten(1)).relu())
    torch.testing.assert_close(model.logits(X, model.draw(1, seed=0))[0], by_hand)
    draws = model.draw(4, seed=2)
    torch.testing.assert_close(logits_by_vmap(model, X, draws), logits_by_loop(model, X, draws))


@pytest.mark.parametrize(("layer", "shape"), [(nn.Dropout(0.5), (6, 2, 3)), (nn.Dropout2d(0.5), (6, 1, 1))])
def test_dropout2d_drops_whole_channels(layer, shape):
    model = Dropout(convolutional(layer), SHAPE)
    (mask,) = next(iter(model.draw(1, seed=0))).values()
    assert mask.shape == shape
    draws = model.draw(3, seed=1)
    torch.testing.assert_close(logits_by_vmap(model, X, draws), logits_by_loop(model, X, draws))


def test_training_has_a_mask_for_every_input_and_follows_the_seed():
    model = Dropout(small_net(hidden=64), SHAPE)
    same = X[:1].repeat(20, 1, 1, 1)
    state = torch.random.get_rng_state()
    logits = model.training_logits(same, 3, 1)
    assert len(logits.flatten(0, 1).unique(dim=0)) == 60
    assert torch.equal(logits, model.training_logits(same, 3, 1))
    assert not torch.equal(logits, model.training_logits(same, 3, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    cross_entropy(model, X, Y, examples=10, seed=0).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert torch.equal(model.logits(same, model.mean())[0, 0], model.logits(same, model.mean())[0, 1])


def test_dropout_of_a_network_that_is_no_part_of_the_draws_follows_the_seed_in_training():
    model = Deterministic(small_net(hidden=64))
    model.net.train()
    one, again = (cross_entropy(model, X, Y, examples=10, seed=3) for _ in range(2))
    assert torch.equal(one, again)
    assert not torch.equal(one, cross_entropy(model, X, Y, examples=10, seed=4))


def test_the_users_network_is_not_changed_but_trained():
    net = small_net()
    model = Dropout(net, SHAPE)
    assert isinstance(net[3], nn.Dropout)
    assert model.parameters()[0] is net[1].weight
    assert model.tensors().keys() == net.state_dict().keys()


def test_moments_are_those_of_many_masks():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 64), nn.ReLU(), nn.Dropout(0.4), nn.Linear(64, 3))
    model = Dropout(net, SHAPE)
    mean, variance = model.moments(X)
    drawn = model.logits(X, model.draw(4000, seed=1)).detach()
    assert ((mean - drawn.mean(0)) / drawn.std(0)).abs().max() < 0.1
    assert (variance.sqrt() / drawn.std(0) - 1).abs().max() < 0.1
    assert (moments(model, X, Y, eps=0.1) - X).abs().amax() == pytest.approx(0.1, abs=1e-6)


def test_inputs_of_another_shape_are_refused():
    model = Dropout(small_net(), SHAPE)
    with raises_sentence(r"this model is for inputs of shape \(1, 3, 4\); got \(1, 4, 3\)"):
        model.logits(X.transpose(2, 3), model.draw(1, seed=0))


def test_a_shape_that_the_network_cannot_take_is_refused():
    with raises_sentence(r"shape \(1, 5, 5\) is not that of one input of this network"):
        Dropout(small_net(), (1, 5, 5))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(12, 3)),
            "dropout needs a network with nn.Dropout layers whose p is above 0",
        ),
        (nn.Sequential(nn.Flatten(), nn.Dropout(0.0), nn.Linear(12, 3)), "whose p is above 0; this one has none"),
        (nn.Sequential(nn.Flatten(), nn.Dropout(1.0)), "dropout layer '1' drops everything: its p is 1"),
        (nn.Sequential(nn.Flatten(), nn.AlphaDropout(0.5)), "layer '1' is a AlphaDropout"),
        (Unused(), "dropout layer 'drop' is not used by the forward pass"),
        (
            nn.TransformerEncoderLayer(4, 1, 8, dropout=0.5),
            r"the dropout inside layer 'self_attn' \(MultiheadAttention\)",
        ),
    ],
)
def test_a_network_without_usable_dropout_is_refused(net, message):
    with raises_sentence(message):
        Dropout(net, SHAPE)


def test_a_layer_that_is_called_more_often_than_it_has_masks_is_refused():
    model = Dropout(Growing(), SHAPE)
    model.net.times = 2
    with raises_sentence("a dropout layer was called 1 times when its masks were made, and now once more"):
        model.logits(X, model.draw(1, seed=0))
