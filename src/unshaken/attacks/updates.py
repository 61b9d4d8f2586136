"""Update directions: what an iterative attack makes of a gradient, before the step size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from unshaken.attacks.norms import Norm
from unshaken.types import OneOf


def _steepest(norm: Norm) -> Callable[[Tensor], Tensor]:
    """The norm's steepest step: the sign of the gradient, or the gradient at length one."""
    return norm.direction


def _adam(norm: Norm) -> Callable[[Tensor], Tensor]:
    """Adam's step with β = (0.9, 0.999), for learning rate 1. Source: Kingma & Ba (2015), algorithm 1."""
    first, second, step = torch.zeros(()), torch.zeros(()), 0

    def direction(gradient: Tensor) -> Tensor:
        nonlocal first, second, step
        step += 1
        first = 0.9 * first.to(gradient) + 0.1 * gradient
        second = 0.999 * second.to(gradient) + 0.001 * gradient.square()
        return (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-9)

    return direction


def _gradient(norm: Norm) -> Callable[[Tensor], Tensor]:
    """The gradient itself, of whatever length it has: a step is as long as the loss is steep."""
    return torch.clone  # a copy, since the step is scaled in place and `on_gradient` may have kept the gradient


UPDATES: dict[str, Callable[[Norm], Callable[[Tensor], Tensor]]] = {
    "steepest": _steepest,
    "adam": _adam,
    "gradient": _gradient,
}
UpdateName = Annotated[str, OneOf(UPDATES)]
