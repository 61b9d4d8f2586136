"""Measurements beside accuracy: functions (model, x, y, *, seed, ...) -> rows, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from unshaken.analysis.directions import ZEROS, gradient_agreement
from unshaken.analysis.timing import attack_time

if TYPE_CHECKING:
    from pandas import DataFrame

ANALYSES: dict[str, Callable[..., DataFrame]] = {
    "gradient_agreement": gradient_agreement,
    "attack_time": attack_time,
}

__all__ = ["ANALYSES", "ZEROS", "attack_time", "gradient_agreement"]
