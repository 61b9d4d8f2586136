"""What the learner sees in one step: functions (model, x, y, *, seed) -> (x, y), of as many inputs as they like."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unshaken.attacks import NORMS, mean
from unshaken.errors import lookup
from unshaken.models import StochasticClassifier, derive
from unshaken.models.base import mode
from unshaken.models.draws import generator
from unshaken.types import Inputs, Labels
from unshaken.validate import check_count, check_not_negative, check_probability

Seen = tuple[Inputs, Labels]


def clean(model: StochasticClassifier, x: Inputs, y: Labels, *, seed: int) -> Seen:
    """The inputs as they are."""
    return x, y


def adversarial(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    *,
    seed: int,
    eps: float,
    attack: Callable[..., Inputs] = mean,
    probability: float = 0.3,
) -> Seen:
    """The whole batch attacked with this probability, as the model is at this step; otherwise the batch as it is.

    The attack sees the network in eval mode, and draws of its own: the learner's draws are others. Source: Däubener et
    al. (2020), section 3.3, with probability 0.3.
    """
    check_probability("probability", probability)
    check_box(attack, eps, x)
    if float(torch.rand((), generator=generator(derive(seed, "replace"), 0))) >= probability:
        return x, y
    with mode(model.net, training=False):
        return attack(model, x, y, eps=eps, seed=derive(seed, "inputs")), y


def gaussian(shape: torch.Size, size: float, rng: torch.Generator) -> Tensor:
    """N(0, size²) on every entry."""
    return size * torch.randn(shape, generator=rng, device=rng.device)


def uniform(shape: torch.Size, size: float, rng: torch.Generator) -> Tensor:
    """U(−size, size) on every entry."""
    return size * (2 * torch.rand(shape, generator=rng, device=rng.device) - 1)


NOISES: dict[str, Callable[[torch.Size, float, torch.Generator], Tensor]] = {"gaussian": gaussian, "uniform": uniform}


def variable_noise(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    *,
    seed: int,
    size: float,
    noise: str = "gaussian",
    copies: int = 2,
) -> Seen:
    """Every input `copies` times, each with fresh noise of a kind of NOISES, not clipped.

    Two Gaussian copies are how the smoothed models of Däubener & Fischer (2022), section 4.1, were trained.
    """
    check_not_negative("size", size)
    check_count("copies", copies)
    rng = generator(derive(seed, "noise"), 0, x.device)
    x, y = (part.repeat(copies, *[1] * (part.dim() - 1)) for part in (x, y))
    return x + lookup("noise", noise, NOISES)(x.shape, size, rng).to(x.dtype), y


def check_box(attack: Callable[..., Inputs], eps: float, x: Inputs) -> None:
    """`eps` is at most the size of the whole input box, in the norm that the attack would use."""
    norm = _argument(attack, "norm")
    if norm in NORMS:
        box = float(NORMS[norm].size(torch.ones_like(x[:1])))
        if eps > box:
            raise ValueError(
                f"eps {eps:g} is larger than the whole input box, {box:.3g} in the {norm} norm; is {eps:g}/255 meant?"
            )


def _argument(function: Any, word: str) -> Any:
    """What a function would get for an argument that its caller leaves out: bound, or its default, or None."""
    while hasattr(function, "func"):
        if word in function.keywords:
            return function.keywords[word]
        function = function.func
    parameter = inspect.signature(function).parameters.get(word)
    return None if parameter is None else parameter.default


INPUTS: dict[str, Callable[..., Seen]] = {
    "clean": clean,
    "adversarial": adversarial,
    "variable_noise": variable_noise,
}
