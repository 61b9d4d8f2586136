"""Noise as a function of (seed, index, copy): its distribution, its independence, that it depends on nothing else."""

import pytest
import torch
from scipy.stats import kstest

from unshaken.training.noise import NOISES, noise_of, shuffled

INDICES = torch.arange(2000)
ZERO = torch.zeros_like(INDICES)


def noise(kind="uniform", size=1.0, seed=3, indices=INDICES, copies=ZERO, shape=(1, 7, 9)):
    return noise_of(kind, size, seed, indices, copies, shape)


@pytest.mark.parametrize(("kind", "law"), [("uniform", ("uniform", (-0.3, 0.6))), ("gaussian", ("norm", (0, 0.3)))])
def test_noise_has_the_law_of_its_name(kind, law):
    assert NOISES.keys() == {"uniform", "gaussian"}
    for seed in (0, 1, -5, 2**63):
        values = noise(kind, 0.3, seed).flatten()
        assert kstest(values[:20000].numpy(), law[0], args=law[1]).pvalue > 1e-3
        assert values.std() == pytest.approx(0.3 if kind == "gaussian" else 0.3 / 3**0.5, rel=0.01)


@pytest.mark.parametrize("kind", NOISES)
def test_neighbours_in_every_direction_are_independent(kind):
    one = noise(kind)
    others = [
        noise(kind, indices=INDICES + 1),
        noise(kind, copies=ZERO + 1),
        noise(kind, seed=4),
        one.roll(1, -1),
        one.roll(1, -2),
    ]
    for other in others:
        pairs = torch.stack([one.flatten(), other.flatten()])
        assert abs(float(torch.corrcoef(pairs)[0, 1])) < 0.015
        assert abs(float(torch.corrcoef(pairs.abs())[0, 1])) < 0.015


def test_neither_seed_nor_copy_stands_for_an_index():
    assert not torch.equal(noise(seed=4), noise(seed=3, indices=INDICES + 1))
    assert not torch.equal(noise(copies=ZERO + 1), noise(indices=INDICES + 1))


@pytest.mark.parametrize("kind", NOISES)
def test_noise_is_a_function_of_seed_index_and_copy(kind):
    some, copy = torch.tensor([7, 3, 1999]), torch.tensor([0, 2, 1])
    together = noise(kind, indices=some, copies=copy)
    for row in range(3):
        alone = noise(kind, indices=some[row : row + 1], copies=copy[row : row + 1])
        assert torch.equal(together[row], alone[0])


@pytest.mark.parametrize("kind", NOISES)
def test_noise_has_the_shape_of_an_input(kind):
    for shape in ((1, 1, 1), (3, 5, 5), (4,)):
        assert noise(kind, shape=shape).shape == (2000, *shape)


def test_shuffled_numbers_are_spread_evenly():
    counts = torch.bincount(shuffled(3, torch.arange(30_000)) % 3)
    assert counts.min() > 9_700
    assert not torch.equal(shuffled(3, INDICES), shuffled(4, INDICES))
