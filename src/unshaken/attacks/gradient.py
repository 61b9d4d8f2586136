"""The gradient of a loss with respect to the inputs, over any number of draws in bounded memory."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unshaken.attacks.losses import FLOOR, LATENT, SOFT, STREAMING, gradient_at_logits
from unshaken.models import Draws, StochasticClassifier
from unshaken.types import Inputs, Labels, Logits, Loss
from unshaken.validate import check_labels

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

    y are labels (B,), or probabilities (B, K) for a loss of `SOFT`, or the clean inputs for a loss of `LATENT`: what
    `goal` gives.

    `chunk` draws are in one graph: by default as many as `model.graph_draws` says. Losses in `STREAMING` take one pass
    over the draws: their gradient is the mean of the gradients of the chunks with weights that depend on the
    chunks' losses, kept relative to the largest so far. Others take a forward pass over all draws, the gradient at
    the logits, and a second pass. Memory does not grow with the number of draws either way (but for the logits).
    """
    if torch.is_inference_mode_enabled():
        raise ValueError("an attack needs gradients, which torch.inference_mode() forbids: call it outside.")
    rows = [slice(i, i + batch_size) for i in range(0, len(x), batch_size)]
    size = chunk or model.graph_draws(x[rows[0]])
    if draws.alike:  # nothing is random: all draws are the same
        draws = draws[:1]
    model.cost.gradients += len(draws) * len(x)
    return _over_draws(model, x, y, draws, loss, rows, size).contiguous()  # in the order of x, not of the layers


def _over_draws(
    model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss, rows: list[slice], size: int
) -> Tensor:
    """One graph for few draws, else one pass over them where the loss allows it, else two."""
    if len(draws) <= (2 * size if model.small else size) or (loss not in STREAMING and len(draws) <= GRAPHS):
        parts = [_gradient(model, x[part], y[part], draws, loss)[1] for part in rows]
        return torch.cat(parts) if len(parts) > 1 else parts[0]
    if loss in STREAMING:
        return _streamed(model, x, y, draws, loss, rows, size)
    return _two_passes(model, x, y, draws, loss, rows, size)


def _gradient(
    model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss (B,), g, r (B,)) with one graph for all draws; the gradient is g · exp(r), and r is 0 but for tiny ones."""
    x = x.detach().requires_grad_()
    logits, y = compared(model, x, y, draws, loss)
    value, upstream, below = _at_logits(loss, logits, y)
    if not logits.requires_grad:  # a classifier that ignores its input
        return value, torch.zeros_like(x), below
    (gradient,) = torch.autograd.grad(logits, x, upstream, materialize_grads=True)
    return value, gradient, below


def _at_logits(loss: Loss, logits: Logits, y: Labels) -> tuple[Tensor, Tensor, Tensor]:
    """`gradient_at_logits` and a look at the loss."""
    value, upstream, below = gradient_at_logits(loss, logits, y)
    return check_value(value), upstream, below


def goal(loss: Loss, x: Inputs, y: Labels) -> Tensor:
    """What an attack with this loss compares with: y, or for a loss of LATENT the clean inputs x, whatever y is."""
    return x.detach() if loss in LATENT else y


def compared(model: StochasticClassifier, x: Inputs, y: Tensor, draws: Draws, loss: Loss) -> tuple[Tensor, Tensor]:
    """What a loss is a function of: (logits of x, y), or (latents of x, latents of the clean inputs y) if of LATENT."""
    if loss not in LATENT:
        logits = model.logits(x, draws)
        check_labels(y, logits.shape[-1], soft=loss in SOFT)
        return logits, y
    if y.shape != x.shape:
        raise ValueError(
            f"a loss of latents needs the clean inputs in the place of the labels, {tuple(x.shape)}; "
            f"got {tuple(y.shape)}."
        )
    draws = draws.keep()
    with torch.no_grad():
        clean = model.latents(y, draws)
    return model.latents(x, draws), clean


def check_value(value: Tensor) -> Tensor:
    """The values of a loss, none of which is NaN."""
    if math.isnan(float(value.sum())):
        raise ValueError("the loss is NaN: the network gives NaN or infinite logits for these inputs.")
    return value


def _streamed(
    model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss, rows: list[slice], size: int
) -> Tensor:
    """Σ_c w_c ∇L_c / Σ_c w_c over chunks c, with w_c = n_c exp(sign · L_c), one chunk at a time.

    Both sums are kept relative to their largest term so far, so that no weight overflows and no gradient is lost.
    """
    total, mass = torch.zeros_like(x), x.new_zeros(len(x))
    top, top_mass = (x.new_full((len(x),), -math.inf) for _ in range(2))
    wide = (-1, *[1] * (x.dim() - 1))
    for part in draws.chunks(size):
        kept = part.keep() if len(rows) > 1 else part
        for at in rows:
            value, gradient, below = _gradient(model, x[at], y[at], kept, loss)
            weight = math.log(len(part)) + STREAMING[loss] * value
            old, new, top[at] = _rescale(top[at], weight + below)
            total[at].mul_(old.view(wide)).addcmul_(gradient, new.view(wide))
            old, new, top_mass[at] = _rescale(top_mass[at], weight)
            mass[at] = mass[at] * old + new
            del gradient  # not alive beside the next graph
    scale = (top - top_mass - mass.log()).clamp_min(FLOOR).exp_()
    return total.mul_(scale.view(wide))


def _rescale(top: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(factor of what was summed so far, factor of what comes, new largest log-weight)."""
    largest = torch.maximum(top, weight)
    return (top - largest).exp(), (weight - largest).exp(), largest


def _two_passes(
    model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss, rows: list[slice], size: int
) -> Tensor:
    """All logits without graphs, dL/dlogits from them, then Σ_s (dL/dz_s · dz_s/dx) chunk by chunk."""
    gradient = torch.zeros_like(x)
    for at in rows:
        with torch.no_grad():
            logits = torch.cat([model.logits(x[at], part) for part in draws.chunks(size)])
        check_labels(y[at], logits.shape[-1], soft=loss in SOFT)
        _, upstream, _ = _at_logits(loss, logits, y[at])
        for part, weights in zip(draws.chunks(size), upstream.split(size), strict=True):
            inputs = x[at].detach().requires_grad_()
            outputs = model.logits(inputs, part)
            if outputs.requires_grad:
                gradient[at] += torch.autograd.grad(outputs, inputs, weights, materialize_grads=True)[0]
    return gradient
