"""Matrix Gaussian posteriors: variances of rank one, the KL in closed form, outputs drawn instead of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, kl_divergence

from oracles import raises_sentence, small_inputs, small_net
from unshaken.models import MatrixGaussian
from unshaken.networks import mlp, small_cnn
from unshaken.training.objectives import elbo

X, Y = small_inputs()


def spread_out(net: nn.Module, **settings) -> MatrixGaussian:
    """A posterior with other variances in every row and column."""
    model = MatrixGaussian(net, **settings)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for matrix in model.matrices:
            matrix.rows.add_(torch.randn(matrix.rows.shape, generator=rng))
            matrix.columns.add_(torch.randn(matrix.columns.shape, generator=rng))
    return model


def dense(**settings) -> MatrixGaussian:
    return spread_out(nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3)), **settings)


def convolutional() -> MatrixGaussian:
    net = nn.Sequential(nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3, bias=False))
    return spread_out(net)


@pytest.mark.parametrize("make", [dense, convolutional])
def test_weights_have_the_mean_and_the_variance_of_their_row_and_column(make):
    model = make()
    drawn = model.draw(4000, seed=1).stack()
    means = dict(model.net.named_parameters())
    for matrix in model.matrices:
        inputs = matrix.layer.weight[0].numel()
        u, v = matrix.rows.detach().exp(), matrix.columns.detach().exp()
        weight = drawn[f"{matrix.name}.weight"].flatten(2)
        torch.testing.assert_close(weight.var(0), torch.outer(v, u[:inputs]), rtol=0.15, atol=0)
        torch.testing.assert_close(
            weight.mean(0), means[f"{matrix.name}.weight"].detach().flatten(1), rtol=0, atol=0.15
        )
        if f"{matrix.name}.bias" in drawn:
            torch.testing.assert_close(drawn[f"{matrix.name}.bias"].var(0), v * u[-1], rtol=0.15, atol=0)
        else:
            assert len(u) == inputs
    exact = model.variances()
    assert exact.keys() == drawn.keys()
    for name, variance in exact.items():
        torch.testing.assert_close(drawn[name].var(0), variance, rtol=0.15, atol=0)


@pytest.mark.parametrize("make", [dense, convolutional])
@pytest.mark.parametrize("prior_scale", [1.0, 0.7])
def test_the_divergence_is_that_of_independent_gaussians(make, prior_scale):
    model = make()
    model.prior_scale = prior_scale
    total = 0.0
    means = dict(model.net.named_parameters())
    for name, variance in model.variances().items():
        mean, variance = means[name].detach().flatten().double(), variance.flatten().double()
        posterior = MultivariateNormal(mean, torch.diag(variance))
        prior = MultivariateNormal(torch.zeros_like(mean), prior_scale**2 * torch.eye(len(mean), dtype=mean.dtype))
        total += float(kl_divergence(posterior, prior))
    assert float(model.divergence().detach()) == pytest.approx(total, rel=1e-4)


def test_variances_start_at_minus_3():
    model = MatrixGaussian(small_net())
    for variance in model.variances().values():
        torch.testing.assert_close(variance.sqrt(), torch.full_like(variance, 0.0498), atol=1e-4, rtol=0)
    wide = MatrixGaussian(small_net(), initial_log_variance=0.0)
    assert all((variance == 1).all() for variance in wide.variances().values())


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(12, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 12)),
        nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)),
    ],
)
def test_outputs_drawn_in_training_have_the_moments_of_drawn_weights(net):
    model = MatrixGaussian(net, initial_log_variance=-1.0)
    assert model.local is not None
    local = torch.cat([model.training_logits(X, 500, seed).detach() for seed in range(8)])
    drawn = model.logits(X, model.draw(4000, seed=1)).detach()
    scale = drawn.std(0)
    assert ((local.mean(0) - drawn.mean(0)) / scale).abs().max() < 0.1
    torch.testing.assert_close(local.std(0), scale, rtol=0.08, atol=0)


def test_outputs_drawn_in_training_are_independent_between_inputs_and_draws_of_weights_are_not():
    model = spread_out(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))
    same = X[:1].repeat(2, 1, 1, 1)
    local = model.training_logits(same, 3000, 0).detach()[..., 0]
    drawn = model.logits(same, model.draw(3, seed=1)).detach()[..., 0]
    assert torch.corrcoef(local.T)[0, 1].abs() < 0.06
    assert torch.equal(drawn[:, 0], drawn[:, 1])


def test_every_hidden_layer_draws_its_own_outputs():
    model = dense()
    logits = model.training_logits(X, 4, 0)
    assert logits.shape == (4, len(X), 3)
    assert len(logits.flatten(0, 1).unique(dim=0)) == 4 * len(X)
    assert torch.equal(logits, model.training_logits(X, 4, 0))
    assert model.cost.forwards == 8 * len(X)


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(12, 3)),
        nn.Sequential(nn.Linear(4, 3), nn.Flatten(), nn.Linear(9, 3)),
        nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(12, 3))),
        nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Linear(12, 12)),
    ],
)
def test_other_networks_are_trained_with_drawn_weights(net):
    if len(net) == 3 and isinstance(net[2], nn.Linear) and isinstance(net[0], nn.Flatten):
        net[2] = net[1]  # a layer that is used twice has the same weights both times
    model = MatrixGaussian(net)
    assert model.local is None
    drawn = model.logits(X, model.draw(3, seed=7))
    torch.testing.assert_close(model.training_logits(X, 3, 7), drawn)


def test_attack_and_inference_draws_are_weights_also_after_training_logits():
    model = dense()
    before = model.logits(X, model.draw(2, seed=1))
    model.training_logits(X, 3, 0)
    assert torch.equal(model.logits(X, model.draw(2, seed=1)), before)


def test_training_reaches_means_rows_and_columns():
    model = dense()
    elbo(model, X, Y, examples=10, seed=0, draws=2).backward()
    assert len(model.parameters()) == 8
    assert all(bool((parameter.grad != 0).any()) for parameter in model.parameters())


def test_the_users_network_is_copied_and_frozen_weights_are_learnt_too():
    net = small_net().requires_grad_(False)
    model = MatrixGaussian(net)
    assert len(model.parameters()) == 8
    with torch.no_grad():
        model.parameters()[0].add_(1)
    assert torch.equal(net[1].weight, small_net()[1].weight)


def test_moments_are_those_of_many_draws():
    model = MatrixGaussian(mlp((1, 3, 4), 3, widths=(32, 32)), initial_log_variance=-2.0)
    mean, variance = model.moments(X)
    drawn = model.logits(X, model.draw(4000, seed=1)).detach()
    assert ((mean - drawn.mean(0)) / drawn.std(0)).abs().max() < 0.1
    assert (variance.sqrt() / drawn.std(0) - 1).abs().max() < 0.1


def test_an_image_of_zeros_has_a_gradient_where_there_is_no_bias():
    model = MatrixGaussian(nn.Sequential(nn.Flatten(), nn.Linear(12, 3, bias=False)))
    elbo(model, torch.zeros_like(X), Y, examples=10, seed=0).backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters())


def test_a_convolutional_network_has_a_matrix_for_every_layer():
    model = MatrixGaussian(small_cnn((1, 16, 16), 3, widths=(2, 4)))
    assert [(len(m.columns), len(m.rows)) for m in model.matrices] == [(2, 26), (4, 51), (3, 5)]


@pytest.mark.parametrize(
    ("net", "settings", "message"),
    [
        (small_net(), {"prior_scale": 0.0}, "prior_scale must be a number above 0; got 0.0"),
        (small_net(), {"initial_log_variance": float("nan")}, "initial_log_variance must be a finite number; got nan"),
        (nn.Flatten(), {}, "matrix_gaussian needs a network with dense or convolutional layers"),
    ],
)
def test_what_cannot_be_made_is_refused(net, settings, message):
    with raises_sentence(message):
        MatrixGaussian(net, **settings)


class Doubled(nn.Linear):
    """A dense layer with a forward pass of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_a_layer_with_a_forward_pass_of_its_own_is_trained_with_drawn_weights():
    model = MatrixGaussian(nn.Sequential(nn.Flatten(), Doubled(12, 3)))
    torch.testing.assert_close(model.training_logits(X, 3, 7), model.logits(X, model.draw(3, seed=7)))


def test_weights_that_are_shared_or_made_of_others_are_refused():
    shared = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Linear(12, 12))
    shared[2].weight = shared[1].weight
    with raises_sentence("needs a weight of its own for every layer; two layers share one here"):
        MatrixGaussian(shared)
    normed = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(12, 3)))
    with raises_sentence("layer '1' has no weight of its own to be random"):
        MatrixGaussian(normed)
