"""The objective of an attack: what its loss compares, and its value for each input under given draws."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unshaken.attacks.losses import LATENT, SOFT
from unshaken.evaluation.predict import batches
from unshaken.models import Draws, StochasticClassifier
from unshaken.models.latents import latents
from unshaken.types import Inputs, Labels, Loss
from unshaken.validate import check_labels


def loss_target(loss: Loss, x: Inputs, y: Labels) -> Tensor:
    """What an attack with this loss compares with: y, or for a loss of LATENT the clean inputs x, whatever y is."""
    return x.detach() if loss in LATENT else y


def loss_arguments(
    model: StochasticClassifier, x: Inputs, target: Tensor, draws: Draws, loss: Loss
) -> tuple[Tensor, Tensor]:
    """(logits of x, labels), or for a loss of LATENT (latents of x, latents of the clean inputs, its `loss_target`)."""
    if loss not in LATENT:
        logits = model.logits(x, draws)
        check_labels(target, logits.shape[-1], soft=loss in SOFT)
        return logits, target
    if target.shape != x.shape:
        raise ValueError(
            f"a loss of latents needs the clean inputs in the place of the labels, {tuple(x.shape)}; "
            f"got {tuple(target.shape)}."
        )
    draws = draws.keep()
    with torch.no_grad():
        clean = latents(model, target, draws)
    return latents(model, x, draws), clean


def check_loss_values(values: Tensor) -> Tensor:
    """The values of a loss, none of which is NaN."""
    if math.isnan(float(values.sum())):
        raise ValueError("the loss is NaN: the network gives NaN or infinite logits for these inputs.")
    return values


@torch.no_grad()
def losses_under(
    model: StochasticClassifier, x: Inputs, target: Tensor, draws: Draws, loss: Loss, batch_size: int
) -> Tensor:
    """The loss of each input, (N,), under these draws."""
    rows = batches(len(x), batch_size)
    return torch.cat([loss(*loss_arguments(model, x[at], target[at], draws, loss)) for at in rows])
