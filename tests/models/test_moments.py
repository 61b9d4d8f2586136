"""One pass of means and variances: exact where that is known, near the average over many draws elsewhere."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from oracles import raises_sentence
from unshaken.models import Deterministic, MeanField, load_draws
from unshaken.models.draws import DrawsKind
from unshaken.models.dropout import Masked
from unshaken.models.moments import RULES, Moments, dropped, propagate, rectified
from unshaken.networks import Normalise, Residual, mlp, resnet18, small_cnn, wide_resnet

X = torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def model(*layers: nn.Module, scale: float = 0.1) -> MeanField:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(*layers)
        for layer in net.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        return MeanField(net, initial_scale=scale)


def close_to_draws(net: MeanField, x: torch.Tensor, draws: int = 4000, variance: float = 0.1) -> None:
    """The mean within five standard errors, the variance within a share."""
    logits = net.logits(x, net.draw(draws, seed=1))
    mean, spread = net.moments(x)
    error = logits.std(0) / math.sqrt(draws)
    assert ((mean - logits.mean(0)).abs() < 5 * error + 1e-6).all()
    torch.testing.assert_close(spread, logits.var(0), rtol=variance, atol=0)


@pytest.mark.parametrize("bias", [True, False])
def test_dense_layers_are_exact(bias):
    close_to_draws(model(nn.Flatten(), nn.Linear(36, 5, bias=bias)), X)


def test_a_convolution_is_exact():
    layer = nn.Conv2d(1, 4, 3, stride=2, padding=1)
    close_to_draws(model(layer, nn.Flatten()), X)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.3), nn.Identity(), nn.Dropout(0.5)])
def test_dense_networks_agree_with_many_draws(activation):
    close_to_draws(model(nn.Flatten(), nn.Linear(36, 40), activation, nn.Linear(40, 3)), X, variance=0.15)


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False)])
def test_batch_norm_uses_its_running_statistics(layer):
    net = model(nn.Conv2d(1, 3, 3), layer, nn.Flatten())
    net.net[1].running_mean.copy_(torch.tensor([-1.0, 0.5, 2.0]))
    net.net[1].running_var.copy_(torch.tensor([0.2, 1.0, 5.0]))
    close_to_draws(net, X)


def test_average_pooling_of_independent_entries():
    logits, moments = pooled(nn.AvgPool2d(2))
    torch.testing.assert_close(moments.mean, logits.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(moments.variance, logits.var(0), rtol=0.1, atol=0)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.MaxPool2d(2, stride=1), nn.MaxPool2d((1, 3), stride=(2, 1))])
def test_max_pooling_of_independent_entries(pool):
    logits, moments = pooled(pool)
    assert moments.mean.shape == logits.shape[1:]
    torch.testing.assert_close(moments.mean, logits.mean(0), rtol=0, atol=0.03)
    torch.testing.assert_close(moments.variance, logits.var(0), rtol=0.15, atol=0)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, stride=2), nn.MaxPool2d((2, 1), stride=1)])
@pytest.mark.parametrize("geometry", [{}, {"stride": 2, "padding": 2}])
def test_max_pooling_after_a_convolution_knows_that_its_entries_share_weights(pool, geometry):
    x = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)
    net = model(nn.Conv2d(1, 2, 3, **geometry), pool, nn.Flatten(), scale=0.4)
    logits = net.logits(x, net.draw(4000, seed=1))
    mean, variance = net.moments(x)
    assert ((mean - logits.mean(0)).abs() < 0.15 * logits.std(0)).all()
    torch.testing.assert_close(variance, logits.var(0), rtol=0.3, atol=0)


def nearness(net: MeanField, x: torch.Tensor) -> float:
    """Distance of the expected logits from the mean over many draws, relative to it."""
    average = torch.stack([net.logits(x, draw)[0] for draw in net.draw(6000, seed=1).chunks(1)]).mean(0)
    return float((net.moments(x)[0] - average).norm() / average.norm())


@pytest.mark.parametrize("between", [[nn.BatchNorm2d(4), nn.ReLU()], [nn.ReLU(), nn.Dropout(0.3), nn.Identity()]])
def test_layers_between_a_convolution_and_pooling_keep_the_covariances(between):
    net = model(nn.Conv2d(1, 4, 3), *between, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 5), scale=0.2)
    assert nearness(net, X) < 0.05


def test_a_layer_without_weights_may_be_used_twice_one_with_weights_not():
    relu, dense = nn.ReLU(), nn.Linear(36, 36)
    net = model(nn.Flatten(), nn.Linear(36, 30), relu, nn.Linear(30, 30), relu, nn.Linear(30, 5))
    assert nearness(net, X) < 0.05
    with raises_sentence("there is no moment rule for a layer that is used twice"):
        model(nn.Flatten(), dense, dense).moments(X)
    for shared in (Residual(dense, dense), Residual(dense, nn.Sequential(nn.ReLU(), dense)), tied()):
        with raises_sentence("there is no moment rule for a layer that is used twice"):
            MeanField(nn.Sequential(nn.Flatten(), shared)).moments(X)


def tied() -> nn.Sequential:
    """Two dense layers with one weight."""
    first, second = nn.Linear(36, 36), nn.Linear(36, 36)
    second.weight = first.weight
    return nn.Sequential(first, second)


def pooled(pool: nn.Module) -> tuple[torch.Tensor, Moments]:
    """(draws of a pooled image of independent Gaussians, their moments by the rule)."""
    start = model(nn.Flatten(), nn.Linear(36, 36), scale=0.2)
    before = start.logits(X, start.draw(4000, seed=1)).view(-1, 4, 1, 6, 6)
    mean, variance = (moment.view(4, 1, 6, 6) for moment in start.moments(X))
    return pool(before.flatten(0, 1)).unflatten(0, (4000, 4)), RULES[type(pool)](pool, Moments(mean, variance), {})


def test_pooling_before_a_rising_activation_is_the_same_network():
    for slope, rest in ((0.1, [nn.ReLU(), nn.MaxPool2d(2)]), (-0.5, [])):  # a falling one stays where it is
        net = Deterministic(
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.LeakyReLU(slope), nn.MaxPool2d(2), *rest, nn.Flatten())
        )
        torch.testing.assert_close(net.moments(X)[0], net.logits(X, net.mean())[0])


def test_normalisation_divides_the_variance():
    close_to_draws(model(nn.Conv2d(1, 2, 3), Normalise(2, mean=(0.1, 0.4), std=(0.5, 3.0)), nn.Flatten()), X)
    moments = RULES[Normalise](Normalise(1, 0.5, 0.25), Moments(X), {})
    torch.testing.assert_close(moments.mean, 4 * X - 2)
    assert moments.variance is None


@pytest.mark.parametrize("size", [1, (1, 1)])
def test_the_mean_over_an_image_of_independent_entries(size):
    logits, moments = pooled(nn.AdaptiveAvgPool2d(size))
    torch.testing.assert_close(moments.mean, logits.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(moments.variance, logits.var(0), rtol=0.1, atol=0)


@pytest.mark.parametrize("shortcut", [[nn.Identity()], [nn.Linear(36, 36)], [nn.ReLU(), nn.Linear(36, 36)]])
def test_branches_of_a_sum_with_weights_of_their_own_are_exact_for_known_inputs(shortcut):
    """With known inputs the two branches are independent."""
    both = Residual(nn.Sequential(nn.Linear(36, 20), nn.Identity(), nn.Linear(20, 36)), nn.Sequential(*shortcut))
    close_to_draws(model(nn.Flatten(), both), X, variance=0.15)


def test_branches_of_a_sum_count_as_independent_and_either_may_be_known():
    """x + x would have four times the variance of x; two branches that count as independent have twice."""
    x = Moments(torch.randn(2, 3), torch.rand(2, 3))
    relu = Residual(nn.ReLU(), nn.Identity())
    for inputs in (x, Moments(x.mean)):
        outputs, rectified_branch = RULES[Residual](relu, inputs, {}), RULES[nn.ReLU](nn.ReLU(), inputs, {})
        torch.testing.assert_close(outputs.mean, inputs.mean + rectified_branch.mean)
        if inputs.variance is None:
            assert outputs.variance is None
        else:
            torch.testing.assert_close(outputs.variance, inputs.variance + rectified_branch.variance)
    twice = RULES[Residual](Residual(nn.Identity(), nn.Identity()), x, {})
    torch.testing.assert_close(twice.variance, 2 * x.variance)


@pytest.mark.parametrize("random", ["main", "shortcut"])
def test_one_random_branch_gives_its_variance(random):
    branches = {"main": nn.Linear(36, 3), "shortcut": nn.Linear(36, 3)}
    net = nn.Sequential(nn.Flatten(), Residual(**branches))
    name = f"1.{random}.bias"
    moments = propagate(net, dict(net.named_parameters()), {name: torch.full((3,), 0.5)}, Moments(X))
    torch.testing.assert_close(moments.variance, torch.full((4, 3), 0.5))
    torch.testing.assert_close(moments.mean, net(X))


def test_residual_networks_are_near_the_average_over_many_draws():
    for make in (wide_resnet, resnet18):
        torch.manual_seed(0)
        settings = {"depth": 10, "width": 1} if make is wide_resnet else {"width": 4}
        net = MeanField(make((1, 6, 6), 5, **settings), initial_scale=0.03)
        average = net.logits(X, net.draw(200, seed=1)).mean(0)
        assert (net.moments(X)[0] - average).norm() < 0.7 * (net.logits(X, net.mean())[0] - average).norm()


@pytest.mark.parametrize("p", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("spread", [0.0, 0.8])
def test_dropout_that_stays_on_has_the_moments_of_its_masks(p, spread):
    """Against 400,000 masks of a Gaussian; an input without variance is one with variance zero."""
    rng = torch.Generator().manual_seed(0)
    mean = torch.tensor([-2.0, 0.0, 0.5, 3.0])
    entries = mean + spread * torch.randn(400_000, 4, generator=rng)
    entries *= torch.empty_like(entries).bernoulli_(1 - p, generator=rng) / (1 - p)
    mask = {"mask0": Moments(torch.ones(()), torch.tensor(p / (1 - p)))}
    layer = Masked(p, channels=False)
    moments = dropped(layer, Moments(mean, torch.full((4,), spread**2)), mask)
    torch.testing.assert_close(moments.mean, entries.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(moments.variance, entries.var(0), rtol=0.02, atol=1e-6)
    if spread == 0:
        torch.testing.assert_close(dropped(layer, Moments(mean), mask).variance, moments.variance)


def test_masks_of_different_entries_leave_their_covariance():
    shared = torch.rand(1, 1, 2, 2)
    x = Moments(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2), lambda shifts: dict.fromkeys(shifts, shared))
    mask = {"mask0": Moments(torch.ones(()), torch.ones(()))}
    assert dropped(Masked(0.5, channels=False), x, mask).covariances([(0, 1)])[0, 1] is shared
    assert dropped(Masked(0.5, channels=False), x, {}) is x
    with raises_sentence("knows no whole channels"):
        dropped(Masked(0.5, channels=True), x, mask)


@pytest.mark.parametrize("grey", [0.0, 0.3])
def test_entries_that_are_the_same_have_a_sound_gradient(grey):
    """Their difference has no variance but for rounding, which the derivative of a deviation would blow up."""
    net = model(*small_cnn((1, 28, 28), 10, widths=(8, 16)))
    x = torch.full((2, 1, 28, 28), grey).requires_grad_()
    (gradient,) = torch.autograd.grad(net.moments(x)[0][:, 0].sum(), x)
    (of_mean,) = torch.autograd.grad(net.logits(x, net.mean())[0][:, 0].sum(), x)
    assert gradient.abs().max() < 5 * of_mean.abs().max()


@pytest.mark.parametrize(
    "net",
    [
        mlp((1, 28, 28), 10),
        small_cnn((1, 28, 28), 10, widths=(3, 5)),
        wide_resnet((1, 28, 28), 10, depth=10, width=1, dropout=0.3).eval(),
        resnet18((1, 28, 28), 10, width=4).eval(),
    ],
)
def test_without_variance_the_moments_are_the_network(net):
    x = torch.rand(3, 1, 28, 28)
    plain, still = Deterministic(net), MeanField(net, initial_scale=1e-6)
    for mean, variance in (plain.moments(x), still.moments(x)):
        torch.testing.assert_close(mean, net(x), rtol=1e-4, atol=1e-4)
        assert variance.max() < 1e-8
    assert torch.equal(plain.moments(x)[1], torch.zeros(3, 10))


def test_many_draws_of_a_cnn_are_nearer_to_the_moments_than_to_the_mean_network():
    net = model(*small_cnn((1, 28, 28), 10, widths=(4, 6)), scale=0.05)
    x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    average = torch.stack([net.logits(x, draw)[0] for draw in net.draw(500, seed=1).chunks(1)]).mean(0)
    moments, mean = net.moments(x)[0], net.logits(x, net.mean())[0]
    assert (moments - average).norm() < 0.8 * (mean - average).norm()


def test_expected_logits_take_the_place_of_draws():
    net = model(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3))
    expected = net.expected()
    assert (len(expected), expected.seed, expected.kind) == (1, None, DrawsKind.MOMENTS)
    assert torch.equal(net.logits(X, expected)[0], net.moments(X)[0])
    with torch.no_grad():
        net.mean_vector.add_(1)
    assert not torch.allclose(net.logits(X, expected)[0], net.moments(X)[0])


def test_expected_logits_are_saved_and_loaded(tmp_path):
    net = model(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3))
    net.expected().save(tmp_path / "expected")
    torch.testing.assert_close(net.logits(X, load_draws(tmp_path / "expected")), net.logits(X, net.expected()))


def test_expected_logits_are_differentiable_in_x():
    net = model(nn.Conv2d(1, 4, 3), nn.LeakyReLU(0.1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)).net.double()
    net = MeanField(net, initial_scale=0.2)
    assert torch.autograd.gradcheck(lambda x: net.moments(x), X[:1].double().requires_grad_(), atol=1e-6)


MEANS = torch.tensor([-300.0, -8, -1, -0.1, 0, 0.1, 1, 8, 300], dtype=torch.float64)


@pytest.mark.parametrize("variance", [1e-4, 0.3, 1.0, 50.0])
def test_a_rectified_gaussian(variance):
    grid = torch.linspace(-12, 12, 400_001, dtype=torch.float64)
    weight = torch.exp(-grid.square() / 2)
    values = (MEANS[:, None] + math.sqrt(variance) * grid).clamp_min(0)
    first = (values * weight).sum(1) / weight.sum()
    expected_variance = ((values - first[:, None]).square() * weight).sum(1) / weight.sum()
    mean, variance_above_0, above = rectified(MEANS, torch.full_like(MEANS, variance))
    torch.testing.assert_close(mean, first, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(variance_above_0, expected_variance, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(above, torch.special.ndtr(MEANS / math.sqrt(variance)), rtol=0, atol=1e-9)


def test_the_derivatives_of_a_rectified_gaussian():
    mean = torch.linspace(-3, 3, 7, dtype=torch.float64).requires_grad_()
    variance = torch.linspace(0.2, 4, 7, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(rectified, (mean, variance))


def test_a_rectified_gaussian_of_no_variance_is_finite():
    mean, variance = torch.tensor([-2.0, 0.0, 2.0]).requires_grad_(), torch.zeros(3)
    moments = rectified(mean, variance)
    torch.testing.assert_close(moments[0], torch.tensor([0.0, 0.0, 2.0]))
    assert torch.equal(moments[1], torch.zeros(3))
    (gradient,) = torch.autograd.grad(moments[0].sum() + moments[1].sum(), mean)
    assert gradient.isfinite().all()


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Custom(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(36, 3)

    def forward(self, x):
        return self.layer(x.flatten(1))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Tanh()), r"there is no moment rule for layer '2' \(Tanh\)"),
        (nn.Sequential(nn.Flatten(), nn.Sequential(Doubled(36, 3))), r"no moment rule for layer '1.0' \(Doubled\)"),
        (
            Custom(),
            "no moment rule for a network of class Custom; there are rules for Sequential nets of Linear, Conv2d",
        ),
        (nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2, padding=1)), "MaxPool2d knows no padding"),
        (nn.Sequential(nn.Conv2d(1, 1, 3), nn.AvgPool2d(2, ceil_mode=True)), "AvgPool2d knows no padding, .*ceil_mode"),
        (
            nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")),
            "pads with zeros only; got .*'circular'",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 1, 3), nn.AdaptiveAvgPool2d(2)),
            "AdaptiveAvgPool2d is for an output of size 1; got 2",
        ),
        (
            nn.Sequential(nn.Flatten(), Residual(nn.Linear(36, 36), nn.Sequential(nn.Tanh()))),
            r"no moment rule for layer '1.shortcut.0' \(Tanh\)",
        ),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)), "needs running statistics"),
    ],
)
def test_a_layer_without_a_rule_is_named(net, message):
    with raises_sentence(message):
        MeanField(net).moments(X)


def test_weights_that_are_not_random_have_no_variance():
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    weights = dict(net.named_parameters())
    only_bias = propagate(net, weights, {"1.bias": torch.full((3,), 0.5)}, Moments(X))
    torch.testing.assert_close(only_bias.variance, torch.full((4, 3), 0.5))
