"""Samplers against a Gaussian whose mean and covariance are known, and what they count and refuse."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from oracles import raises_sentence
from unshaken.training import SGLD, SGAdaLD
from unshaken.training.samplers import Sampler, clamped_share

MEAN = torch.tensor([1.0, -2.0, 0.5])
COVARIANCE = torch.tensor([[1.0, 0.6, 0.0], [0.6, 2.0, -0.4], [0.0, -0.4, 0.5]])
PRECISION = torch.linalg.inv(COVARIANCE)


def sampled(
    make: Callable[[list[Tensor]], Sampler], *, steps: int = 1500, chains: int = 1500
) -> tuple[Tensor, Sampler]:
    """(states (draws, 3), sampler) of many chains side by side, from 0, every 50th step after the first 900."""
    weights = torch.zeros(chains, 3, requires_grad=True)
    sampler, states = make([weights]), []
    for step in range(steps):
        weights.grad = (weights.detach() - MEAN) @ PRECISION
        sampler.step()
        if step >= 900 and step % 50 == 0:
            states.append(weights.detach().clone())
    return torch.cat(states), sampler


SAMPLERS = {
    "sgld": lambda p, **settings: SGLD(p, lr=0.02, **settings),
    "sgadald": lambda p, **settings: SGAdaLD(p, lr=0.15, friction="matched", window=300.0, adapt=300, **settings),
    "sgadald, automatic window": lambda p, **settings: SGAdaLD(p, lr=0.15, friction="matched", adapt=300, **settings),
}


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_gaussian_has_its_mean_and_covariance(name: str, temperature: float) -> None:
    states, _ = sampled(lambda p: SAMPLERS[name](p, temperature=temperature))
    assert (states.mean(0) - MEAN).abs().max() < 0.05
    torch.testing.assert_close(states.T.cov() / temperature, COVARIANCE, rtol=0.06, atol=0.04)


def test_a_preconditioner_that_never_rests_samples_something_else() -> None:
    states, _ = sampled(lambda p: SGAdaLD(p, lr=0.15, friction="matched"))
    assert (states.T.cov().diagonal() / COVARIANCE.diagonal() > 1.5).all()


def test_one_friction_for_all_weights_is_another_temperature_for_each() -> None:
    scales = torch.tensor([1.0, 4.0, 0.25])
    weights = torch.zeros(4000, 3, requires_grad=True)
    sampler, squares = SGAdaLD([weights], lr=0.1, friction=5.0, window=300.0, adapt=300), 0.0
    for step in range(1500):
        weights.grad = weights.detach() / scales
        sampler.step()
        squares += weights.detach().square() / 30 if step >= 600 and step % 30 == 0 else 0.0
    temperature = 5.0 * 0.1 * sampler.state[weights]["v"].rsqrt()
    torch.testing.assert_close((squares / (scales * temperature)).mean(0), torch.ones(3), rtol=0.05, atol=0)


def test_without_temperature_they_descend() -> None:
    for sampler in (lambda p: SGLD(p, lr=0.05, temperature=0.0), lambda p: SGAdaLD(p, lr=0.06, temperature=0.0)):
        states, _ = sampled(sampler, chains=2)
        assert (states[-1] - MEAN).abs().max() < 2 * 0.06**2


def test_the_gradient_is_of_all_training_inputs() -> None:
    for kind in (SGLD, SGAdaLD):
        moved = []
        for settings, gradient in (({"examples": 40}, 1.0), ({"examples": 40, "scale": 1.0}, 40.0)):
            weights = torch.zeros(3, requires_grad=True)
            weights.grad = torch.full((3,), gradient)
            kind([weights], lr=0.01, temperature=0.0, **settings).step()
            moved.append(weights.detach().clone())
        assert torch.allclose(*moved)
        assert moved[0].abs().min() > 0


def test_noise_follows_from_seed_and_step() -> None:
    def walked(seed: int, moving: slice = slice(None)) -> Tensor:
        weights = [torch.zeros(20, requires_grad=True) for _ in range(2)]
        sampler = SGLD(weights, lr=0.1, seed=seed)
        for _ in range(2):
            for p in weights[moving]:
                p.grad = torch.zeros(20)
            sampler.step()
        return torch.stack(weights).detach()

    assert torch.equal(walked(1), walked(1))
    assert not torch.equal(walked(1), walked(2))
    assert torch.equal(walked(1)[0], walked(1, slice(1))[0])
    assert not walked(1, slice(1))[1].any()
    assert not torch.equal(walked(1)[0], walked(1)[1])


def test_negative_variances_are_zero_and_counted() -> None:
    weights = torch.zeros(4, requires_grad=True)
    sampler = SGAdaLD([weights], lr=0.1, friction=1.0, window=1.0)  # 2Cη³/V − η⁴ < 0 where V > 2C/η = 20
    weights.grad = torch.tensor([1.0, 2.0, 5.0, 9.0])
    sampler.step()
    drift = -0.01 * torch.ones(4)
    assert torch.equal(weights.detach()[2:], drift[2:])
    assert (weights.detach()[:2] != drift[:2]).all()
    assert clamped_share(sampler) == 0.5
    assert clamped_share(torch.optim.Adam([weights])) == 0


def test_a_variance_taken_for_a_deviation_is_that_times_the_noise() -> None:
    moved = []
    for form in ("variance", "deviation"):
        weights = torch.zeros(5, requires_grad=True)
        weights.grad = torch.full((5,), 1e-3)
        SGAdaLD([weights], lr=0.1, window=2.0, first=1e-5, reset=True, form=form, temperature=0.5, seed=3).step()
        v = 0.5e-5 + 0.5e-6
        moved.append(weights.detach() + 0.01 * 1e-3 / v**0.5)
    variance = 2 * 0.1**3 / v - 0.1**4
    torch.testing.assert_close(moved[0] * (0.5 * variance) ** -0.5, moved[1] / (0.5 * variance), rtol=1e-3, atol=1e-4)


def test_a_preconditioner_that_is_reset_averages_nothing() -> None:
    weights = torch.zeros(1, requires_grad=True)
    sampler = SGAdaLD([weights], window=4.0, first=1.0, reset=True, temperature=0.0)
    for gradient in (3.0, 1.0):
        weights.grad = torch.full((1,), gradient)
        sampler.step()
        assert sampler.state[weights]["v"].item() == pytest.approx(0.75 + gradient**2 / 4)


@pytest.mark.parametrize("kind", [SGLD, SGAdaLD])
def test_a_saved_state_goes_on_as_if_nothing_was(kind: type[Sampler]) -> None:
    def walk(sampler: Sampler, weights: Tensor, steps: int) -> None:
        for _ in range(steps):
            weights.grad = weights.detach() - 1
            sampler.step()

    weights = torch.zeros(6, requires_grad=True)
    sampler = kind([weights], lr=0.1, seed=4)
    walk(sampler, weights, 3)
    other = weights.detach().clone().requires_grad_()
    again = kind([other], lr=0.1, seed=4)
    again.load_state_dict(copy.deepcopy(sampler.state_dict()))
    walk(sampler, weights, 3)
    walk(again, other, 3)
    assert torch.equal(weights, other)


@pytest.mark.parametrize("stops", [0, 2])
def test_weights_that_no_longer_move_leave_the_others_as_they_would_be(stops: int) -> None:
    def walked(moving: set[int]) -> list[Tensor]:
        weights = [torch.zeros(20, requires_grad=True) for _ in range(3)]
        sampler = SGAdaLD(weights, lr=0.1, friction="matched", seed=4)
        for step in range(6):
            for number, p in enumerate(weights):
                p.grad = p.detach() - 1 if step < 3 or number in moving else None
            sampler.step()
        return [p.detach() for p in weights]

    all_three, two = walked({0, 1, 2}), walked({0, 1, 2} - {stops})
    for number in {0, 1, 2} - {stops}:
        torch.testing.assert_close(two[number], all_three[number])
    assert not torch.allclose(two[stops], all_three[stops])


BAD = {
    "cold": ({"temperature": -1.0}, "temperature must be a finite number, 0 or more; got -1.0"),
    "no step": ({"lr": 0.0}, "lr must be a number above 0; got 0.0"),
    "short window": ({"window": 0.5}, "window must be a number of steps, 1 or more; got 0.5"),
    "no friction": ({"friction": 0.0}, "friction must be a number above 0; got 0.0"),
    "friction in words": ({"friction": "match"}, "unknown friction 'match': did you mean 'matched'?"),
    "form": ({"form": "std"}, "unknown form 'std': choose one of: deviation, variance"),
    "never": ({"adapt": 0}, "adapt must be a whole number, 1 or more; got 0"),
    "nothing": ({"first": 0.0}, "first must be a number above 0; got 0.0"),
}


@pytest.mark.parametrize(("settings", "message"), BAD.values(), ids=BAD)
def test_bad_settings_are_answered_in_one_sentence(settings: dict[str, object], message: str) -> None:
    with raises_sentence(message):
        SGAdaLD([torch.zeros(1, requires_grad=True)], **settings)
    if settings.keys() <= {"temperature", "lr"}:
        with raises_sentence(message):
            SGLD([torch.zeros(1, requires_grad=True)], **settings)
