"""Variance over draws of the probability of the label: that of one stack, in bounded memory."""

from __future__ import annotations

import pytest
import torch

from oracles import CoinClassifier, raises_sentence, small_inputs, small_model
from unshaken.analysis import prediction_variance
from unshaken.models import MODELS, derive

X, Y = small_inputs(20, dtype=torch.float64)


@pytest.mark.parametrize("kind", MODELS)
def test_it_is_the_variance_of_one_stack_of_draws(kind):
    net = small_model(kind, dtype=torch.float64)
    logits = net.logits(X, net.draw(300, seed=derive(1, "inference", 0)))
    f = torch.exp(logits - logits.logsumexp(-1, keepdim=True))[:, torch.arange(20), Y]
    for batch_size in (256, 7) if kind != "module" else (256,):
        rows = prediction_variance(net, X, Y, seed=1, draws=300, batch_size=batch_size)
        assert list(rows.columns) == ["index", "draws", "variance", "probability", "saturated"]
        assert rows["index"].tolist() == list(range(20))
        assert (rows.draws == 300).all()
        assert rows.variance.tolist() == pytest.approx(((f - f.mean(0)) ** 2).mean(0).tolist(), rel=1e-9, abs=1e-15)
        assert rows.probability.tolist() == pytest.approx(f.mean(0).tolist())


def test_a_coin_has_the_variance_of_a_coin():
    net = CoinClassifier(0.3)
    net.state = lambda share: {"scores": torch.tensor([200.0, 0.0]) if share else torch.tensor([0.0, 200.0])}
    rows = prediction_variance(net, X.float(), Y * 0, seed=0, draws=50)
    share = rows.probability
    assert 0 < share[0] < 1
    assert rows.variance.tolist() == pytest.approx((share * (1 - share)).tolist())
    assert (rows.saturated == 50).all()


def test_draws_that_are_certain_are_counted_in_the_precision_of_the_model():
    """A gap of 20: softmax is 1 in float32, not in float64."""
    counts = {}
    for dtype in (torch.float32, torch.float64):
        net = CoinClassifier(0.4)
        net.net.to(dtype)
        sure = torch.tensor([20.0, 0.0], dtype=dtype)
        net.state = lambda share, sure=sure: {"scores": sure if share else 0 * sure}
        counts[dtype] = prediction_variance(net, X.to(dtype), Y * 0, seed=0, draws=30)
    heads = counts[torch.float32].probability * 2 - 1
    assert counts[torch.float32].saturated.tolist() == pytest.approx((30 * heads).tolist())
    assert (counts[torch.float64].saturated == 0).all()


def test_a_small_variance_beside_a_large_mean_is_not_lost():
    """f_y is 1 − q or 1 − 2q with q = e⁻¹⁸: E f² − (E f)² would be rounding."""
    net = CoinClassifier(0.5)
    net.net.double()
    near, far = (torch.tensor([gap, 0.0], dtype=torch.float64) for gap in (18.0, 18.0 - 0.6931471805599453))
    net.state = lambda share: {"scores": near if share else far}
    rows = prediction_variance(net, X, Y * 0, seed=0, draws=40)
    q = float(torch.exp(torch.tensor(-18.0, dtype=torch.float64)))
    share = (1 - rows.probability[0]) / q - 1  # of the draws with 2q
    assert rows.variance[0] == pytest.approx(q**2 * share * (1 - share), rel=1e-4)


def test_without_randomness_there_is_no_variance():
    assert (prediction_variance(small_model("deterministic"), X.float(), Y, seed=0, draws=20).variance < 1e-30).all()


def test_no_more_draws_are_held_than_predict_takes(monkeypatch):
    net, most = small_model("mean_field"), []
    logits = type(net).logits
    monkeypatch.setattr(type(net), "logits", lambda self, x, draws: most.append(len(draws)) or logits(self, x, draws))
    prediction_variance(net, X.float(), Y, seed=0)
    assert sum(most) == 1000
    assert max(most) <= 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": 0}, "draws must be a whole number, 1 or more; got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number, 1 or more; got 0"),
        ({"y": Y * 0 + 3}, "labels must be below 3, the number of logits; got 3"),
        ({"x": 2 * X}, r"x must lie in \[0, 1\]"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(settings, message):
    with raises_sentence(message):
        prediction_variance(small_model("mean_field", dtype=torch.float64), **{"x": X, "y": Y, "seed": 0, **settings})
