"""How attacks and gradient estimators are called: callbacks, optional keywords, fixed arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

OnGradient = Callable[[int, Tensor], None]  # (step, gradient)
GradientEstimator = Callable[..., Tensor]  # (model, x, y, draws, loss, *, batch_size) -> ∇_x loss, see `pgd`


def supported_kwargs(function: Callable[..., Tensor], **keywords: Any) -> dict[str, Any]:
    """The keywords in the signature of `function`: one from outside need not know `indices` or `on_gradient`."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in keywords.items() if name in parameters}


def fixed_argument(name: str, value: object) -> ValueError:
    """The error for an argument that an attack fixes for good."""
    return ValueError(f"{name} is fixed at {value!r} in this attack: use pgd to set it.")
