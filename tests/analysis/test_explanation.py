"""Explanations: on a linear classifier what the linear condition says is what happens along the perturbation."""

from __future__ import annotations

import pytest
import torch

from oracles import LinearClassifier, small_inputs, small_model
from unshaken.analysis.explanation import POINTS, REACH, explanations
from unshaken.attacks import fgm
from unshaken.models import Deterministic

X, Y = small_inputs()


def test_margins_along_the_perturbation_begin_at_the_input_and_pass_through_the_attack():
    model = small_model("mean_field")
    x_adv = fgm(model, X, Y, eps=0.7, draws=3)
    draws = model.draw(20, seed=5)
    for i, why in enumerate(explanations(model, X, Y, x_adv, draws)):
        assert why.label == int(Y[i])
        assert (len(why.scales), float(why.scales[-1])) == (POINTS, REACH)
        one = (why.scales - 1).abs().argmin()
        for scores, margins in ((why.before, why.margins[0]), (why.after, why.margins[one])):
            torch.testing.assert_close(scores[why.label] - scores, margins, atol=1e-5, rtol=0)
        expected = model.logits(x_adv[i : i + 1], draws).softmax(-1).mean(0)[0].double()
        torch.testing.assert_close(why.after, expected, atol=1e-6, rtol=0)


def test_a_nearly_linear_prediction_falls_where_the_linear_condition_says():
    linear = LinearClassifier(classes=3)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 3))
    with torch.no_grad():  # a softmax of tiny logits is linear
        net[1].weight.copy_(1e-3 * linear.weight)
        net[1].bias.copy_(-net[1].weight.sum(1) / 2)
    model = Deterministic(net)
    x, y = linear.inputs(20)
    x_adv = fgm(model, x, y, eps=0.2)
    fallen = 0
    for why in explanations(model, x, y, x_adv, model.draw(1)):
        ratio = float(why.robustness.linear_distance.min() / why.robustness.length)
        if why.falls_at is None:
            assert ratio > REACH - 0.1
        else:
            fallen += 1
            assert why.falls_at == pytest.approx(ratio, abs=REACH / (POINTS - 1) + 1e-3)
        assert -why.needed_cosine * float(why.robustness.length) > why.needed_length - 1e-6
    assert fallen > 5


def test_a_label_that_never_falls_has_no_place_where_it_does():
    model = small_model("mean_field")
    (why,) = explanations(model, X[:1], Y[:1], X[:1], model.draw(5, seed=1))
    assert why.falls_at in (None, 0.0)
    assert (why.falls_at is None) == bool(why.robustness.correct)
