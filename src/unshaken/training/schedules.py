"""Learning-rate schedules: functions (epoch, epochs, ...) -> what the optimizer's own rate is multiplied by.

Epochs count from 0. The first two arguments are positional, so that the others are what a recipe may set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from unshaken.validate import check_count, check_positive


def constant(epoch: int, epochs: int, /) -> float:
    """The optimizer's own rate throughout."""
    return 1.0


def steps(epoch: int, epochs: int, /, *, at: Sequence[int], factor: float = 0.2) -> float:
    """factor^m after m of the epochs `at`, which are counts of epochs done: at = [60, 120] changes epochs 61 and 121.

    Source: Zagoruyko & Komodakis, "Wide residual networks" (2017), with at = [60, 120, 160] and factor 0.2.
    """
    for done in at:
        check_count("every epoch of at", done)
    check_positive("factor", factor)
    return math.prod(factor for done in at if epoch >= done)


def cosine(epoch: int, epochs: int, /) -> float:
    """(1 + cos(π·epoch/epochs)) / 2: from 1 to nearly 0. A run resumed with more epochs is another run.

    Source: Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), one period.
    """
    return (1 + math.cos(math.pi * epoch / epochs)) / 2


SCHEDULES: dict[str, Callable[..., float]] = {"constant": constant, "steps": steps, "cosine": cosine}
