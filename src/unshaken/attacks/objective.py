"""The objective of an attack: its value and its gradient for each input, over any number of draws in bounded memory."""

import math

import torch
from torch import Tensor

from unshaken.attacks.losses import FLOOR, LATENT, SOFT, STREAMING, gradient_at_logits
from unshaken.attacks.norms import per_input
from unshaken.evaluation.predict import batches
from unshaken.models import Draws, StochasticClassifier
from unshaken.models.latents import latents
from unshaken.types import Inputs, Labels, Logits, Loss
from unshaken.validate import check_labels

GRAPHS = 16  # live graphs, at most, of a loss that needs all draws before its gradient


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
        needed = f"the clean inputs in the place of the labels, {tuple(x.shape)}"
        raise ValueError(f"a loss of latents needs {needed}; got {tuple(target.shape)}.")
    draws = draws.keep()
    with torch.no_grad():
        clean = latents(model, target, draws)
    return latents(model, x, draws), clean


@torch.no_grad()
def losses_under(
    model: StochasticClassifier, x: Inputs, target: Tensor, draws: Draws, loss: Loss, batch_size: int
) -> Tensor:
    """The loss of each input, (N,), under these draws."""
    rows = batches(len(x), batch_size)
    return torch.cat([loss(*loss_arguments(model, x[at], target[at], draws, loss)) for at in rows])


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

    y are labels (B,), or probabilities (B, K) for a loss of `SOFT`, or the clean inputs for a loss of `LATENT`: the
    `loss_target`.

    `chunk` draws are in one graph: by default as many as `model.execution` says. Losses in `STREAMING` take one pass
    over the draws: their gradient is the mean of the gradients of the chunks with weights that depend on the
    chunks' losses, kept relative to the largest so far. Others take a forward pass over all draws, the gradient at
    the logits, and a second pass. Memory does not grow with the number of draws either way (but for the logits).
    """
    if torch.is_inference_mode_enabled():
        raise ValueError("an attack needs gradients, which torch.inference_mode() forbids: call it outside.")
    rows = batches(len(x), batch_size)
    size = chunk or model.execution.draws_per_graph(x[rows[0]])
    draws = draws.distinct
    model.cost.gradients += len(draws) * len(x)
    if len(draws) <= (2 * size if model.execution.small else size) or (loss not in STREAMING and len(draws) <= GRAPHS):
        gradients = [_gradient(model, x[at], y[at], draws, loss)[1] for at in rows]
        gradient = torch.cat(gradients) if len(gradients) > 1 else gradients[0]  # cat would copy a single one
    else:
        over_draws = _streamed if loss in STREAMING else _two_passes
        gradient = over_draws(model, x, y, draws, loss, rows, size)
    return gradient.contiguous()  # in the order of x, not of the layers


def losses_and_gradient(
    model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss, batch_size: int
) -> tuple[Tensor, Tensor]:
    """(loss (B,), `input_gradient`) of the same passes, in which the loss writes down its values."""
    losses = list[Tensor]()

    def recorded(logits: Logits, y: Labels) -> Tensor:
        values = loss(logits, y)
        losses.append(values.detach())
        return values

    gradient = input_gradient(model, x, y, draws, recorded, batch_size=batch_size)
    return torch.cat(losses).to(x.dtype), gradient


def _gradient(
    model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss (B,), g, r (B,)) with one graph for all draws; the gradient is g · exp(r), and r is 0 but for tiny ones."""
    x = x.detach().requires_grad_()
    logits, y = loss_arguments(model, x, y, draws, loss)
    values, upstream, log_scale = gradient_at_logits(loss, logits, y)
    if not logits.requires_grad:  # a classifier that ignores its input
        return values, torch.zeros_like(x), log_scale
    (gradient,) = torch.autograd.grad(logits, x, upstream, materialize_grads=True)
    return values, gradient, log_scale


def _streamed(
    model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss, rows: list[slice], size: int
) -> Tensor:
    """Σ_c w_c ∇L_c / Σ_c w_c over chunks c, with w_c = n_c exp(sign · L_c), one chunk at a time."""
    total, mass = torch.zeros_like(x), x.new_zeros(len(x))
    # both are kept relative to their largest term so far, so that no weight overflows and no gradient is lost
    top, top_mass = (x.new_full((len(x),), -math.inf) for _ in range(2))
    for chunk in draws.chunks(size):
        kept = chunk.keep() if len(rows) > 1 else chunk  # drawn once for all batches
        for at in rows:
            values, gradient, log_scale = _gradient(model, x[at], y[at], kept, loss)
            log_weight = math.log(len(chunk)) + STREAMING[loss] * values
            old, new, top[at] = _rescale(top[at], log_weight + log_scale)
            total[at].mul_(per_input(old, x)).addcmul_(gradient, per_input(new, x))
            old, new, top_mass[at] = _rescale(top_mass[at], log_weight)
            mass[at] = mass[at] * old + new
            del gradient  # not alive beside the next graph
    scale = (top - top_mass - mass.log()).clamp_min(FLOOR).exp_()
    return total.mul_(per_input(scale, x))


def _rescale(top: Tensor, log_weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(factor of what was summed so far, factor of what comes, new largest log-weight)."""
    largest = torch.maximum(top, log_weight)
    return (top - largest).exp(), (log_weight - largest).exp(), largest


def _two_passes(
    model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss, rows: list[slice], size: int
) -> Tensor:
    """All logits without graphs, dL/dlogits from them, then Σ_s (dL/dz_s · dz_s/dx) chunk by chunk."""
    gradient = torch.zeros_like(x)
    for at in rows:
        with torch.no_grad():
            logits = torch.cat([model.logits(x[at], chunk) for chunk in draws.chunks(size)])
        check_labels(y[at], logits.shape[-1], soft=loss in SOFT)
        _, upstream, _ = gradient_at_logits(loss, logits, y[at])
        for chunk, weights in zip(draws.chunks(size), upstream.split(size), strict=True):
            inputs = x[at].detach().requires_grad_()
            outputs = model.logits(inputs, chunk)
            if outputs.requires_grad:
                gradient[at] += torch.autograd.grad(outputs, inputs, weights, materialize_grads=True)[0]
    return gradient
