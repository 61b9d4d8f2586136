"""Directions of gradients: how often a cheap gradient points where a well-sampled one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from unshaken.attacks import LOSSES, input_gradient
from unshaken.attacks.losses import LossName
from unshaken.attacks.sampling import SchemeName, attack_draws
from unshaken.errors import lookup
from unshaken.models import Draws, StochasticClassifier, derive
from unshaken.types import Count, Inputs, Labels, Loss, OneOf, Supplied
from unshaken.validate import check_inputs, check_ranges

if TYPE_CHECKING:
    from pandas import DataFrame


def _both(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two zeros agree; a zero and a number do not."""
    return one == other, torch.ones_like(one, dtype=torch.bool)


def _never(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """A zero agrees with nothing, another zero included."""
    return (one == other) & (other != 0), torch.ones_like(one, dtype=torch.bool)


def _left_out(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Entries where either is zero are left out."""
    return one == other, (one != 0) & (other != 0)


# how entries of a gradient that are exactly zero are counted: signs of two gradients -> (agree, counted)
ZEROS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "both": _both,
    "never": _never,
    "left_out": _left_out,
}
ZerosName = Annotated[str, OneOf(ZEROS)]


def gradient_agreement(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    seed: Supplied[int],
    draws: Sequence[Count | SchemeName] = (1, 5, 10, 20, "mean", "moments"),
    reference: Count = 100,
    loss: LossName | Loss = "log_error",
    zeros: ZerosName = "both",
    repeats: Count = 3,
    batch_size: Count = 256,
) -> DataFrame:
    """Share of the entries of ∇_x loss whose sign is that of the gradient of `reference` other draws.

    Args:
        draws: numbers of draws, "mean", "moments"; k draws are the first k of one set, none of them in the reference.
        zeros: a key of ZEROS: how entries that are exactly zero are counted.
        repeats: how many times, each with draws and a reference of its own: all inputs share their luck.

    Returns one row per input, repeat and entry of `draws`: `index`, `repeat`, `draws` (as text), `agreement` (NaN where
    no entry counts).
    Source: Däubener et al. (2020), appendix B.
    """
    import pandas as pd

    check_inputs(x, y)
    check_ranges(Count, reference=reference, repeats=repeats)
    if not draws or len(set(draws)) < len(draws):
        raise ValueError(f"draws must be one number or scheme at least, none of them twice; got {list(draws)}.")
    count, objective = lookup("zeros", zeros, ZEROS), lookup("loss", loss, LOSSES)

    def signs(draws: int | str | Draws, seed: int) -> Tensor:
        sample = attack_draws(model, draws, seed)
        return input_gradient(model, x, y, sample, objective, batch_size=batch_size).sign()

    frames = []
    for repeat in range(repeats):
        repeat_seed = derive(seed, "repeat", repeat)
        expected = signs(model.draw(reference, seed=derive(repeat_seed, "reference")), repeat_seed)
        for entry in draws:
            agree, counted = (mask.flatten(1).double() for mask in count(signs(entry, repeat_seed), expected))
            share = ((agree * counted).sum(1) / counted.sum(1)).cpu().numpy()
            columns = {"index": range(len(x)), "repeat": repeat, "draws": str(entry), "agreement": share}
            frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)
