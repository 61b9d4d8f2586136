"""Checks of what a user passes in, made before any work: each error is one sentence."""

import math
import operator
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, get_args

import torch
from torch import Tensor

# attributes of the bounds that pydantic keeps of a range, and the comparison that each stands for
BOUNDS = (("ge", operator.ge), ("gt", operator.gt), ("le", operator.le), ("lt", operator.lt))


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
        probabilities = f"probabilities {tuple(y.shape)}, which only the loss 'kl' takes"
        raise ValueError(f"y must be int64 class indices (B,); got {probabilities}.")
    return soft


def _check_probabilities(y: Tensor, inputs: int) -> None:
    if len(y) != inputs:
        raise ValueError(f"x and y must be of the same length; got {inputs} inputs and probabilities {tuple(y.shape)}.")
    lowest, error = float(y.min()), float((y.float().sum(1) - 1).abs().max())
    if not (lowest >= 0 and error < 0.01):  # NaN fails too; bfloat16 rounds to 1/256
        wrong = f"{lowest:g} and a sum {error:g} away from 1"
        raise ValueError(f"probabilities must be 0 or more, and 1 in sum; got {wrong}.")


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


def check_range(name: str, value: Any, kind: Any) -> None:
    """`value`, of Python or NumPy, is in the range of `kind`, a type such as `Count` or `Positive`."""
    number, field = get_args(kind)
    bounds = [(compare, getattr(b, key)) for b in field.metadata for key, compare in BOUNDS if hasattr(b, key)]
    right_type = isinstance(value, Integral if number is int else Real) and not isinstance(value, bool)
    if not (right_type and math.isfinite(value) and all(compare(value, bound) for compare, bound in bounds)):
        raise ValueError(f"{name} must be {field.description}; got {value!r}.")


def check_ranges(kind: Any, **values: Any) -> None:
    """`check_range` of several arguments of one kind, by name."""
    for name, value in values.items():
        check_range(name, value, kind)


def check_each(name: str, values: Iterable[Any], kind: Any) -> None:
    """Every one of `values` is in the range of `kind`."""
    for value in values:
        check_range(name, value, kind)


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
