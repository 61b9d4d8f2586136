"""Attacks on the latent: the gradient draw by draw, a start away from the input, and no look at the labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from oracles import precise_coder as model
from oracles import raises_sentence, small_coder, small_inputs, small_model
from unshaken.attacks import fgsm, input_gradient, pgd, spsa
from unshaken.attacks.losses import cw, latent_shift
from unshaken.attacks.objective import GRAPHS, loss_target
from unshaken.models import Deterministic
from unshaken.models.latents import latents

X, Y = small_inputs(10, dtype=torch.float64)
DELTA = 0.05 * torch.randn(X.shape, generator=torch.Generator().manual_seed(1), dtype=X.dtype)
MOVED = (X + DELTA).clamp(0, 1)
NEAR = {"loss": "latent_shift", "start": "near"}


def shift(net, x_adv, *, seed: int = 9) -> torch.Tensor:
    """The loss under 200 draws of another seed."""
    draws = net.draw(200, seed=seed)
    return latent_shift(latents(net, x_adv, draws), latents(net, X, draws))


@pytest.mark.parametrize("chunk", [None, 1, 64])
@pytest.mark.parametrize("batch_size", [256, 3])
def test_the_gradient_compares_every_draw_with_itself(chunk, batch_size):
    net = model()
    draws = net.draw(40, seed=0)
    x = MOVED.clone().requires_grad_()
    moved, clean = (torch.stack([plain(state, inputs) for state in draws]) for inputs in (x, X))
    (expected,) = torch.autograd.grad((moved - clean).square().sum(-1).mean(0).sum(), x)
    net.cost.gradients = 0
    gradient = input_gradient(net, MOVED, X, draws, latent_shift, chunk=chunk, batch_size=batch_size)
    torch.testing.assert_close(gradient, expected)
    assert net.cost.gradients == 40 * len(X)


def plain(state, x):
    """The mean of the latent, layer by layer."""
    hidden = torch.relu(x.flatten(1) @ state["trunk.1.weight"].T + state["trunk.1.bias"])
    return hidden @ state["mean.weight"].T + state["mean.bias"]


def test_no_more_than_a_few_draws_are_in_one_graph(monkeypatch):
    net, most = model(), []

    def counted(net, x, draws):
        most.append(len(draws))
        return latents(net, x, draws)

    monkeypatch.setattr("unshaken.attacks.objective.latents", counted)
    input_gradient(net, MOVED, X, net.draw(100, seed=0), latent_shift)
    assert max(most) < GRAPHS


class Linear(nn.Module):
    """μ = Ax: the largest ‖Aδ‖² for ‖δ‖ <= eps is (eps·σ)², with σ the largest singular value of A."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 3, bias=False).double()
        self.layer.weight.data = torch.randn(3, 12, generator=torch.Generator().manual_seed(0), dtype=X.dtype)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x.flatten(1)), torch.zeros(())


@pytest.mark.parametrize("restarts", [1, 3])
def test_it_finds_the_largest_shift_of_a_linear_encoder(restarts):
    net = Deterministic(Linear())
    x = 0.4 + 0.2 * X
    x_adv = pgd(net, x, Y, eps=0.1, norm="l2", steps=60, step_size=0.05, restarts=restarts, **NEAR)
    assert (x_adv - x).flatten(1).norm(dim=1).max() <= 0.1 + 1e-9
    shifted = latent_shift(latents(net, x_adv, net.draw(1)), latents(net, x, net.draw(1)))
    largest = (0.1 * torch.linalg.matrix_norm(net.net.layer.weight, 2)) ** 2
    torch.testing.assert_close(shifted, largest.expand(len(X)).detach(), rtol=0.05, atol=0)


def test_it_moves_the_latent_further_than_as_much_noise():
    net = model()
    noise = X + 0.1 * DELTA / DELTA.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    assert (shift(net, pgd(net, X, Y, eps=0.1, norm="l2", draws=20, **NEAR)) > shift(net, noise)).all()


def test_of_several_restarts_the_one_that_moves_the_latent_furthest_is_kept():
    net = Deterministic(small_coder(dtype=torch.float64))
    one, other = (pgd(net, X, Y, eps=0.3, steps=1, restarts=k, **NEAR) for k in (1, 8))
    assert (shift(net, other) >= shift(net, one)).all()
    assert (shift(net, other) > shift(net, one)).any()


def test_labels_do_not_matter_and_may_be_missing():
    net, settings = model(), {"eps": [0.1, 0.2], "draws": 3, **NEAR}
    expected = pgd(net, X, Y, **settings)
    assert torch.equal(pgd(net, X, torch.full_like(Y, -1), **settings), expected)
    assert loss_target(latent_shift, X, Y).equal(X)
    assert loss_target(cw, X, Y) is Y
    with raises_sentence("labels must be 0 or more; got -2"):
        pgd(net, X, torch.full_like(Y, -2), **settings)
    with raises_sentence("labels must be 0 or more; got -1, which only an attack on the latent takes"):
        pgd(net, X, torch.full_like(Y, -1), eps=0.1)


def test_values_alone_will_do():
    net, settings = model(), {"eps": 0.1, "steps": 5, "draws": 5, "update": "steepest", "step_size": 0.04, **NEAR}
    estimated = spsa(net, X, Y, directions=200, **settings)
    assert (shift(net, estimated) > 0.8 * shift(net, pgd(net, X, Y, **settings))).all()


def test_what_cannot_work_is_answered_in_one_sentence():
    net = model()
    for attack in (pgd, fgsm, spsa):
        with raises_sentence("no gradient at the input itself: use pgd with a start such as 'near', not 'none'"):
            attack(net, X, Y, eps=0.1, loss="latent_shift")
    assert net.cost.forwards == 0
    with raises_sentence("latents need a number of draws, or the mean network"):
        pgd(net, X, Y, eps=0.1, draws="moments", **NEAR)
    with raises_sentence(r"latents are those of a network with encode\(\), such as 'vae'; Sequential has none"):
        pgd(small_model("mean_field", dtype=X.dtype), X, Y, eps=0.1, **NEAR)
    with raises_sentence(r"needs the clean inputs in the place of the labels, \(10, 1, 3, 4\); got \(10,\)"):
        input_gradient(net, X, Y, net.draw(2, seed=0), latent_shift)
    assert pgd(net, X, Y, eps=0.1, draws="mean", **NEAR).shape == X.shape
