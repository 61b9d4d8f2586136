"""What training minimises: functions (model, x, y, *, examples, seed, ...) -> scalar, per example, in nats."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from unshaken.models import StochasticClassifier
from unshaken.types import Inputs, Labels, Logits
from unshaken.validate import check_count, check_not_negative


def training_logits(model: StochasticClassifier, x: Inputs, draws: int, seed: int) -> Logits:
    """Logits (S, B, K) of `draws` new draws, differentiable in the model's parameters."""
    check_count("draws", draws)
    sample = model.sampler()
    return torch.stack([model.forward(x, sample(seed, s), training=True) for s in range(draws)])


def cross_entropy(
    model: StochasticClassifier, x: Inputs, y: Labels, *, examples: int, seed: int, draws: int = 1
) -> Tensor:
    """Empirical risk: the mean over batch and draws of −log p_s(y|x)."""
    logits = training_logits(model, x, draws, seed)
    return F.cross_entropy(logits.flatten(0, 1), y.repeat(draws))


def elbo(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    *,
    examples: int,
    seed: int,
    draws: int = 1,
    kl_scale: float = 1.0,
) -> Tensor:
    """Negative evidence lower bound per example: mean −log p_s(y|x) + kl_scale · KL(q ‖ p) / N.

    N = `examples` is the size of the training set: one pass over the minibatches counts the KL once. Source: Graves
    (2011); Blundell et al. (2015), eq. 2.
    """
    check_not_negative("kl_scale", kl_scale)
    fit = cross_entropy(model, x, y, examples=examples, seed=seed, draws=draws)
    return fit + kl_scale * model.divergence() / examples


OBJECTIVES: dict[str, Callable[..., Tensor]] = {"cross_entropy": cross_entropy, "elbo": elbo}
