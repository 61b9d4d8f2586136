"""Agreement of gradient signs: exact on a linear classifier, counted by hand, clear about bad input."""

from __future__ import annotations

import math

import pytest
import torch

from oracles import LinearClassifier, raises_sentence, small_inputs, small_model
from unshaken.analysis import ZEROS, gradient_agreement
from unshaken.attacks import LOSSES, input_gradient
from unshaken.models import SeededModule, derive

X, Y = small_inputs()


def shares(rows, draws) -> list[float]:
    return rows[(rows.draws == str(draws)) & (rows.repeat == 0)].sort_values("index").agreement.tolist()


def test_a_classifier_without_randomness_agrees_with_itself_everywhere():
    net = LinearClassifier(scale=0.0)
    x, y = net.inputs(5)
    rows = gradient_agreement(net, x, y, seed=1, draws=[1, 3, "mean", "moments"], reference=4)
    assert len(rows) == 20 * 3
    assert (rows.agreement == 1).all()


def test_more_draws_agree_more_and_the_mean_of_a_linear_classifier_most():
    net = LinearClassifier(200, 8, scale=1.0)
    x, y = net.inputs(60)
    rows = gradient_agreement(net, x, y, seed=1, draws=[1, 5, 20, "mean"], reference=400, loss="cw")
    means = rows.groupby("draws").agreement.mean()
    assert 0.5 < means["1"] < means["5"] < means["20"] < means["mean"]


@pytest.mark.parametrize("draws", [3, "mean"])
def test_the_share_is_that_of_signs_counted_by_hand(draws):
    net = small_model("mean_field")
    repeat_seed = derive(2, "repeat", 0)
    expected = input_gradient(net, X, Y, net.draw(7, seed=derive(repeat_seed, "reference")), LOSSES["cw"]).sign()
    used = net.mean() if draws == "mean" else net.draw(draws, seed=derive(repeat_seed, "attack"))
    signs = input_gradient(net, X, Y, used, LOSSES["cw"]).sign()
    by_hand = [
        sum(a == b for a, b in zip(one.flatten(), other.flatten(), strict=True)) / 12
        for one, other in zip(signs, expected, strict=True)
    ]
    rows = gradient_agreement(net, X, Y, seed=2, draws=[draws], reference=7, loss="cw")
    assert shares(rows, draws) == pytest.approx([float(share) for share in by_hand])


def test_repeats_have_draws_and_a_reference_of_their_own():
    net = small_model("mean_field")
    three, two = (gradient_agreement(net, X, Y, seed=2, draws=[1, "mean"], repeats=r) for r in (3, 2))
    assert three[three.repeat < 2].equals(two)
    parts = [three[three.repeat == r].agreement.tolist() for r in range(3)]
    assert parts[0] != parts[1] != parts[2]


def test_how_zeros_are_counted():
    one, other = torch.tensor([[1.0, 1, 0, 0, -1]]), torch.tensor([[1.0, -1, 0, 1, 0]])
    shares = {}
    for name, count in ZEROS.items():
        agree, counted = (mask.double() for mask in count(one, other))
        shares[name] = float((agree * counted).sum() / counted.sum())
    assert shares == {"both": 2 / 5, "never": 1 / 5, "left_out": 1 / 2}


def test_an_input_without_any_gradient_counts_as_the_setting_says():
    net = LinearClassifier(scale=0.0)
    with torch.no_grad():
        net.weight.zero_()
    x, y = torch.rand(2, 1, 1, 8), torch.zeros(2, dtype=torch.int64)
    for zeros, share in (("both", 1.0), ("never", 0.0)):
        assert shares(gradient_agreement(net, x, y, seed=0, draws=[1], zeros=zeros), 1) == [share, share]
    assert all(map(math.isnan, shares(gradient_agreement(net, x, y, seed=0, draws=[1], zeros="left_out"), 1)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"draws": ["meen"]},
            "draws must be a number, a Draws object, 'mean', 'moments' or 'all'; got 'meen': did you mean 'mean'",
        ),
        ({"draws": [0]}, "draws must be a whole number, 1 or more; got 0"),
        ({"draws": [1, 1]}, r"draws must be one number or scheme at least, none of them twice; got \[1, 1\]"),
        ({"draws": []}, "draws must be one number or scheme at least"),
        ({"repeats": 0}, "repeats must be a whole number, 1 or more; got 0"),
        ({"reference": 0}, "reference must be a whole number, 1 or more; got 0"),
        ({"zeros": "bot"}, "unknown zeros 'bot': did you mean 'both'"),
        ({"loss": "cww"}, "unknown loss 'cww': did you mean 'cw'"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(settings, message):
    with raises_sentence(message):
        gradient_agreement(small_model("mean_field"), X, Y, seed=0, **settings)


def test_a_model_without_a_mean_network_says_so():
    with raises_sentence("a 'module' model has no mean network"):
        gradient_agreement(SeededModule(small_model("module").net), X, Y, seed=0, draws=["mean"], reference=2)
