"""Checks of what a user passes in, made before any work: each error is one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor


def check_inputs(x: Tensor, y: Tensor, *, soft: bool = False, unlabelled: bool = False) -> None:
    """`x` (B, ...) floating point, finite and in [0, 1]; `y` (B,) int64, not negative; B at least 1.

    With `soft`, `y` may also be probabilities (B, K): floating point, each row with sum 1. A label may
    be −1, that of no class, where `unlabelled`.
    """
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        raise ValueError(f"x and y must be torch tensors; got {type(x).__name__} and {type(y).__name__}.")
    if x.dim() < 2:
        raise ValueError(f"x must have a batch axis and an input axis, such as (B, C, H, W); got {tuple(x.shape)}.")
    if not x.is_floating_point():
        raise ValueError(f"x must be floating point in [0, 1]; got {x.dtype}: divide 8-bit images by 255.")
    if len(x) == 0:
        raise ValueError("x is empty: at least one input is needed.")
    low, high = (float(v) for v in torch.aminmax(x.detach()))
    if math.isnan(low) or math.isinf(low) or math.isinf(high):
        raise ValueError("x contains NaN or infinite values; inputs must be finite and in [0, 1].")
    if low < 0 or high > 1:
        raise ValueError(f"x must lie in [0, 1] (normalise inside the network); got values in [{low:g}, {high:g}].")
    if _is_soft(y, soft):
        return _check_probabilities(y, len(x))
    if y.dtype != torch.int64:
        raise ValueError(f"y must be int64 class indices; got {y.dtype}: use y.long().")
    if y.shape != x.shape[:1]:
        raise ValueError(f"x and y must be of the same length; got {len(x)} inputs and labels {tuple(y.shape)}.")
    if (lowest := int(y.min())) < -unlabelled:
        hint = ", which only an attack on the latent takes" if lowest == -1 else ""
        raise ValueError(f"labels must be 0 or more; got {lowest}{hint}.")


def _is_soft(y: Tensor, allowed: bool) -> bool:
    """Whether `y` looks like probabilities (B, K); an error where these are not allowed."""
    soft = y.is_floating_point() and y.dim() == 2
    if soft and not allowed:
        raise ValueError(
            f"y must be int64 class indices (B,); got probabilities {tuple(y.shape)}, which only the loss 'kl' takes."
        )
    return soft


def _check_probabilities(y: Tensor, inputs: int) -> None:
    if len(y) != inputs:
        raise ValueError(f"x and y must be of the same length; got {inputs} inputs and probabilities {tuple(y.shape)}.")
    lowest, error = float(y.min()), float((y.float().sum(1) - 1).abs().max())
    if not (lowest >= 0 and error < 0.01):  # NaN fails too; bfloat16 rounds to 1/256
        raise ValueError(
            f"probabilities must be 0 or more, and 1 in sum; got {lowest:g} and a sum {error:g} away from 1."
        )


def check_labels(y: Tensor, classes: int, *, soft: bool = False) -> None:
    """Every label is below the number of classes of the logits, and there are two classes at least.

    With `soft`, `y` may also be probabilities (B, K), one for each of the classes.
    """
    if classes < 2:
        raise ValueError(f"a classifier needs 2 logits at least; this network gives {classes}.")
    if _is_soft(y, soft):
        if y.shape[1] != classes:
            raise ValueError(f"y must have {classes} probabilities, as many as there are logits; got {y.shape[1]}.")
    elif int(y.max()) >= classes:
        raise ValueError(f"labels must be below {classes}, the number of logits; got {int(y.max())}.")


def check_members(name: str, value: Any) -> None:
    """A whole number, 2 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 2:
        raise ValueError(f"an ensemble needs two {name} or more; got {value}: one network is a 'deterministic' model.")


def check_count(name: str, value: Any) -> None:
    """A number of things, at least one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number, 1 or more; got {value!r}.")


def check_positive(name: str, value: float) -> None:
    """A finite number above zero."""
    if isinstance(value, bool) or not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a number above 0; got {value!r}.")


def check_probability(name: str, value: float) -> None:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1; got {value!r}.")


def check_share(name: str, value: float) -> None:
    """A part of a whole that leaves something: a number between 0 and 1, neither of them."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ValueError(f"{name} must be a number above 0 and below 1; got {value!r}.")


def check_not_negative(name: str, value: float) -> None:
    """A finite number, zero or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a finite number, 0 or more; got {value!r}.")


def check_eps(eps: float | Tensor | Sequence[float | Tensor], inputs: int) -> None:
    """Perturbation sizes: finite, 0 or more; a tensor has one size for each of the inputs."""
    sizes: list[Any] = list(eps) if isinstance(eps, list | tuple) else [eps]
    if not sizes:
        raise ValueError("eps is an empty list: at least one perturbation size is needed.")
    for size in sizes:
        if not isinstance(size, Tensor | Real):
            raise ValueError(f"eps must be a number, a tensor or a list of these; got {size!r}.")
        if isinstance(size, Tensor) and size.dim() > 0 and size.shape != (inputs,):
            raise ValueError(f"eps must have one size per input, shape ({inputs},); got {tuple(size.shape)}.")
        low, high = map(float, torch.aminmax(size)) if isinstance(size, Tensor) else (float(size), float(size))
        if not (low >= 0 and math.isfinite(high)):
            raise ValueError(f"eps must be finite and 0 or more; got {size}.")
