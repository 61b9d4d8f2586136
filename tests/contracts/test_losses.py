"""What every loss promises: one value per input, right gradients, and a direction where logits are saturated."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from oracles import OF_LOGITS, PLAIN_LOSSES
from unshaken.attacks.losses import LATENT, LOSSES, SOFT, STREAMING, cross_entropy, kl

NAME_OF = {loss: name for name, loss in LOSSES.items()}
Y = torch.tensor([0, 2, 1, 2])
every_loss = pytest.mark.parametrize("name", OF_LOGITS)
every_soft_loss = pytest.mark.parametrize("loss", SOFT, ids=NAME_OF.get)


def logits(draws: int = 5, classes: int = 3, dtype=torch.float64) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return (3 * torch.randn(draws, len(Y), classes, generator=rng, dtype=dtype)).requires_grad_()


def saturated(gap: float, draws: int = 3) -> Tensor:
    """Logits in float32 with the label's `gap` above the others: from 17 on, p_y rounds to 1."""
    z = torch.zeros(draws, len(Y), 3)
    z[:, range(len(Y)), Y] = gap
    return z.requires_grad_()


def gradient(value: Tensor, z: Tensor) -> Tensor:
    return torch.autograd.grad(value.sum(), z)[0]


def by_label(name: str, gap: float) -> Tensor:
    """The gradient (B,) with respect to the label's logit, summed over draws, on saturated logits."""
    z = saturated(gap)
    return gradient(LOSSES[name](z, Y), z).sum(0)[range(len(Y)), Y]


@every_loss
@pytest.mark.parametrize("draws", [1, 5])
def test_one_value_per_input_and_the_gradient_of_finite_differences(name, draws):
    z = logits(draws)
    assert LOSSES[name](z, Y).shape == (len(Y),)
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](z, Y), z)


@pytest.mark.parametrize("name", PLAIN_LOSSES)
@pytest.mark.parametrize("draws", [1, 5])
def test_the_value_is_that_of_the_plain_formula(name, draws):
    z = logits(draws)
    torch.testing.assert_close(LOSSES[name](z, Y), PLAIN_LOSSES[name](z, Y))


@every_loss
def test_the_loss_of_an_input_depends_on_no_other_input(name):
    z = logits()
    torch.testing.assert_close(LOSSES[name](z, Y)[2:3], LOSSES[name](z[:, 2:3], Y[2:3]))


@every_loss
def test_the_loss_is_larger_where_the_label_is_less_likely(name):
    z = logits().detach()
    worse = z.clone()
    worse[:, range(len(Y)), Y] -= 1
    assert (LOSSES[name](worse, Y) > LOSSES[name](z, Y)).all()


@pytest.mark.parametrize("name", ["log_error", "cw", "logit_sum"])
@pytest.mark.parametrize("gap", [40, 120])
def test_some_losses_keep_a_gradient_of_order_1_on_saturated_logits(name, gap):
    torch.testing.assert_close(by_label(name, gap), -torch.ones(len(Y)))


@pytest.mark.parametrize("name", ["cross_entropy", "mean_cross_entropy"])
def test_cross_entropy_keeps_a_small_gradient_on_saturated_logits(name):
    torch.testing.assert_close(by_label(name, 40), torch.full((len(Y),), -2 * math.exp(-40)), rtol=1e-3, atol=0)


def test_naive_cross_entropy_loses_the_label_on_saturated_logits():
    assert not by_label("naive_cross_entropy", 40).any()


@pytest.mark.parametrize("name", ["naive_cross_entropy", "margin"])
def test_losses_of_rounded_probabilities_lose_their_gradient_on_saturated_logits(name):
    z = saturated(120)
    assert not gradient(LOSSES[name](z, Y), z).any()


@every_loss
@pytest.mark.parametrize("gap", [1e3, -1e3])
def test_values_and_gradients_are_finite_on_extreme_logits(name, gap):
    z = saturated(gap)
    value = LOSSES[name](z, Y)
    assert value.isfinite().all()
    assert gradient(value, z).isfinite().all()


def test_log_error_and_cross_entropy_ascend_in_the_same_direction():
    z = logits()
    one, other = (gradient(LOSSES[name](z, Y), z).transpose(0, 1).flatten(1) for name in ("log_error", "cross_entropy"))
    torch.testing.assert_close(torch.cosine_similarity(one, other), torch.ones(len(Y), dtype=z.dtype))


@pytest.mark.parametrize("loss", [loss for loss in STREAMING if loss not in LATENT], ids=NAME_OF.get)
@pytest.mark.parametrize("sizes", [[2, 4], [1] * 6])
def test_weighted_gradients_of_chunks_are_the_gradient_over_all_draws(loss, sizes):
    rng = torch.Generator().manual_seed(0)
    networks = 2 * torch.randn(6, 3, 8, generator=rng, dtype=torch.float64)
    x = torch.rand(len(Y), 8, generator=rng, dtype=torch.float64, requires_grad=True)

    def value(chunk: Tensor) -> Tensor:
        return loss(torch.einsum("skd,bd->sbk", chunk, x), Y)

    values = [value(chunk) for chunk in networks.split(sizes)]
    weights = torch.stack([n * (STREAMING[loss] * v.detach()).exp() for n, v in zip(sizes, values, strict=True)])
    gradients = torch.stack([gradient(v, x) for v in values])
    streamed = (weights[..., None] * gradients).sum(0) / weights.sum(0)[..., None]
    torch.testing.assert_close(streamed, gradient(value(networks), x))


# Latents in the place of logits.


def latents(seed: int, draws: int = 5) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(draws, len(Y), 2, generator=rng, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("loss", LATENT, ids=NAME_OF.get)
@pytest.mark.parametrize("draws", [1, 5])
def test_a_loss_of_latents_has_one_value_per_input_and_is_least_and_flat_at_the_clean_ones(loss, draws):
    z, clean = latents(0, draws), latents(1, draws).detach()
    assert loss(z, clean).shape == (len(Y),)
    assert torch.autograd.gradcheck(lambda z: loss(z, clean), z)
    torch.testing.assert_close(loss(z, clean)[2:3], loss(z[:, 2:3], clean[:, 2:3]))
    assert (loss(z, clean) > loss(clean, clean)).all()
    assert not gradient(loss(z, z.detach()), z).any()


def test_the_shift_of_the_latent_is_the_mean_over_draws_of_its_square():
    z, clean = latents(0).detach(), latents(1).detach()
    each = [sum((one - other) ** 2) for one, other in zip(z[:, 1], clean[:, 1], strict=True)]
    assert LOSSES["latent_shift"](z, clean)[1].item() == pytest.approx(float(sum(each)) / 5)


@pytest.mark.parametrize("loss", LATENT, ids=NAME_OF.get)
def test_a_loss_of_latents_streams_over_draws(loss):
    """`input_gradient` compares a draw with itself only, so it could not put together what needs all of them."""
    z, clean = latents(0, 6), latents(1, 6).detach()
    parts = torch.stack([loss(a, b) for a, b in zip(z.split(2), clean.split(2), strict=True)])
    assert STREAMING[loss] == 0
    torch.testing.assert_close(parts.mean(0), loss(z, clean))


# Probabilities in the place of labels.


def prediction(z: Tensor) -> Tensor:
    """The mean probability (B, K)."""
    return z.detach().softmax(-1).mean(0)


def one_hot(dtype=torch.float64) -> Tensor:
    return torch.eye(3, dtype=dtype)[Y]


@every_soft_loss
@pytest.mark.parametrize("draws", [1, 5])
def test_with_probabilities_too_the_gradient_is_that_of_finite_differences(loss, draws):
    z, y = logits(draws), prediction(logits(3) ** 2)
    assert loss(z, y).shape == (len(Y),)
    assert torch.autograd.gradcheck(lambda z: loss(z, y), z)
    torch.testing.assert_close(loss(z, y)[2:3], loss(z[:, 2:3], y[2:3]))


@every_soft_loss
@pytest.mark.parametrize("draws", [1, 5])
def test_certain_probabilities_are_labels(loss, draws):
    z = logits(draws)
    torch.testing.assert_close(loss(z, one_hot()), loss(z, Y))
    torch.testing.assert_close(gradient(loss(z, one_hot()), z), gradient(loss(z, Y), z))


@every_soft_loss
@pytest.mark.parametrize("gap", [1e3, -1e3, 40.0])
def test_with_probabilities_too_values_and_gradients_are_finite_on_extreme_logits(loss, gap):
    for y in (one_hot(torch.float32), prediction(saturated(-gap)), prediction(saturated(3.0))):
        z = saturated(gap)
        value = loss(z, y)
        assert value.isfinite().all()
        assert gradient(value, z).isfinite().all()


@pytest.mark.parametrize("draws", [1, 5])
def test_kl_is_the_textbook_s_zero_with_its_gradient_at_the_prediction_itself_and_positive_elsewhere(draws):
    z = logits(draws)
    y, p = prediction(logits(3) ** 2), prediction(z)
    torch.testing.assert_close(kl(z, y), (y * (y / p).log()).sum(-1))
    torch.testing.assert_close(kl(z, p), torch.zeros(len(Y), dtype=z.dtype), atol=1e-14, rtol=0)
    torch.testing.assert_close(gradient(kl(z, p), z), torch.zeros_like(z), atol=1e-14, rtol=0)
    for seed in range(20):
        noise = 0.1 * torch.randn(z.shape, generator=torch.Generator().manual_seed(seed), dtype=z.dtype)
        assert (kl(z + noise, p) > 0).all()


def test_kl_with_labels_is_cross_entropy():
    assert torch.equal(kl(logits(), Y), cross_entropy(logits(), Y))
