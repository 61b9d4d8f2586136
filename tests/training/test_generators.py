"""Data generators against densities that are known, and what the published formulas say of one step."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from oracles import LinearClassifier, raises_sentence, small_coder, small_inputs, small_model, small_net
from unshaken.models import Chain, Deterministic
from unshaken.training import langevin, wasserstein

X, Y = small_inputs()


def flat_loss(logits: Tensor, y: Tensor) -> Tensor:
    """The mean over draws of the first logit: its gradient is the same everywhere on a linear model."""
    return logits[..., 0].mean(0)


def test_data_are_drawn_from_the_density_of_the_paper() -> None:
    """exp(ℓ − α‖x̃ − x‖²) with ℓ = w·x̃ + b is a Gaussian around x + w/2α with variance 1/2α."""
    net = LinearClassifier(dimensions=4)
    x = torch.full((4000, 1, 1, 4), 0.5)
    y = torch.zeros(4000, dtype=torch.int64)
    batch = langevin(net, x, y, seed=1, step_size=0.02, cost=2.0, steps=150, temperature=1.0, loss=flat_loss)
    moved = (batch.x - x).flatten(1)
    torch.testing.assert_close(moved.mean(0), net.weight[0] / 4, atol=0.03, rtol=0)
    torch.testing.assert_close(moved.T.cov(), torch.eye(4) / 4, atol=0.03, rtol=0)


def test_a_temperature_is_a_factor_of_the_variance() -> None:
    net, settings = LinearClassifier(dimensions=4), {"step_size": 0.02, "cost": 2.0, "steps": 150, "loss": flat_loss}
    x, y = torch.full((4000, 1, 1, 4), 0.5), torch.zeros(4000, dtype=torch.int64)
    moved = (langevin(net, x, y, seed=1, temperature=0.1, **settings).x - x).flatten(1)
    torch.testing.assert_close(moved.var(0), torch.full((4,), 0.025), atol=0.003, rtol=0)


def test_without_temperature_and_cost_it_ascends_the_loss() -> None:
    model = small_model("deterministic")
    settings = {"seed": 0, "step_size": 0.5, "cost": 0.0, "temperature": 0.0, "steps": 5, "loss": "cross_entropy"}
    batch = langevin(model, X, Y, **settings)
    losses = [
        torch.nn.functional.cross_entropy(model.logits(x, model.mean())[0], Y, reduction="none") for x in (X, batch.x)
    ]
    assert (losses[1] > losses[0]).all()
    assert torch.equal(batch.before, X)
    assert torch.equal(batch.y, Y)


def test_a_cost_keeps_data_near() -> None:
    settings = {"seed": 0, "step_size": 0.5, "temperature": 0.0}
    far, near = (langevin(small_model("deterministic"), X, Y, cost=cost, **settings).x for cost in (0.0, 0.5))
    assert ((near - X).flatten(1).norm(dim=1) < (far - X).flatten(1).norm(dim=1)).all()


def test_a_sum_over_chains_goes_as_many_times_as_far_as_their_mean() -> None:
    model, settings = Chain(small_net(), chains=4), {"seed": 0, "cost": 0.3, "temperature": 0.0, "steps": 1}
    moved = langevin(model, X, Y, step_size=0.01, over="sum", **settings).x - X
    torch.testing.assert_close(moved, langevin(model, X, Y, step_size=0.04, over="mean", **settings).x - X)
    one = langevin(Chain(small_net(), chains=1), X, Y, step_size=0.04, **settings).x - X
    torch.testing.assert_close(moved, one)


def test_steps_decay() -> None:
    settings = {"seed": 0, "cost": 0.0, "temperature": 0.0, "loss": flat_loss}
    net, x, y = LinearClassifier(dimensions=4), torch.full((1, 1, 1, 4), 0.5), torch.zeros(1, dtype=torch.int64)
    moved = langevin(net, x, y, step_size=0.1, decay=0.5, steps=3, **settings).x - x
    torch.testing.assert_close(moved.flatten(), 0.175 * net.weight[0])


def test_every_input_may_have_several_chains() -> None:
    batch = langevin(small_model("deterministic"), X, Y, seed=0, step_size=0.1, cost=0.1, chains=3, temperature=0.1)
    assert batch.x.shape == (18, 1, 3, 4)
    assert torch.equal(batch.y, Y.repeat(3))
    assert torch.equal(batch.before, X.repeat(3, 1, 1, 1))
    assert not torch.equal(batch.x[:6], batch.x[6:12])


def test_data_may_be_kept_in_the_box() -> None:
    settings = {"seed": 0, "step_size": 0.1, "cost": 0.1, "temperature": 1.0}
    free, kept = (langevin(small_model("deterministic"), X, Y, clip=clip, **settings).x for clip in (False, True))
    assert free.min() < 0
    assert free.max() > 1
    assert kept.min() == 0
    assert kept.max() == 1


def test_a_flow_moves_pixels_and_makes_none_up() -> None:
    model, settings = (
        small_model("deterministic"),
        {"seed": 0, "cost": 0.1, "temperature": 0.0, "way": "flow", "steps": 3},
    )
    batch = langevin(model, X, Y, step_size=0.01, loss="cross_entropy", **settings)
    losses = [torch.nn.functional.cross_entropy(model.logits(x, model.mean())[0], Y) for x in (X, batch.x)]
    assert losses[1] > losses[0]
    assert (batch.x.flatten(1).amax(1) <= X.flatten(1).amax(1)).all()
    assert torch.equal(langevin(model, X, Y, step_size=1e-12, **settings).x, X)


def test_the_steps_of_wrm_are_those_of_its_authors() -> None:
    net, x, y = LinearClassifier(dimensions=4), torch.full((1, 1, 1, 4), 0.5), torch.zeros(1, dtype=torch.int64)
    w = net.weight[0]

    def bent(logits: Tensor, y: Tensor) -> Tensor:
        """½ (1 + z)² with z = w·(x − ½): its gradient, (1 + z) w, is another one at every point."""
        return (1 + logits[..., 0]).square().mean(0) / 2

    moved = 0.1 * w
    for step in range(3):
        moved = moved + (0.1 * (1 + w @ moved) * w - moved) / (step + 2) ** 0.5
    batch = wasserstein(net, x, y, seed=0, weight=0.1, steps=3, loss=bent)
    torch.testing.assert_close((batch.x - x).flatten(), moved)
    assert torch.equal(batch.before, x)


def test_a_network_in_training_is_in_eval_mode_meanwhile() -> None:
    model = Deterministic(small_net())
    model.net.train()
    same = [langevin(model, X, Y, seed=0, step_size=0.1, cost=0.1, temperature=0.0).x for _ in range(2)]
    assert torch.equal(*same)
    assert model.net.training


BAD = {
    "cold": (
        partial(langevin, step_size=1.0, cost=1.0, temperature=-1e-5),
        "temperature must be a finite number, 0 or more",
    ),
    "no step": (partial(langevin, step_size=0.0, cost=1.0), "step_size must be a number above 0; got 0.0"),
    "attracts": (partial(langevin, step_size=1.0, cost=-1.0), "cost must be a finite number, 0 or more; got -1.0"),
    "no chains": (partial(langevin, step_size=1.0, cost=1.0, chains=0), "chains must be a whole number, 1 or more"),
    "over": (partial(langevin, step_size=1.0, cost=1.0, over="some"), "unknown over 'some': did you mean 'sum'"),
    "way": (partial(langevin, step_size=1.0, cost=1.0, way="pixel"), "unknown way 'pixel': did you mean 'pixels'"),
    "no weight": (partial(wasserstein, weight=0.0), "weight must be a number above 0; got 0.0"),
}


@pytest.mark.parametrize(("generator", "message"), BAD.values(), ids=BAD)
def test_bad_settings_are_answered_in_one_sentence(generator, message: str) -> None:
    with raises_sentence(message):
        generator(small_model("deterministic"), X, Y, seed=0)


def test_latents_have_no_gradient_where_these_start() -> None:
    model = Deterministic(small_coder())
    x, y = small_inputs(4)
    with raises_sentence("a loss of latents has no gradient at the input itself: temperature must be above 0"):
        langevin(model, x, y, seed=0, step_size=0.1, cost=0.1, temperature=0.0, loss="latent_shift")
    with raises_sentence("a loss of latents has no gradient at the input itself, where WRM starts: use 'langevin'"):
        wasserstein(model, x, y, seed=0, loss="latent_shift")
