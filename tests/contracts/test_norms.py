"""What every norm promises: a projection onto its ball, the steepest step, starts inside."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unshaken.attacks.norms import NORMS, STARTS

pytestmark = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
EPS = torch.tensor([0.0, 0.01, 0.3, 1.0, 1e6])


def vectors(n: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(n, 2, 3, 4, generator=torch.Generator().manual_seed(seed))


def dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def test_size_grows_with_the_perturbation_and_is_one_number_for_each(norm):
    sizes = norm.size(vectors())
    assert sizes.shape == (5,)
    torch.testing.assert_close(norm.size(-3 * vectors()), 3 * sizes)
    assert (norm.size(vectors() + vectors(seed=1)) <= sizes + norm.size(vectors(seed=1))).all()


def test_projection_is_inside_the_ball_and_idempotent(norm):
    inside = norm.project(vectors(), EPS)
    assert (norm.size(inside) <= EPS * (1 + 1e-6)).all()
    torch.testing.assert_close(norm.project(inside, EPS), inside)


def test_projection_changes_nothing_inside_the_ball(norm):
    d = vectors()
    assert torch.equal(norm.project(d, norm.size(d) * 1.001), d)
    assert torch.equal(norm.project(torch.zeros_like(d), EPS), torch.zeros_like(d))


def test_projection_is_the_nearest_point_of_the_ball(norm):
    d, eps = vectors().double(), EPS.double().clamp(max=1)
    nearest = norm.project(d, eps)
    for seed in range(100):
        other = norm.project(vectors(seed=seed).double(), eps)
        assert ((d - nearest).flatten(1).norm(dim=1) <= (d - other).flatten(1).norm(dim=1) + 1e-9).all()


def test_no_step_of_size_1_climbs_more_than_the_direction(norm):
    g = vectors()
    best = norm.direction(g)
    torch.testing.assert_close(norm.size(best), torch.ones(len(g)))
    for seed in range(1, 300):
        other = vectors(seed=seed)
        other = other / norm.size(other).view(-1, 1, 1, 1)
        assert (dot(g, best) >= dot(g, other)).all()
        assert (dot(g, best) >= dot(g, norm.direction(other)) - 1e-5).all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_direction_survives_tiny_and_huge_gradients(norm, scale):
    torch.testing.assert_close(norm.direction(vectors() * scale), norm.direction(vectors()))


def test_direction_of_a_zero_gradient_is_zero(norm):
    assert torch.equal(norm.direction(torch.zeros(2, 1, 3, 3)), torch.zeros(2, 1, 3, 3))


def starts(norm, kind: str, seed: int = 0) -> Tensor:
    return norm.start(vectors(1000), kind, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", [kind for kind in STARTS if kind != "none"])
def test_starts_are_inside_the_unit_ball_and_all_are_different(norm, kind):
    start = starts(norm, kind)
    assert (norm.size(start) <= 1 + 1e-6).all()
    assert abs(start.mean()) < 0.02
    assert torch.equal(start, starts(norm, kind))
    assert not torch.equal(start, starts(norm, kind, seed=1))
    assert len(start.flatten(1).unique(dim=0)) == 1000


@pytest.mark.parametrize("kind", ["uniform", "gaussian"])
def test_starts_fill_the_ball(norm, kind):
    assert norm.size(starts(norm, kind)).max() > 0.6


def test_a_number_is_the_share_of_the_ball_that_a_gaussian_start_has(norm):
    assert torch.equal(starts(norm, 1 / 32), starts(norm, "near"))
    assert torch.equal(starts(norm, 0.5), starts(norm, "gaussian"))


def test_a_start_near_the_input_is_a_gaussian_of_a_32nd_of_the_ball(norm):
    entries = starts(norm, "near").flatten(1)
    if norm is NORMS["l2"]:
        torch.testing.assert_close(entries.norm(dim=1).square().mean(), torch.tensor(1 / 32**2), rtol=0.02, atol=0)
        entries = entries * 24**0.5
    torch.testing.assert_close(entries.std(), torch.tensor(1 / 32), rtol=0.02, atol=0)
    assert abs((entries.abs() < 1 / 32).float().mean() - 0.683) < 0.01
