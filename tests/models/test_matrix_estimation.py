"""ME-Net: masks as draws, low-rank estimates against plain singular values, straight-through gradients, training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import SHAPE, Resampled, raises_sentence, small_inputs, small_net
from unshaken.attacks import pgd
from unshaken.models import MODELS, Deterministic, Dropout, MatrixEstimation, MeanField, SeededModule, Smoothing
from unshaken.models.draws import derive, generator
from unshaken.models.execution import logits_by_loop, logits_by_vmap
from unshaken.models.matrix_estimation import ESTIMATES, MASK, complete, matrix_estimation
from unshaken.runs.catalogue import catalogue
from unshaken.runs.parts import Part, resolve_part
from unshaken.training.objectives import elbo

X, Y = small_inputs()
BASES = {
    "deterministic": Deterministic,
    "mean_field": MeanField,
    "dropout": lambda net: Dropout(net, SHAPE),
    "module": SeededModule,
    "smoothing": lambda net: Smoothing(MeanField(net), SHAPE, sigma=0.1),
}


def estimating(base: str = "deterministic", **settings) -> MatrixEstimation:
    net = small_net(layer=Resampled) if base == "module" else small_net()
    return MatrixEstimation(BASES[base](net), SHAPE, **{"low": 0.4, "high": 0.6, **settings})


def images(n: int, *shape: int, rank: int) -> torch.Tensor:
    """Images whose matrix (H, C·W), scaled to [-1, 1], has this rank and entries of ±0.9 where the rank is 1."""
    channels, height, width = shape
    rng = generator(0, n)
    left, right = (torch.randn(n, side, rank, generator=rng).sign() for side in (height, channels * width))
    matrix = 0.9 / rank * left @ right.mT
    return ((matrix + 1) / 2).unflatten(2, (channels, width)).transpose(1, 2)


def some_masks(n: int, *shape: int, p: float = 0.5) -> torch.Tensor:
    return torch.rand(n, *shape, generator=generator(1, n)) < p


# Estimates


def plain(estimate: str, seen: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The estimate of one matrix, from its singular value decomposition."""
    share = mask.double().mean()
    left, values, right = torch.linalg.svd(seen, full_matrices=False)
    if estimate == "usvt":
        values[values < 2.01 * (max(seen.shape) * share) ** 0.5] = 0
        return left @ values.diag() @ right / share
    if estimate == "leading":
        values[int(0.8 * len(values)) :] = 0
        return left @ values.diag() @ right / share
    completed, largest = torch.zeros_like(seen), values[0]
    for step in range(20):
        left, values, right = torch.linalg.svd(seen + completed * ~mask, full_matrices=False)
        completed = left @ (values - largest / 2 / 25 ** (step / 19)).clamp_min(0).diag() @ right
    return completed


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 20, 8)])  # the last is higher than wide
@pytest.mark.parametrize("estimate", ESTIMATES)
def test_an_estimate_is_that_of_the_matrix_of_channels_side_by_side(estimate, shape):
    x = (images(5, *shape, rank=2) + 0.05 * torch.randn(5, *shape, generator=generator(2, 0))).double().clamp(0, 1)
    mask = some_masks(5, *shape)
    estimates = complete(x, mask, ESTIMATES[estimate])
    assert estimates.shape == x.shape
    for estimated, image, kept in zip(estimates, x, mask, strict=True):
        matrix, seen_at = (torch.cat(list(channels), dim=1) for channels in (2 * image - 1, kept))
        expected = (plain(estimate, matrix * seen_at, seen_at).clamp(-1, 1) + 1) / 2
        torch.testing.assert_close(torch.cat(list(estimated), dim=1), expected)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)])
@pytest.mark.parametrize("estimate", ["usvt", "soft_impute"])
def test_a_rank_1_image_is_restored_from_half_of_its_entries(estimate, shape):
    x, mask = images(6, *shape, rank=1), some_masks(6, *shape)
    masked = torch.where(mask, x, 0.5)
    error, before = (
        (image - x).square().mean((1, 2, 3)).sqrt() for image in (complete(x, mask, ESTIMATES[estimate]), masked)
    )
    assert (before > 0.28).all()
    assert (error < 0.5 * before).all()


def test_usvt_and_leading_change_no_whole_image_of_low_rank():
    x = images(4, 3, 32, 32, rank=1)
    whole = torch.ones(1, 3, 32, 32, dtype=torch.bool)
    for estimate in ("usvt", "leading"):
        torch.testing.assert_close(complete(x, whole, ESTIMATES[estimate]), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_where_nothing_is_seen_the_estimate_is_grey(estimate):
    estimates = complete(X, torch.zeros(1, *SHAPE, dtype=torch.bool), ESTIMATES[estimate])
    assert torch.equal(estimates, torch.full_like(X, 0.5))


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_hidden_entries_are_not_looked_at_and_estimates_stay_in_the_box(estimate):
    x, mask = images(4, 3, 16, 16, rank=4), some_masks(4, 3, 16, 16, p=0.3)
    other = torch.where(mask, x, 1 - x)
    estimates = complete(x, mask, ESTIMATES[estimate])
    torch.testing.assert_close(complete(other, mask, ESTIMATES[estimate]), estimates)
    assert estimates.min() >= 0
    assert estimates.max() <= 1


# Draws


@pytest.mark.parametrize("base", BASES)
def test_a_draw_is_one_of_the_model_with_one_mask_for_all_inputs(base):
    model = estimating(base)
    draws = model.draw(3, seed=1)
    for s, state in enumerate(draws):
        mask = state.pop(MASK)
        assert mask.shape == SHAPE
        expected = model.model.forward(complete(X, mask.expand(len(X), *SHAPE), model.estimate), state)
        torch.testing.assert_close(model.logits(X, draws[s : s + 1])[0], expected)


def test_the_model_keeps_its_own_draws():
    model = estimating("mean_field")
    drawn, inner = model.draw(2, seed=1).stack(), model.model.draw(2, seed=derive(1, "model")).stack()
    assert drawn.keys() == inner.keys() | {MASK}
    assert all(torch.equal(drawn[name], tensor) for name, tensor in inner.items())


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.8), (0.4, 0.6), (0.5, 0.5), (1, 1)])
def test_each_mask_keeps_a_share_of_its_own_between_low_and_high(low, high):
    model = MatrixEstimation(Deterministic(small_net()), (3, 64, 64), low=low, high=high)
    for masks in (model.draw(200, seed=1).stack()[MASK], model.masks(200, generator(0, 0))):
        shares = masks.flatten(1).double().mean(1)
        assert shares.min() >= low - 0.02
        assert shares.max() <= high + 0.02
        assert shares.mean() == pytest.approx((low + high) / 2, abs=0.04)
        assert shares.std() == pytest.approx((high - low) / 12**0.5, abs=0.02)  # of a uniform p
        assert (masks.flatten(2).double().mean(2) - shares[:, None]).abs().max() < 0.04  # every channel by itself


@pytest.mark.parametrize("base", ["deterministic", "mean_field"])
@pytest.mark.parametrize("estimate", ESTIMATES)
def test_estimates_can_be_vectorised(estimate, base):
    model = estimating(base, estimate=estimate, low=0.3, high=0.9)
    draws = model.draw(5, seed=1)
    torch.testing.assert_close(logits_by_vmap(model, X, draws), logits_by_loop(model, X, draws))


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_the_gradient_is_that_of_the_network_at_the_estimate(estimate):
    model = estimating(estimate=estimate)
    draws = model.draw(1, seed=1)
    at = complete(X, next(iter(draws))[MASK].unsqueeze(0), model.estimate).requires_grad_()
    (expected,) = torch.autograd.grad(model.model.logits(at, model.model.draw(1, seed=0))[..., 0].sum(), at)
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.logits(x, draws)[..., 0].sum(), x)
    torch.testing.assert_close(gradient, expected)
    assert gradient.abs().sum() > 0


def test_there_is_no_mean_network_also_around_it():
    model = estimating("mean_field")
    for one in (model, Smoothing(model, SHAPE, sigma=0.1)):
        with raises_sentence("a 'matrix_estimation' model has no mean network: attack it with a number of draws"):
            one.mean()


def test_passes_are_counted_once_and_an_attack_is_of_draws_with_masks():
    model = estimating("mean_field")
    pgd(model, X, Y, eps=0.1, draws=3, steps=2)
    assert (model.cost.forwards, model.cost.gradients) == (6 * len(X), 6 * len(X))


# Training


def test_in_training_every_input_and_every_draw_has_a_mask_of_its_own():
    model = estimating(estimate="soft_impute")
    same = X[:1].expand(8, *SHAPE)
    logits = model.training_logits(same, 3, seed=1)
    assert logits.shape == (3, 8, 3)
    assert len(logits.flatten(0, 1).unique(dim=0)) == 24


@pytest.mark.parametrize("base", BASES)
def test_training_follows_from_the_seed_and_reaches_the_parameters_of_the_model(base):
    model = estimating(base)
    logits = model.training_logits(X, 2, seed=1)
    torch.rand(1)
    torch.testing.assert_close(model.training_logits(X, 2, seed=1), logits, rtol=0, atol=0)
    torch.testing.assert_close(model.training_logits(X, 1, seed=1), logits[:1], rtol=0, atol=0)
    assert not torch.allclose(model.training_logits(X, 2, seed=2), logits)
    gradients = torch.autograd.grad(logits[..., 0].sum(), model.parameters())
    assert sum(gradient.abs().sum() for gradient in gradients) > 0
    assert elbo(model, X, Y, examples=10, seed=0, draws=2).isfinite()


def test_in_training_the_draws_of_the_model_follow_from_seed_and_number():
    model = estimating("mean_field", low=1, high=1)  # of masks there is one
    logits = torch.cat([model.training_logits(X, 2, seed=seed) for seed in (1, 2)])
    assert len(logits.flatten(1).unique(dim=0)) == 4


def test_the_model_sees_the_estimates_in_training():
    model = MatrixEstimation(Deterministic(nn.Flatten()), SHAPE, low=0.5, high=0.5)
    masks = model.masks(len(X), generator(derive(3, "mask"), 0))
    assert torch.equal(model.training_logits(X, 1, seed=3)[0], complete(X, masks, model.estimate).flatten(1))


# By name, and what is refused


def test_by_name_it_wraps_a_model_of_any_kind_with_any_estimate():
    model = matrix_estimation(small_net(), SHAPE, low=0.2, high=0.3, base=Dropout, estimate=lambda seen, mask: seen)
    assert (type(model.model), model.low, model.high) == (Dropout, 0.2, 0.3)
    mask = model.draw(1, seed=0).stack()[MASK]
    assert torch.equal(complete(X, mask, model.estimate), torch.where(mask, (2 * X - 1 + 1) / 2, 0.5))
    assert type(matrix_estimation(small_net(), SHAPE, low=0.2, high=0.3).model) is Deterministic


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"low": 0.0}, "low must be a number above 0 and at most 1; got 0.0"),
        ({"low": True}, "low must be a number above 0 and at most 1; got True"),
        ({"high": 1.2}, "high must be a number above 0 and at most 1; got 1.2"),
        ({"high": float("nan")}, "high must be a number above 0 and at most 1; got nan"),
        ({"low": 0.7}, "low must be at most high; got 0.7 and 0.6"),
        ({"estimate": "usv"}, "unknown estimate 'usv': did you mean 'usvt'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with raises_sentence(message):
        estimating(**settings)


def test_other_shapes_and_a_second_estimate_are_refused():
    with raises_sentence(r"shape must be that of the model's inputs, \(1, 3, 4\); got \(1, 4, 4\)"):
        MatrixEstimation(Dropout(small_net(), SHAPE), (1, 4, 4), low=0.4, high=0.6)
    with raises_sentence(r"is for images: shape must be \(C, H, W\); got \(12,\)"):
        MatrixEstimation(Deterministic(small_net()), (12,), low=0.4, high=0.6)
    with raises_sentence("the model estimates its inputs already"):
        MatrixEstimation(estimating(), SHAPE, low=0.4, high=0.6)
    with raises_sentence(r"this model is for inputs of shape \(1, 3, 4\); got \(1, 4, 3\)"):
        estimating().logits(X.transpose(2, 3), estimating().draw(1, seed=0))


def test_a_recipe_is_told_at_once():
    settings = {"kind": "matrix_estimation", "low": 0.4, "high": 0.6}
    resolved = resolve_part("model", MODELS, settings)
    assert resolved == Part.model_validate(settings | {"estimate": "leading", "base": {"kind": "deterministic"}})
    for wrong, message in (
        ({"high": 2.0}, "high must be a number from 0 to 1; got 2.0"),
        ({"estimate": "usv"}, "'usvt'"),
    ):
        with raises_sentence(message):
            resolve_part("model", MODELS, settings | wrong)
    assert catalogue()["estimates"].keys() == ESTIMATES.keys()
