"""Noise on inputs that is a pure function of (seed, index, copy): the same in every epoch, batch and process.

It is computed anew wherever it is needed and stored nowhere. Numbers come from a counter, not from a stream: entry i of
the noise of one copy is the i-th number of splitmix64 from a start that is the hash of (seed, index, copy).
Source of the hash: Steele, Lea & Flood, "Fast splittable pseudorandom number generators" (2014).
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor

from unshaken.errors import lookup
from unshaken.types import OneOf

GOLDEN, FIRST, SECOND = (n - 2**64 for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))  # int64


def uniform(halves: Tensor) -> Tensor:
    """U(−1, 1): one number for every half of 64 random bits, (n, d) int32 -> (n, d)."""
    return halves * 2.0**-31


def gaussian(halves: Tensor) -> Tensor:
    """N(0, 1), two numbers for every two halves. Source: Box & Muller (1958)."""
    first, second = halves.unflatten(1, (-1, 2)).unbind(-1)
    radius = (first * 2.0**-32).add_(0.5).clamp_min_(2.0**-33).log_().mul_(-2).sqrt_()
    angle = second * (math.pi * 2.0**-31)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], -1).flatten(1)


NOISES: dict[str, Callable[[Tensor], Tensor]] = {"gaussian": gaussian, "uniform": uniform}
NoiseName = Annotated[str, OneOf(NOISES)]


def noise_of(kind: str, size: float, seed: int, indices: Tensor, copies: Tensor, shape: Sequence[int]) -> Tensor:
    """Noise (n, *shape) of n copies of inputs: size · N(0, 1) or size · U(−1, 1) on every entry, float32.

    Args:
        kind: a key of NOISES; size: σ of "gaussian", the bound of "uniform", in the scale of x.
        seed, indices, copies: an int, and (n,) int64 on the device that the noise is for: which input, which of its
            copies. The noise of one copy depends on these three numbers alone.
        shape: of one input.
    """
    noise, entries = lookup("noise", kind, NOISES), math.prod(shape)
    start = _mixed(_hashes(seed, indices).add_(copies))
    counter = torch.arange(1, entries // 2 + 2, device=indices.device).mul_(GOLDEN)
    halves = _mixed(start[:, None] + counter).view(torch.int32)
    return noise(halves)[:, :entries].mul_(size).view(len(indices), *shape)


def shuffled(seed: int, indices: Tensor) -> Tensor:
    """A number 0 or more for every index that follows from (seed, index) alone, (n,) int64."""
    return _hashes(seed, indices).bitwise_and_(2**62 - 1)


def _mixed(bits: Tensor) -> Tensor:
    """The finaliser of splitmix64 on int64, whose shifts must not carry the sign."""
    bits = (bits ^ (bits >> 30).bitwise_and_(2**34 - 1)).mul_(FIRST)
    bits = bits.bitwise_xor_((bits >> 27).bitwise_and_(2**37 - 1)).mul_(SECOND)
    return bits.bitwise_xor_((bits >> 31).bitwise_and_(2**33 - 1))


def _hashes(seed: int, indices: Tensor) -> Tensor:
    """A hash of (seed, index) for every index."""
    signed = (seed + 2**63) % 2**64 - 2**63  # the last 64 bits as int64
    return _mixed(indices + _mixed(torch.tensor(signed, device=indices.device)))
