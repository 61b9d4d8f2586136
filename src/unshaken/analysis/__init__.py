"""Measurements beside accuracy: functions (model, x, y, *, seed, ...) -> rows, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from unshaken.analysis.conditions import conditions
from unshaken.analysis.directions import ZEROS, gradient_agreement
from unshaken.analysis.flatness import flatness
from unshaken.analysis.latents import latent_shift
from unshaken.analysis.robustness import SMOOTHNESS, Robustness, robustness, smoothness_of
from unshaken.analysis.spread import prediction_variance
from unshaken.analysis.timing import attack_time

if TYPE_CHECKING:
    from pandas import DataFrame

ANALYSES: dict[str, Callable[..., DataFrame]] = {
    "gradient_agreement": gradient_agreement,
    "attack_time": attack_time,
    "conditions": conditions,
    "prediction_variance": prediction_variance,
    "flatness": flatness,
    "latent_shift": latent_shift,
}

__all__ = ["ANALYSES", "SMOOTHNESS", "ZEROS", "Robustness", "robustness", "smoothness_of", *ANALYSES]
