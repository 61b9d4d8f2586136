"""How far attacks move the latent: a plain formula for every column, in any batches, and pictures of some inputs."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from oracles import precise_coder as model
from oracles import raises_sentence, small_coder, small_inputs, small_model
from unshaken.analysis import latent_shift
from unshaken.attacks import ATTACKS
from unshaken.models import Deterministic, derive
from unshaken.models.latents import latents, reconstructions

X, Y = small_inputs(12, dtype=torch.float64)


def lighter(model, x, y, *, eps, seed):
    """Adds eps to every pixel."""
    return torch.stack([(x + size).clamp(0, 1) for size in eps])


def darker(model, x, y, *, eps, seed):
    return torch.stack([(x - size).clamp(0, 1) for size in eps])


SETTINGS = {"seed": 1, "attacks": {"lighter": lighter, "darker": darker}, "eps": [0.2, 0.1], "draws": 6}


@pytest.mark.parametrize("batch_size", [256, 5])
def test_every_column_is_its_formula(batch_size):
    net = model()
    rows = latent_shift(net, X, Y, **SETTINGS, batch_size=batch_size)
    assert rows["index"].tolist() == [*range(12)] * 4
    assert rows.attack.tolist() == ["lighter"] * 24 + ["darker"] * 24
    assert rows.eps.tolist() == ([0.2] * 12 + [0.1] * 12) * 2
    draws = net.draw(6, seed=derive(1, "inference", 0))
    clean, reconstructed = latents(net, X, draws), reconstructions(net, X, draws).mean(0)
    moved = (X - 0.1).clamp(0, 1)
    last, theirs = latents(net, moved, draws), reconstructions(net, moved, draws).mean(0)
    second = rows[36:]
    assert second["shift"].tolist() == pytest.approx((last - clean).norm(dim=2).mean(0).tolist())
    next_one = clean[:, [*range(1, 12), 0]]
    assert second.apart.tolist() == pytest.approx((clean - next_one).norm(dim=2).mean(0).tolist())
    assert second.clean_error.tolist() == pytest.approx((reconstructed - X).square().mean((1, 2, 3)).tolist())
    assert second.error.tolist() == pytest.approx((theirs - X).square().mean((1, 2, 3)).tolist())
    assert second.label.tolist() == Y.tolist()
    for column, inputs in (("before", X), ("after", moved)):
        assert second[column].tolist() == net.logits(inputs, draws).softmax(-1).mean(0).argmax(-1).tolist()
    assert set(rows.draws) == {6}


@pytest.mark.parametrize("batch_size", [256, 5])
def test_the_first_inputs_have_pictures(batch_size):
    net = model()
    rows = latent_shift(net, X, Y, **SETTINGS, batch_size=batch_size)
    assert [bool(picture) for picture in rows.picture] == [i < 8 for i in rows["index"]]
    stored = np.load(io.BytesIO(rows.picture[7]))
    assert (stored.shape, stored.dtype) == ((4, 3, 4, 1), np.uint8)
    draws = net.draw(6, seed=derive(1, "inference", 0))
    lit = (X[7:8] + 0.2).clamp(0, 1)
    expected = [X[7:8], reconstructions(net, X[7:8], draws).mean(0), lit, reconstructions(net, lit, draws).mean(0)]
    for image, wanted in zip(stored, expected, strict=True):
        np.testing.assert_allclose(image[..., 0] / 255, wanted[0, 0], atol=0.51 / 255)


def test_an_attack_does_not_see_the_inference_draws_and_does_not_depend_on_batches():
    net, settings = model(), {**SETTINGS, "attacks": {"near": near}}
    whole, parts = (latent_shift(net, X, Y, **settings, batch_size=size) for size in (256, 5))
    assert parts["shift"].tolist() == pytest.approx(whole["shift"].tolist())
    assert (whole["shift"] > 0).all()


def near(model, x, y, *, eps, seed, indices):
    settings = {"loss": "latent_shift", "start": "near", "draws": 3, "steps": 3}
    return ATTACKS["pgd"](model, x, y, eps=eps, seed=seed, indices=indices, **settings)


def test_where_nothing_is_random_one_pass_stands_for_all_draws():
    net = Deterministic(small_coder(dtype=torch.float64))
    one = latent_shift(net, X, Y, **{**SETTINGS, "draws": 1})
    forwards = net.cost.forwards
    many = latent_shift(net, X, Y, **{**SETTINGS, "draws": 50})
    assert net.cost.forwards == 2 * forwards
    assert many.drop(columns="draws").equals(one.drop(columns="draws"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": 0}, "draws must be a whole number, 1 or more; got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number, 1 or more; got 0"),
        ({"eps": []}, "eps is an empty list"),
        ({"attacks": {}}, "there are no attacks whose perturbations could be coded"),
        ({"x": 2 * X}, r"x must lie in \[0, 1\]"),
        ({"y": Y * 0 + 3}, "labels must be below 3, the number of logits; got 3"),
        (
            {"model": small_model("mean_field", dtype=torch.float64)},
            r"latents are those of a network with encode\(\), such as 'vae'; Sequential has none",
        ),
    ],
)
def test_bad_input_is_answered_in_one_sentence(settings, message):
    with raises_sentence(message):
        latent_shift(**{"model": model(), "x": X, "y": Y, **SETTINGS, **settings})
