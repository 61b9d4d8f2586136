"""Spread: how much the probability of the label differs from draw to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from unshaken.evaluation.predict import predict
from unshaken.models import StochasticClassifier, derive
from unshaken.types import Count, Inputs, Labels, Logits, Supplied
from unshaken.validate import check_inputs, check_labels

if TYPE_CHECKING:
    from pandas import DataFrame


def prediction_variance(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    seed: Supplied[int],
    draws: Count = 1000,
    batch_size: Count = 256,
) -> DataFrame:
    """Variance over draws of f_y(x, θ), the softmax probability of the label: mean of (f_y − mean of f_y)².

    Means are merged chunk by chunk of the draws in float64, so memory does not grow with their number and a small
    variance is not lost beside a large mean.

    Returns one row per input: `index`, `draws`, `variance` (biased: divided by the number of draws), `probability` (the
    mean of f_y), `saturated` (how many draws have a class whose softmax is exactly 1 in its precision, so that their
    cross-entropy has no gradient).
    Source: Däubener & Fischer (2022), sections 4.2 and 4.4.
    """
    import pandas as pd

    check_inputs(x, y)
    merged, saturated = torch.zeros_like(y), torch.zeros_like(y)
    mean, squares = (torch.zeros(len(y), dtype=torch.float64, device=x.device) for _ in range(2))

    def merge(rows: slice, logits: Logits) -> None:
        """Add the mean and the squared deviations of s more draws. Source: Chan, Golub & LeVeque (1983)."""
        check_labels(y[rows], logits.shape[-1])
        softmax, before = logits.softmax(-1), merged[rows].clone()
        values = softmax[:, torch.arange(len(before), device=x.device), y[rows]].double()
        chunk_mean, after = values.mean(0), before + len(values)
        gap = chunk_mean - mean[rows]
        squares[rows] += (values - chunk_mean).square().sum(0) + gap.square() * before * len(values) / after
        mean[rows] += gap * len(values) / after
        saturated[rows] += (softmax.amax(-1) == 1).sum(0)
        merged[rows] = after

    inference = model.draw(draws, seed=derive(seed, "inference", 0))
    predict(model, x, inference, rule="logit", batch_size=batch_size, on_logits=merge)
    tensors = {"variance": squares / merged, "probability": mean, "saturated": saturated}
    columns = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    return pd.DataFrame({"index": range(len(y)), "draws": draws, **columns})
