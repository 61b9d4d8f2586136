"""Time: what every attack takes for one batch, measured in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

from unshaken.evaluation.predict import batches
from unshaken.models import StochasticClassifier
from unshaken.types import Count, Inputs, Labels, NotNegative, Positive, Supplied
from unshaken.validate import check_eps, check_inputs, check_ranges

if TYPE_CHECKING:
    from pandas import DataFrame


def attack_time(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    seed: Supplied[int],
    attacks: Supplied[Mapping[str, Callable[..., Inputs]]],
    eps: NotNegative = 0.1,
    rounds: Count = 100,
    batch: Count = 100,
    shortest: Positive = 0.01,
) -> DataFrame:
    """Wall seconds of each attack on one batch of inputs, `rounds` times.

    In a round the attacks take turns, so that a busy machine slows all of them; ratios are to be taken within a round.
    An attack shorter than `shortest` seconds is repeated until it takes that long. One round before the first is not
    counted.

    Args:
        attacks: label -> attack(model, x, y, *, eps, seed); in a recipe, its [[attacks]].
        batch: how many inputs; round r takes the r-th batch of x, and begins again where there is no whole one left.

    Returns one row per attack and round: `attack`, `round`, `seconds`. Source: Däubener et al. (2020), appendix C.
    """
    import pandas as pd

    check_inputs(x, y)
    check_ranges(Count, rounds=rounds, batch=batch)
    if not attacks:
        raise ValueError("there are no attacks to be timed.")
    if len(x) < batch:
        raise ValueError(f"a batch of {batch} needs as many inputs; got {len(x)}.")
    check_eps(eps, 1)
    whole = [(x[at], y[at]) for at in batches(len(x) // batch * batch, batch)]
    repeats = dict.fromkeys(attacks, 1)
    rows = []
    for number in range(-1, rounds):
        images, labels = whole[number % len(whole)]
        for label, attack in attacks.items():
            started = _now(x)
            for _ in range(repeats[label]):
                attack(model, images, labels, eps=eps, seed=seed)
            seconds = (_now(x) - started) / repeats[label]
            if number < 0:
                repeats[label] = max(1, int(shortest / max(seconds, 1e-9)))
            else:
                rows.append((label, number, seconds))
    return pd.DataFrame(rows, columns=["attack", "round", "seconds"])


def _now(x: Inputs) -> float:
    """Seconds, when all work so far is done."""
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)
    return time.perf_counter()
