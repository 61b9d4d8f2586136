"""What training minimises: functions (model, x, y, *, examples, seed, ...) -> scalar, per example, in nats."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from unshaken.models import StochasticClassifier
from unshaken.types import Inputs, Labels
from unshaken.validate import check_count, check_not_negative


def cross_entropy(
    model: StochasticClassifier, x: Inputs, y: Labels, *, examples: int, seed: int, draws: int = 1
) -> Tensor:
    """Empirical risk: the mean over batch and draws of −log p_s(y|x)."""
    check_count("draws", draws)
    logits = model.training_logits(x, draws, seed)
    return F.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)))


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

    N = `examples` is the number of training inputs, without copies: one pass over N inputs counts the KL once.
    Source: Graves (2011); Blundell et al. (2015), eq. 2.
    """
    check_not_negative("kl_scale", kl_scale)
    fit = cross_entropy(model, x, y, examples=examples, seed=seed, draws=draws)
    return fit + kl_scale * model.divergence() / examples


def mixture(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    *,
    examples: int,
    seed: int,
    draws: int = 5,
    kl_weight: float | None = None,
) -> Tensor:
    """Infinite mixture: −log of the mean likelihood, −mean_i log (1/S) Σ_s p_s(y_i|x_i), plus λ · KL(q ‖ p).

    The mean over draws is inside the logarithm, so draws may share the work; with one draw it is the ELBO. λ is
    `kl_weight`, 1/N by default as in the ELBO. Source: Däubener & Fischer, "Investigating maximum likelihood based
    training of infinite mixtures for uncertainty quantification" (2020).
    """
    check_count("draws", draws)
    weight = 1 / examples if kl_weight is None else kl_weight
    check_not_negative("kl_weight", weight)
    logits = model.training_logits(x, draws, seed)
    likelihood = -F.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)), reduction="none").view(len(logits), -1)
    return math.log(len(logits)) - likelihood.logsumexp(0).mean() + weight * model.divergence()


def trades(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    *,
    before: Inputs,
    examples: int,
    seed: int,
    draws: int = 1,
    beta: float = 6.0,
) -> Tensor:
    """TRADES: the mean of −log p_s(y|x0) + β · KL(p_s(·|x0) ‖ p_s(·|x)) over batch and draws.

    x0 is `before`, what the inputs were before the attack: with inputs of kind "adversarial", probability 1, labels
    "predicted" and an attack with loss "kl" it is the published method.
    Source: Zhang et al., "Theoretically principled trade-off between robustness and accuracy" (2019), eq. 5.
    """
    check_count("draws", draws)
    check_not_negative("beta", beta)
    natural, attacked = (model.training_logits(part, draws, seed).flatten(0, 1) for part in (before, x))
    y = y.repeat(len(natural) // len(y))
    gap = F.kl_div(attacked.log_softmax(-1), natural.log_softmax(-1), reduction="batchmean", log_target=True)
    return F.cross_entropy(natural, y) + beta * gap


def with_clean(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    *,
    before: Inputs,
    examples: int,
    seed: int,
    draws: int = 1,
    rho: float = 1.0,
    halved: bool = True,
) -> Tensor:
    """Cross-entropy of the clean inputs and of what was made of them: CE(x0) + ρ · CE(x), or half of that.

    x0 is `before`, what the inputs were before an attack or a generator moved them.
    Source: Goodfellow et al. (2015) with halves; the code of Ye & Zhu, "Bayesian adversarial learning" (2018).
    """
    check_not_negative("rho", rho)
    natural, moved = (cross_entropy(model, part, y, examples=examples, seed=seed, draws=draws) for part in (before, x))
    total = natural + rho * moved
    return total / 2 if halved else total


OBJECTIVES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "elbo": elbo,
    "mixture": mixture,
    "trades": trades,
    "with_clean": with_clean,
}
