"""Learning-rate schedules: functions (epoch, epochs, ...) -> what the optimizer's own rate is multiplied by.

Epochs count from 0. The first two arguments are positional, so that the others are what a recipe may set.
"""

import math
from collections.abc import Callable, Sequence

from unshaken.types import Count, Positive, Supplied
from unshaken.validate import check_range


def constant(epoch: Supplied[int], epochs: Supplied[int], /) -> float:
    """The optimizer's own rate throughout."""
    return 1.0


def steps(epoch: Supplied[int], epochs: Supplied[int], /, *, at: Sequence[Count], factor: Positive = 0.2) -> float:
    """factor^m after m of the epochs `at`, which are counts of epochs done: at = [60, 120] changes epochs 61 and 121.

    Source: Zagoruyko & Komodakis, "Wide residual networks" (2017), with at = [60, 120, 160] and factor 0.2.
    """
    for done in at:
        check_range("every epoch of at", done, Count)
    check_range("factor", factor, Positive)
    return math.prod(factor for done in at if epoch >= done)


def cosine(epoch: Supplied[int], epochs: Supplied[int], /) -> float:
    """(1 + cos(π·epoch/epochs)) / 2: from 1 to nearly 0. A run resumed with more epochs is another run.

    Source: Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), one period.
    """
    return (1 + math.cos(math.pi * epoch / epochs)) / 2


SCHEDULES: dict[str, Callable[..., float]] = {"constant": constant, "steps": steps, "cosine": cosine}
