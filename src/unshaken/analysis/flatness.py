"""Flatness: how far the loss moves when noise is added to an input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unshaken.attacks.losses import cross_entropy
from unshaken.evaluation.predict import batches, predict
from unshaken.models import Draws, StochasticClassifier, derive
from unshaken.training.noise import NoiseName, noise_of
from unshaken.types import Count, Inputs, Labels, Logits, NotNegative, Supplied
from unshaken.validate import check_inputs, check_labels, check_range, check_ranges

if TYPE_CHECKING:
    from pandas import DataFrame

BLOCK = 2**24  # numbers in the noisy versions of one slice of the inputs: 64 MiB


def flatness(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    seed: Supplied[int],
    size: NotNegative,
    noise: NoiseName = "uniform",
    copies: Count = 10,
    clip: bool = False,
    draws: Count = 100,
    batch_size: Count = 256,
) -> DataFrame:
    """Loss at x + δ minus loss at x, for several noises δ: −log p̄_y of each, p̄ the mean over draws of the softmax.

    The noise follows from the seed, the index of the input and the number of the copy alone. All versions of an input
    are predicted with the same draws; one pass stands for all where nothing is random.

    Args:
        size: of the noise in the [0, 1] input scale: "uniform" is U(−size, size), "gaussian" N(0, size²).
        noise: a key of training's NOISES.
        copies: how many noises for each input.
        clip: x + δ is clipped to [0, 1]; otherwise it may leave the box, as it does in training with noise.

    Returns one row per input and copy: `index`, `copy`, `noise`, `size`, `draws`, `loss` (at x, in nats), `difference`
    (nats, with its sign), `correct` (the prediction of x is y), `survived` (that of x + δ is y).
    Source: Chernyak et al. (2021), appendix A.4, who do not say whether noise is clipped, nor whether their "loss
    distance" has a sign: rows have it, so that both can be computed.
    """
    import numpy as np
    import pandas as pd

    check_inputs(x, y)
    check_range("size", size, NotNegative)
    check_ranges(Count, copies=copies, batch_size=batch_size)
    inference = model.draw(draws, seed=derive(seed, "inference", 0)).keep()
    scored = []
    for at in batches(len(x), max(1, min(batch_size, BLOCK // ((copies + 1) * x[0].numel())))):
        clean = x[at]
        indices = torch.arange(at.start, at.start + len(clean), device=x.device).repeat(copies)
        numbers = torch.arange(copies, device=x.device).repeat_interleave(len(clean))
        delta = noise_of(noise, size, derive(seed, "noise"), indices, numbers, x.shape[1:])
        noisy = clean + delta.to(x.dtype).view(copies, *clean.shape)
        versions = torch.cat([clean[None], noisy.clamp(0, 1) if clip else noisy])
        scored.append(_losses_and_hits(model, versions, y[at], inference))
    # (B, 1 + copies) each
    loss, correct = (torch.cat(slices, dim=1).T.cpu().numpy() for slices in zip(*scored, strict=True))
    columns: dict[str, Any] = {"index": np.repeat(np.arange(len(y)), copies), "copy": np.tile(range(copies), len(y))}
    columns |= {"noise": noise, "size": float(size), "draws": draws}
    columns |= {"loss": np.repeat(loss[:, 0], copies), "difference": (loss[:, 1:] - loss[:, :1]).flatten()}
    return pd.DataFrame(columns | {"correct": np.repeat(correct[:, 0], copies), "survived": correct[:, 1:].flatten()})


def _losses_and_hits(model: StochasticClassifier, versions: Tensor, y: Labels, draws: Draws) -> tuple[Tensor, Tensor]:
    """−log p̄_y in float64, and whether the prediction is y, of versions (V, b, ...) of b inputs: (V, b) each."""
    flat, labels = versions.flatten(0, 1), y.repeat(len(versions))
    log_sum = torch.full((len(labels),), -math.inf, dtype=torch.float64, device=y.device)

    def add(rows: slice, logits: Logits) -> None:
        check_labels(labels[rows], logits.shape[-1])
        log_sum_of_chunk = math.log(len(logits)) - cross_entropy(logits.double(), labels[rows])
        log_sum[rows] = torch.logaddexp(log_sum[rows], log_sum_of_chunk)

    # each version is a batch of its own, so that every input keeps its place in a batch
    scores = predict(model, flat, draws, batch_size=len(y), on_logits=add)
    loss, correct = math.log(len(draws)) - log_sum, scores.argmax(-1) == labels
    return loss.view(len(versions), -1), correct.view(len(versions), -1)
