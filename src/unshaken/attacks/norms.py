"""Balls of perturbations: how a norm measures, projects, steps and starts, and what becomes of a gradient in them."""

import math
from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from unshaken.types import OneOf

DEVIATIONS = {"gaussian": 1 / 2, "near": 1 / 32}  # of a Gaussian start, as shares of the radius of the ball


class Norm(NamedTuple):
    """Four functions; sizes are (N,), perturbations (N, ...)."""

    description: str
    size: Callable[[Tensor], Tensor]  # ‖d‖, (N,)
    project: Callable[[Tensor, Tensor], Tensor]  # (d, eps): the nearest point of the ball
    direction: Callable[[Tensor], Tensor]  # g: the d with ‖d‖ <= 1 that maximises <g, d>
    start: Callable[[Tensor, str | float, torch.Generator], Tensor]  # (like, kind, rng): a start in the unit ball


def per_input(values: Tensor, like: Tensor) -> Tensor:
    """(N,) values, to be multiplied with (N, ...)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def _deviation(kind: str | float) -> float:
    """The standard deviation of a Gaussian start, as a share of the radius of the ball."""
    return DEVIATIONS[kind] if isinstance(kind, str) else kind


def _linf_start(like: Tensor, kind: str | float, rng: torch.Generator) -> Tensor:
    if kind == "uniform":
        return torch.rand(like.shape, generator=rng, dtype=like.dtype, device=like.device) * 2 - 1
    noise = torch.randn(like.shape, generator=rng, dtype=like.dtype, device=like.device)
    return (noise * _deviation(kind)).clamp(-1, 1)


def _l2_size(d: Tensor) -> Tensor:
    return d.flatten(1).norm(dim=1)


def _l2_project(d: Tensor, eps: Tensor) -> Tensor:
    size = _l2_size(d)
    return d * per_input(torch.where(size > eps, eps / size.clamp_min(torch.finfo(d.dtype).tiny), 1.0), d)


def _l2_direction(g: Tensor) -> Tensor:
    # scaled by its largest entry first: squares of small gradients would underflow
    g = g / per_input(g.flatten(1).abs().amax(1).clamp_min(torch.finfo(g.dtype).tiny), g)
    size = _l2_size(g)
    return g / per_input(torch.where(size > 0, size, 1.0), g)


def _l2_start(like: Tensor, kind: str | float, rng: torch.Generator) -> Tensor:
    noise = torch.randn(like.shape, generator=rng, dtype=like.dtype, device=like.device)
    dimensions = like[0].numel()
    if kind == "uniform":
        radius = torch.rand(len(like), generator=rng, dtype=like.dtype, device=like.device) ** (1 / dimensions)
        return _l2_direction(noise) * per_input(radius, like)
    return _l2_project(noise * (_deviation(kind) / math.sqrt(dimensions)), torch.ones_like(_l2_size(noise)))


NORMS: dict[str, Norm] = {
    "linf": Norm(
        description="the largest change of any one number of the input",
        size=lambda d: d.flatten(1).abs().amax(1),
        project=lambda d, eps: d.maximum(-per_input(eps, d)).minimum(per_input(eps, d)),  # faster than clamp by tensors
        direction=torch.sign,
        start=_linf_start,
    ),
    "l2": Norm("the Euclidean length of the change", _l2_size, _l2_project, _l2_direction, _l2_start),
}
NormName = Annotated[str, OneOf(NORMS)]

# where an iterative attack starts
STARTS = {
    "none": "at the input itself",
    "uniform": "uniformly in the ball",
    "gaussian": "Gaussian with half the size of the ball, projected",
    "near": "Gaussian with 1/32 of the size of the ball, for losses that have no gradient at the input itself",
}
StartName = Annotated[str, OneOf(STARTS)]


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
