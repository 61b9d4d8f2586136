"""Whether the theorems of `robustness` predict which labels withstand the attacks of a recipe, as rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unshaken.analysis import margins
from unshaken.analysis.margins import measure
from unshaken.analysis.robustness import Robustness, SmoothnessName, apply_theorems, check_perturbed, smoothness_under
from unshaken.attacks.interface import supported_kwargs
from unshaken.evaluation.predict import RuleName, batches
from unshaken.models import Draws, StochasticClassifier, derive
from unshaken.types import Count, Inputs, Labels, NotNegative, Positive, Supplied
from unshaken.validate import check_each, check_eps, check_inputs, check_ranges

if TYPE_CHECKING:
    from pandas import DataFrame

FIELDS = ["correct", "survived", "linear", "linear_distance", "linear_class", "margin", "cosine", "gradient_norm"]
FIELDS += ["length", "smooth", "smooth_distance", "smooth_class"]
"""Fields of `Robustness` that are columns."""


def conditions(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    seed: Supplied[int],
    attacks: Supplied[Mapping[str, Callable[..., Inputs]]],
    eps: NotNegative | Sequence[NotNegative],
    draws: Count | Sequence[Count] = (100,),
    repeats: Count = 1,
    smoothness: Positive | SmoothnessName | None = None,
    rule: RuleName = "probability",
    batch_size: Count = 256,
) -> DataFrame:
    """Whether theorems 3.2 and 3.4 promise that the label withstands each attack, and whether it does.

    Args:
        attacks: label -> attack(model, x, y, *, eps, seed); in a recipe, its [[attacks]].
        eps: sizes of the perturbations.
        draws: numbers of inference draws; k draws are the first k of one set, none of which made a perturbation.
        repeats: how many times, each with attacks and inference draws of its own.
        smoothness, rule, batch_size: as in `robustness`, which says what the conditions are.

    Returns one row per input, repeat, attack, size and number of inference draws: `index`, `repeat`, `attack`, `eps`,
    `inference_draws`, `correct` (x is classified as y), `survived` (x_adv is), `linear` (the condition of theorem 3.2),
    `linear_distance` (the smallest over classes, 0 for a misclassified x, ∞ if no class comes nearer), `linear_class`
    (the class that attains it), the `margin`, `cosine` and `gradient_norm` of that class, `length` (‖x_adv − x‖₂); and
    where smoothness is given `smooth`, `smooth_distance`, `smooth_class`.
    """
    import pandas as pd

    limit = smoothness_under(model, smoothness, rule)
    check_inputs(x, y)
    check_ranges(Count, repeats=repeats, batch_size=batch_size)
    counts, sizes = _numbers("draws", draws), _numbers("eps", eps)
    check_each("draws", counts, Count)
    check_eps(sizes, len(x))
    if not attacks:
        raise ValueError("there are no attacks whose perturbations could be judged.")
    keys = {"repeat": range(repeats), "attack": [*attacks], "eps": sizes, "inference_draws": counts}
    grid = pd.MultiIndex.from_product([*keys.values(), range(len(x))], names=[*keys, "index"]).to_frame(index=False)
    slices = batches(len(x), max(1, margins.BLOCK // (len(attacks) * len(sizes) * x[0].numel())))

    def perturb(at: slice, seed: int, inference: Draws) -> Tensor:
        """The perturbed inputs of all attacks at all sizes, one attack after the other: (E, b, ...)."""
        perturbed = []
        for label, attack in attacks.items():
            keywords = supported_kwargs(attack, indices=range(len(x))[at])
            x_adv = attack(model, x[at], y[at], eps=sizes, seed=seed, **keywords)
            if x_adv.shape != (len(sizes), *x[at].shape):
                expected = f"(E, *{tuple(x[at].shape)}) for E = {len(sizes)} sizes"
                raise ValueError(f"the attack {label!r} must give {expected}; got {tuple(x_adv.shape)}.")
            check_perturbed(f"what the attack {label!r} gives", x_adv, x[at], inference)
            perturbed.append(x_adv)
        return torch.cat(perturbed)

    def columns_of(repeat: int) -> dict[str, Tensor]:
        """The columns of one repeat, with attacks and inference draws of its own."""
        repeat_seed = derive(seed, "repeat", repeat)
        inference = model.draw(max(counts), seed=derive(repeat_seed, "inference", 0)).keep()
        columns = []  # of each slice and each number of draws, (attacks x eps, b)
        for at in slices:
            x_adv = perturb(at, repeat_seed, inference)
            measured = measure(model, x[at], y[at], x_adv, inference, counts, rule, batch_size)
            columns.append([_columns(apply_theorems(each, limit)) for each in measured])
        # stacked and joined in the order of the grid: attack, eps, number of draws, input
        return {
            name: torch.cat([torch.stack([each[name] for each in of_slice], 1) for of_slice in columns], 2).flatten()
            for name in columns[0][0]
        }

    of_repeats = [columns_of(repeat) for repeat in range(repeats)]
    values = {name: torch.cat([columns[name] for columns in of_repeats]).cpu().numpy() for name in of_repeats[0]}
    return grid[["index", *keys]].assign(**values)


def _numbers(name: str, value: float | Sequence[float]) -> list:
    """One number or several, as a list without repetition."""
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"{name} must be one number at least, none of them twice; got {numbers}.")
    return numbers


def _columns(result: Robustness) -> dict[str, Tensor]:
    """The columns of `conditions`, (E, B) each: of values of all classes, that of the nearest one."""
    columns = {name: values for name in FIELDS if (values := getattr(result, name)) is not None}
    for name, values in columns.items():
        if values.dim() > result.length.dim():
            nearest = columns["smooth_class" if name == "smooth_distance" else "linear_class"]
            columns[name] = values.gather(-1, nearest[..., None])[..., 0]
    return columns
