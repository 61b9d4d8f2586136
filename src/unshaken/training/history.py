"""The history of a training: a record of each epoch and of the evaluations in it, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from pydantic import ConfigDict

from unshaken.models import StochasticClassifier


class Meter:
    """Seconds, forward passes and gradients with respect to inputs (in inputs x draws) of a model from now on."""

    def __init__(self, model: StochasticClassifier) -> None:
        self.cost, self.before, self.started = model.cost, replace(model.cost), time.perf_counter()

    def spent(self, without: Sequence[Score] = ()) -> tuple[float, int, int]:
        """What was spent so far, but for these evaluations."""
        return (
            time.perf_counter() - self.started - sum(score.seconds for score in without),
            self.cost.forwards - self.before.forwards - sum(score.forwards for score in without),
            self.cost.gradients - self.before.gradients - sum(score.gradients for score in without),
        )


@dataclass(frozen=True)
class Score:
    """One evaluation during training.

    step: the minibatch after which it was, counted over all epochs from 1.
    images, right: how many were evaluated, and classified correctly by name of the attack, "clean" first.
    selected: whether the model has the weights of this step in the end.
    """

    step: int
    images: int
    right: dict[str, int]
    seconds: float
    forwards: int
    gradients: int
    selected: bool = False

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Epoch:
    """One epoch of training.

    loss: mean over the epoch, in nats per example.
    accuracy: on the first 1,000 training inputs with 10 draws.
    seconds, forwards, gradients: its cost (`Meter`) without that of `scores`.
    clamped: share of a sampler's noise variances so far that were negative and taken as zero.
    diverged: chains that diverged in it. scores: the evaluations of a monitor.
    """

    loss: float
    accuracy: float
    seconds: float
    forwards: int = 0
    gradients: int = 0
    clamped: float = 0.0
    diverged: list[str] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")


def scores_of(epochs: Iterable[Epoch]) -> list[Score]:
    return [score for epoch in epochs for score in epoch.scores]
