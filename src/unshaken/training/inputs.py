"""What the learner sees in one step: functions (model, x, y, *, seed) -> x of the same shape."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from unshaken.attacks import NORMS, mean
from unshaken.models import StochasticClassifier, derive
from unshaken.models.base import mode
from unshaken.models.draws import generator
from unshaken.types import Inputs, Labels
from unshaken.validate import check_probability


def clean(model: StochasticClassifier, x: Inputs, y: Labels, *, seed: int) -> Inputs:
    """The inputs as they are."""
    return x


def adversarial(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    *,
    seed: int,
    eps: float,
    attack: Callable[..., Inputs] = mean,
    probability: float = 0.3,
) -> Inputs:
    """The whole batch attacked with this probability, as the model is at this step; otherwise the batch as it is.

    The attack sees the network in eval mode, and draws of its own: the learner's draws are others. Source: Däubener et
    al. (2020), section 3.3, with probability 0.3.
    """
    check_probability("probability", probability)
    check_box(attack, eps, x)
    if float(torch.rand((), generator=generator(derive(seed, "replace"), 0))) >= probability:
        return x
    with mode(model.net, training=False):
        return attack(model, x, y, eps=eps, seed=derive(seed, "inputs"))


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


INPUTS: dict[str, Callable[..., Inputs]] = {"clean": clean, "adversarial": adversarial}
