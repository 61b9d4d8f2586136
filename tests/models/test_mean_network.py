"""The mean network by itself: nothing is random, and it has the weights of the model it is made of."""

from __future__ import annotations

import pytest
import torch

from oracles import SHAPE, Resampled, raises_sentence, small_inputs, small_model, small_net
from unshaken.attacks import pgd
from unshaken.evaluation.predict import predict
from unshaken.models import MeanNetwork, SeededModule

X, Y = small_inputs()


@pytest.mark.parametrize("base", ["mean_field", "matrix_gaussian", "dropout", "smoothing"])
def test_every_draw_is_the_mean_network(base):
    model = small_model(base)
    alone = MeanNetwork(model)
    draws = alone.draw(3, seed=1)
    assert draws.seed is None
    torch.testing.assert_close(alone.logits(X, draws), model.logits(X, model.mean()).expand(3, -1, -1))


def test_many_draws_of_one_network_cost_one():
    alone = MeanNetwork(small_model("dropout"))
    alone.model.cost.forwards = 0
    seen = []
    score = predict(alone, X, alone.draw(50, seed=0), on_logits=lambda rows, logits: seen.append(logits.shape))
    assert alone.cost.forwards == len(X)
    assert seen == [(50, len(X), 3)]
    torch.testing.assert_close(score, alone.logits(X, alone.mean())[0].softmax(-1).detach())
    x_adv = pgd(alone, X, Y, eps=0.1, draws=100, steps=1)
    assert alone.cost.gradients == len(X)
    torch.testing.assert_close(x_adv, pgd(alone, X, Y, eps=0.1, draws=1, steps=1))


def test_its_files_are_those_of_its_model(tmp_path):
    model, other = small_model("dropout", seed=0), small_model("dropout", seed=1)
    MeanNetwork(model).save(tmp_path / "weights")
    other.load(tmp_path / "weights")
    assert torch.equal(other.logits(X, other.mean()), model.logits(X, model.mean()))


def test_a_model_without_a_mean_network_is_refused():
    with raises_sentence("a 'module' model has no mean network"):
        MeanNetwork(SeededModule(small_net(layer=Resampled)))


def test_the_shape_of_its_inputs_is_that_of_its_model():
    alone = MeanNetwork(small_model("dropout"))
    assert alone.shape == SHAPE


@pytest.mark.parametrize("base", ["mean_field", "dropout"])
def test_its_moments_are_its_logits_without_variance(base):
    alone = MeanNetwork(small_model(base))
    mean, variance = alone.moments(X)
    torch.testing.assert_close(mean, alone.logits(X, alone.mean())[0])
    assert not variance.any()
