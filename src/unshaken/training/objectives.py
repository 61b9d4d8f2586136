"""What training minimises: functions (model, x, y, *, examples, seed, ...) -> scalar, per example, in nats."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unshaken.attacks import LOSSES
from unshaken.attacks.losses import LossName
from unshaken.errors import lookup
from unshaken.models import derive
from unshaken.models.draws import generator
from unshaken.models.latents import check_coded, with_forward
from unshaken.training.inputs import Model, N, Seed, X, Y
from unshaken.types import Count, Inputs, NotNegative
from unshaken.validate import check_range


def cross_entropy(model: Model, x: X, y: Y, *, examples: N, seed: Seed, draws: Count = 1) -> Tensor:
    """Empirical risk: the mean over batch and draws of −log p_s(y|x)."""
    check_range("draws", draws, Count)
    logits = model.training_logits(x, draws, seed)
    return F.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)))


def elbo(model: Model, x: X, y: Y, *, examples: N, seed: Seed, draws: Count = 1, kl_scale: NotNegative = 1.0) -> Tensor:
    """Negative evidence lower bound per example: mean −log p_s(y|x) + kl_scale · KL(q ‖ p) / N.

    N = `examples` is the number of training inputs, without copies: one pass over N inputs counts the KL once.
    Source: Graves (2011); Blundell et al. (2015), eq. 2.
    """
    check_range("kl_scale", kl_scale, NotNegative)
    fit = cross_entropy(model, x, y, examples=examples, seed=seed, draws=draws)
    return fit + kl_scale * model.divergence() / examples


def mixture(
    model: Model, x: X, y: Y, *, examples: N, seed: Seed, draws: Count = 5, kl_weight: NotNegative | None = None
) -> Tensor:
    """Infinite mixture: −log of the mean likelihood, −mean_i log (1/S) Σ_s p_s(y_i|x_i), plus λ · KL(q ‖ p).

    The mean over draws is inside the logarithm, so draws may share the work; with one draw it is the ELBO. λ is
    `kl_weight`, 1/N by default as in the ELBO. Source: Däubener & Fischer, "Investigating maximum likelihood based
    training of infinite mixtures for uncertainty quantification" (2020).
    """
    check_range("draws", draws, Count)
    weight = 1 / examples if kl_weight is None else kl_weight
    check_range("kl_weight", weight, NotNegative)
    logits = model.training_logits(x, draws, seed)
    likelihood = -F.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)), reduction="none").view(len(logits), -1)
    return math.log(len(logits)) - likelihood.logsumexp(0).mean() + weight * model.divergence()


def trades(
    model: Model, x: X, y: Y, *, before: X, examples: N, seed: Seed, draws: Count = 1, beta: NotNegative = 6.0
) -> Tensor:
    """TRADES: the mean of −log p_s(y|x0) + β · KL(p_s(·|x0) ‖ p_s(·|x)) over batch and draws.

    x0 is `before`, what the inputs were before the attack: with inputs of kind "adversarial", probability 1, labels
    "predicted" and an attack with loss "kl" it is the published method.
    Source: Zhang et al., "Theoretically principled trade-off between robustness and accuracy" (2019), eq. 5.
    """
    check_range("draws", draws, Count)
    check_range("beta", beta, NotNegative)
    natural, attacked = (model.training_logits(inputs, draws, seed).flatten(0, 1) for inputs in (before, x))
    y = y.repeat(len(natural) // len(y))
    gap = F.kl_div(attacked.log_softmax(-1), natural.log_softmax(-1), reduction="batchmean", log_target=True)
    return F.cross_entropy(natural, y) + beta * gap


def with_clean(
    model: Model,
    x: X,
    y: Y,
    *,
    before: X,
    examples: N,
    seed: Seed,
    draws: Count = 1,
    rho: NotNegative = 1.0,
    halved: bool = True,
    loss: LossName = "mean_cross_entropy",
) -> Tensor:
    """The mean loss of the clean inputs and of what was made of them: L(x0) + ρ · L(x), or half of that.

    x0 is `before`, what the inputs were before an attack or a generator moved them. The loss is one of
    `attacks.losses`: "mean_cross_entropy" is a mean over the draws, each of which learns by itself; "cross_entropy" is
    −log of the mean probability, by which the members of an ensemble are one model. The two passes are apart, so that
    clean and moved inputs have separate BatchNorm statistics.

    Source: Goodfellow et al. (2015) with halves; the code of Ye & Zhu, "Bayesian adversarial learning" (2018);
    Grefenstette et al., "Strength in numbers" (2018), eq. 4 and, with halves and ρ = 1, section 4.2. Their sentence
    before eq. 4 has the mean of the members' losses, which is the default here.
    """
    check_range("rho", rho, NotNegative)
    check_range("draws", draws, Count)
    risk = lookup("loss", loss, LOSSES)
    natural, moved = (risk(model.training_logits(inputs, draws, seed), y).mean() for inputs in (before, x))
    total = natural + rho * moved
    return total / 2 if halved else total


def vae(
    model: Model, x: X, y: Y, *, examples: N, seed: Seed, draws: Count = 1, label_weight: NotNegative = 10.0
) -> Tensor:
    """Variational auto-encoder: the mean of −log p_s(x|z) + KL(q_s(z|x) ‖ N(0, I)) + label_weight · −log p_s(y|x).

    p(x|z) is Bernoulli for each pixel, z = μ + σ·n is one draw of q(z|x) with n from the seed, and p(y|x) is that of
    the head at μ. Labels may be −1: such an input has no last term. Where the model has a posterior, KL(q ‖ p) /
    `examples` of its weights is added, as in the ELBO. The network has `encode` and `decode`, see `autoencoder.py`.

    Source: Kingma & Welling, "Auto-encoding variational Bayes" (2014), eq. 10 and appendix B; the weighted label is
    that of Kingma et al., "Semi-supervised learning with deep generative models" (2014), eq. 9.
    """
    return denoising_vae(model, x, y, before=x, examples=examples, seed=seed, draws=draws, label_weight=label_weight)


def denoising_vae(
    model: Model, x: X, y: Y, *, before: X, examples: N, seed: Seed, draws: Count = 1, label_weight: NotNegative = 10.0
) -> Tensor:
    """`vae` with −log p_s(x0|z) of x0, what the input was before the attack: the decoder is to undo the attack.

    Source: Vincent et al., "Extracting and composing robust features with denoising autoencoders" (2008), with an
    attack instead of noise.
    """
    check_range("draws", draws, Count)
    check_range("label_weight", label_weight, NotNegative)
    check_coded(model.net, "encode", "decode")
    rng = generator(derive(seed, "latent"), 0, x.device)

    def terms(net: Any, x: Inputs) -> Tensor:
        """Each input's sum of the terms, (B,), with noise of its own in every draw."""
        mean, log_variance = net.encode(x)
        noise = torch.randn(mean.shape, generator=rng, dtype=mean.dtype, device=mean.device)
        pixels = net.decode(mean + (log_variance / 2).exp() * noise)
        fit = F.binary_cross_entropy_with_logits(pixels, before, reduction="none").flatten(1).sum(1)
        code = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return fit + code + label_weight * F.cross_entropy(net(x), y, ignore_index=-1, reduction="none")

    return with_forward(model, terms).training_logits(x, draws, seed).mean() + model.divergence() / examples


OBJECTIVES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "elbo": elbo,
    "mixture": mixture,
    "trades": trades,
    "with_clean": with_clean,
    "vae": vae,
    "denoising_vae": denoising_vae,
}
UNLABELLED = [vae, denoising_vae]  # objectives that take inputs without a label, which is then −1
