"""The gradient of a loss with respect to the inputs, over any number of draws in bounded memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unshaken.attacks.losses import STREAMING
from unshaken.models import Draws, StochasticClassifier
from unshaken.types import Inputs, Labels, Loss
from unshaken.validate import check_labels

VMAP_CHUNK = 32  # draws in one vectorised pass
GRAPHS = 16  # live graphs, at most, of a loss that needs all draws before its gradient


@torch.enable_grad()
def input_gradient(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    draws: Draws,
    loss: Loss,
    *,
    batch_size: int = 256,
    chunk: int | None = None,
) -> Tensor:
    """∇_x loss(logits(x, draws), y), shape of x; each input's gradient is of its own loss (a sum over the batch).

    `chunk` draws are in one graph: by default 1 (a loop), or 32 where vmap is faster. Losses in `STREAMING` take one
    pass over the draws: their gradient is the mean of the gradients of the chunks with weights that depend on the
    chunks' losses, kept relative to the largest so far. Others take a forward pass over all draws, the gradient at
    the logits, and a second pass. Memory does not grow with the number of draws either way (but for the logits).
    """
    if torch.is_inference_mode_enabled():
        raise ValueError("an attack needs gradients, which torch.inference_mode() forbids: call it outside.")
    rows = [slice(i, i + batch_size) for i in range(0, len(x), batch_size)]
    size = chunk or (VMAP_CHUNK if model.vmap_wins(x[rows[0]]) else 1)
    model.cost.gradients += len(draws) * len(x)
    gradient = _over_draws(model, x, y, draws, loss, rows, size)
    if math.isnan(float(gradient.sum())):  # far cheaper than looking at every value
        raise ValueError("the gradient is NaN: the network gives NaN or infinite logits for these inputs.")
    return gradient


def _over_draws(
    model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss, rows: list[slice], size: int
) -> Tensor:
    """One graph where the draws are few, else one pass over them where the loss allows it, else two."""
    if len(draws) <= size or (loss not in STREAMING and len(draws) <= GRAPHS):
        parts = [_gradient(model, x[part], y[part], draws, loss)[1] for part in rows]
        return torch.cat(parts) if len(parts) > 1 else parts[0]
    if loss in STREAMING:
        return _streamed(model, x, y, draws, loss, rows, size)
    return _two_passes(model, x, y, draws, loss, rows, size)


def _gradient(model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss) -> tuple[Tensor, Tensor]:
    """(loss (B,), its gradient) with one graph for all draws."""
    x = x.detach().requires_grad_()
    logits = model.logits(x, draws)
    check_labels(y, logits.shape[-1])
    value = loss(logits, y)
    if not value.requires_grad:  # a classifier that ignores its input
        return value, torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(value.sum(), x, materialize_grads=True)
    return value.detach(), gradient


def _streamed(
    model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss, rows: list[slice], size: int
) -> Tensor:
    """Σ_c w_c ∇L_c / Σ_c w_c over chunks c, with w_c = n_c exp(sign · L_c), one chunk at a time."""
    total = torch.zeros_like(x)
    mass = x.new_zeros(len(x))
    largest = x.new_full((len(x),), -math.inf)
    wide = (-1, *[1] * (x.dim() - 1))
    for part in draws.chunks(size):
        kept = part.keep() if len(rows) > 1 else part
        for at in rows:
            value, gradient = _gradient(model, x[at], y[at], kept, loss)
            weight = math.log(len(part)) + STREAMING[loss] * value
            top = torch.maximum(largest[at], weight)
            old, new = (largest[at] - top).exp(), (weight - top).exp()
            total[at] = total[at] * old.view(wide) + gradient * new.view(wide)
            mass[at] = mass[at] * old + new
            largest[at] = top
    return total / mass.view(wide)


def _two_passes(
    model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss, rows: list[slice], size: int
) -> Tensor:
    """All logits without graphs, dL/dlogits from them, then Σ_s (dL/dz_s · dz_s/dx) chunk by chunk."""
    gradient = torch.zeros_like(x)
    for at in rows:
        with torch.no_grad():
            logits = torch.cat([model.logits(x[at], part) for part in draws.chunks(size)])
        check_labels(y[at], logits.shape[-1])
        logits.requires_grad_()
        (upstream,) = torch.autograd.grad(loss(logits, y[at]).sum(), logits)
        for part, weights in zip(draws.chunks(size), upstream.split(size), strict=True):
            inputs = x[at].detach().requires_grad_()
            outputs = model.logits(inputs, part)
            if outputs.requires_grad:
                gradient[at] += torch.autograd.grad(outputs, inputs, weights, materialize_grads=True)[0]
    return gradient
