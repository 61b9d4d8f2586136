"""What the learner sees in one step: functions (model, x, y, *, seed) -> x of the same shape."""

from __future__ import annotations

from collections.abc import Callable

from unshaken.models import StochasticClassifier
from unshaken.types import Inputs, Labels


def clean(model: StochasticClassifier, x: Inputs, y: Labels, *, seed: int) -> Inputs:
    """The inputs as they are."""
    return x


INPUTS: dict[str, Callable[..., Inputs]] = {"clean": clean}
