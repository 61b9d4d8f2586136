"""How far noise moves the loss: that of one stack of draws, on noises that follow from their place."""

from __future__ import annotations

import math
from importlib import import_module

import pytest
import torch

from oracles import LinearClassifier, plain_cross_entropy, raises_sentence, small_inputs, small_model
from unshaken.analysis import flatness
from unshaken.models import MODELS, derive
from unshaken.training.noise import noise_of

X, Y = small_inputs(20, dtype=torch.float64)
SETTINGS = {"seed": 1, "size": 0.3, "copies": 4, "draws": 30}


def noises(kind: str, size: float, copies: int) -> torch.Tensor:
    """δ (copies, 20, ...), each asked for by itself."""
    seed = derive(1, "noise")
    each = [
        noise_of(kind, size, seed, torch.tensor([i]), torch.tensor([j]), X.shape[1:])
        for j in range(copies)
        for i in range(len(X))
    ]
    return torch.cat(each).double().view(copies, *X.shape)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("noise", ["uniform", "gaussian"])
def test_it_is_the_difference_of_two_losses_of_the_mean_probability(kind, noise):
    net = small_model(kind, dtype=torch.float64)
    drawn = net.draw(30, seed=derive(1, "inference", 0))
    before = net.logits(X, drawn)
    versions = [net.logits(X + delta, drawn) for delta in noises(noise, 0.3, 4)]
    changes = torch.stack([plain_cross_entropy(z, Y) - plain_cross_entropy(before, Y) for z in versions], 1)
    still = torch.stack([z.softmax(-1).mean(0).argmax(-1) == Y for z in versions], 1)
    for batch_size in (256, 7) if kind != "module" else (256,):
        rows = flatness(net, X, Y, noise=noise, batch_size=batch_size, **SETTINGS)
        assert rows["index"].tolist() == [i for i in range(20) for _ in range(4)]
        assert rows["copy"].tolist() == [*range(4)] * 20
        assert rows.difference.tolist() == pytest.approx(changes.flatten().tolist(), rel=1e-6, abs=1e-9)
        assert rows.loss[::4].tolist() == pytest.approx(plain_cross_entropy(before, Y).tolist())
        assert rows.survived.tolist() == still.flatten().tolist()
        assert (rows.correct[::4] == (before.softmax(-1).mean(0).argmax(-1) == Y).numpy()).all()
        settings = rows[["noise", "size", "draws"]].drop_duplicates().to_numpy().tolist()
        assert settings == [[noise, 0.3, 30]]


def test_noise_is_clipped_to_the_box_only_where_asked(monkeypatch):
    net, most = small_model("deterministic", dtype=torch.float64), []
    logits = type(net).logits

    def watched(self, x, draws):
        most.append(float(x.max()))
        return logits(self, x, draws)

    monkeypatch.setattr(type(net), "logits", watched)
    free, most[:] = flatness(net, X, Y, **SETTINGS), []
    clipped = flatness(net, X, Y, clip=True, **SETTINGS)
    assert max(most) == 1
    assert (free.difference != clipped.difference).any()
    most.clear()
    flatness(net, X, Y, **SETTINGS)
    assert max(most) > 1.1


def test_noise_of_size_zero_moves_nothing():
    rows = flatness(small_model("mean_field"), X.float(), Y, **{**SETTINGS, "size": 0.0})
    assert (rows.difference == 0).all()
    assert (rows.survived == rows.correct).all()


def test_a_sure_network_has_a_loss_where_its_probability_is_rounded_to_one():
    """−log p_y is e⁻ᵘ, with u the gap of two logits, scaled to 25: p_y is 1 in float32."""
    net = LinearClassifier()
    x, y = net.inputs(1)
    net.weight *= 25 / net.logits(x, net.mean())[0].diff().abs().item()
    assert net.logits(x, net.mean())[0].softmax(-1).amax() == 1
    rows = flatness(net, x, y, seed=0, size=0.01, copies=5, draws=7)
    assert rows.loss.tolist() == pytest.approx([math.exp(-25)] * 5, rel=1e-3, abs=0)
    assert (rows.difference.abs() > 1e-13).all()


def test_inputs_are_slices_that_fit_in_memory(monkeypatch):
    monkeypatch.setattr(import_module("unshaken.analysis.flatness"), "BLOCK", 5 * 12 * 6)  # six inputs of five versions
    net, most = small_model("deterministic"), []
    logits = type(net).logits
    monkeypatch.setattr(type(net), "logits", lambda self, x, draws: most.append(len(x)) or logits(self, x, draws))
    rows = flatness(net, X.float(), Y, **SETTINGS)
    assert most == [6] * 15 + [2] * 5  # clean and four copies of each slice: one pass where nothing is random
    monkeypatch.undo()
    whole = flatness(net, X.float(), Y, **SETTINGS)
    assert rows.difference.tolist() == pytest.approx(whole.difference.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": 0}, "draws must be a whole number, 1 or more; got 0"),
        ({"copies": 0}, "copies must be a whole number, 1 or more; got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number, 1 or more; got 0"),
        ({"size": -0.1}, "size must be a finite number, 0 or more; got -0.1"),
        ({"noise": "gausian"}, "gaussian"),
        ({"y": Y * 0 + 3}, "labels must be below 3, the number of logits; got 3"),
        ({"x": 2 * X}, r"x must lie in \[0, 1\]"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(settings, message):
    with raises_sentence(message):
        flatness(small_model("mean_field", dtype=torch.float64), **{"x": X, "y": Y, **SETTINGS, **settings})
