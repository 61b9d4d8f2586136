"""What an attack climbs: losses of the logits of all draws, (S, B, K) and labels (B,) to (B,).

Losses of SOFT also take probabilities (B, K) in the place of the labels. Losses of LATENT are of the latents of an
auto-encoder: (S, B, L) of the attacked inputs and of the clean ones, under the same draws.

With z_s the logits of draw s, p_s = softmax(z_s) and u_s = logsumexp over c≠y of z_sc, minus z_sy:
−log p_sy = softplus(u_s) and log(1 − p_sy) = logsigmoid(u_s), exact where p_sy rounds to 1 in float32.
"""

import math
from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import kl_div, logsigmoid, softplus

from unshaken.types import Labels, Logits, Loss, OneOf


def _index(scores: Tensor, y: Labels) -> Tensor:
    return y.expand(scores.shape[:-1]).unsqueeze(-1)


def _label(scores: Tensor, y: Labels) -> Tensor:
    """The score of the label: (..., B, K) -> (..., B)."""
    return scores.gather(-1, _index(scores, y)).squeeze(-1)


def _others(scores: Tensor, y: Labels) -> Tensor:
    """Scores with that of the label set to −inf."""
    return scores.scatter(-1, _index(scores, y), -math.inf)


def _log_odds(logits: Logits, y: Labels) -> Tensor:
    """u (S, B): the log-odds against the label, log((1 − p_y) / p_y)."""
    return _others(logits, y).logsumexp(-1) - _label(logits, y)


def _log_mean_exp(terms: Tensor) -> Tensor:
    """log (1/S) Σ_s exp(terms_s): (S, ...) -> (...)."""
    return terms.logsumexp(0) - math.log(len(terms)) if len(terms) > 1 else terms[0]


def _log_shares(terms: Tensor) -> Tensor:
    """log of exp(terms_s) / Σ_t exp(terms_t): (S, B) -> (S, B), or 0 to be added where S is 1."""
    return terms.log_softmax(0) if len(terms) > 1 else terms.new_zeros(())


def cross_entropy(logits: Logits, y: Labels) -> Tensor:
    """−log of the mean probability: −log (1/S) Σ_s p_sy. The cross-entropy of the Bayesian prediction."""
    return ODDS[cross_entropy].value(_log_odds(logits, y))


def mean_cross_entropy(logits: Logits, y: Labels) -> Tensor:
    """Mean of the cross-entropies: (1/S) Σ_s −log p_sy."""
    return ODDS[mean_cross_entropy].value(_log_odds(logits, y))


def log_error(logits: Logits, y: Labels) -> Tensor:
    """Log of the mean error probability: log (1/S) Σ_s (1 − p_sy).

    Its gradient has the direction of the gradient of `cross_entropy` (both ascend the mean of 1 − p_y) and never
    vanishes, however confident the draws are: the default of sign and normalised steps. Where all draws are sure and
    some are wrong it is smaller than any float32; an attack still gets its direction (`gradient_at_logits`).
    """
    return ODDS[log_error].value(_log_odds(logits, y))


def margin(logits: Logits, y: Labels) -> Tensor:
    """Margin of the mean probabilities, negated: max over c≠y of p̄_c, minus p̄_y. It vanishes on saturated logits."""
    return _margins(logits.softmax(-1).mean(0), y)


def cw(logits: Logits, y: Labels) -> Tensor:
    """Margin of the mean logits, negated: max over c≠y of z̄_c, minus z̄_y, unclamped.

    Source: Carlini & Wagner, "Towards evaluating the robustness of neural networks" (2017), their f6 with the sign
    of an ascent; used on averaged logits by Däubener et al. (2020).
    """
    return _margins(logits.mean(0), y)


def mean_cw(logits: Logits, y: Labels) -> Tensor:
    """Mean of the margins: (1/S) Σ_s (max over c≠y of z_sc, minus z_sy), unclamped. No softmax joins the draws.

    Source: Grefenstette et al., "Strength in numbers" (2018), appendix A.2: "the mean adversarial loss" of the members.
    """
    return _margins(logits, y).mean(0)


def least_cw(logits: Logits, y: Labels) -> Tensor:
    """Margin of the draw that is misled least: min over s of (max over c≠y of z_sc, minus z_sy).

    Source: as `mean_cw`; with the sign of a descent it is "the maximum adversarial loss". The loss of a random member
    needs no function: it is that of one draw, another one at every step.
    """
    return _margins(logits, y).amin(0)


def _margins(logits: Logits, y: Labels) -> Tensor:
    """The largest other score minus that of the label: (..., B, K) -> (..., B)."""
    return _others(logits, y).amax(-1) - _label(logits, y)


def logit_sum(logits: Logits, y: Labels) -> Tensor:
    """Sum of the other classes' mean logits, minus that of the label: Σ over c≠y of z̄_c, minus z̄_y.

    No margin: its sign does not say whether the label has fallen, and a constant added to all logits changes it where
    K is not 2. Source: the attack in the code of Ye & Zhu, "Bayesian adversarial learning" (2018), see `one_step_cw`.
    """
    mean = logits.mean(0)
    return mean.sum(-1) - 2 * _label(mean, y)


def naive_cross_entropy(logits: Logits, y: Labels) -> Tensor:
    """`cross_entropy` as the papers compute it: softmax, mean, log, in the precision of the logits.

    In float32, p_y rounds to 1 on confident networks and the gradient is lost: kept to study that very effect.
    """
    tiny = torch.finfo(logits.dtype).tiny
    return -_label(logits.softmax(-1).mean(0), y).clamp_min(tiny).log()


def kl(logits: Logits, y: Tensor) -> Tensor:
    """KL(y ‖ p̄) = Σ_c y_c (log y_c − log p̄_c) with p̄ the mean probability; for labels y, `cross_entropy`.

    With y the model's own prediction at the clean input, this is what the attack of TRADES climbs. It has no gradient
    at that input, so an attack needs a start such as "near". Source: Zhang et al., "Theoretically principled trade-off
    between robustness and accuracy" (2019), algorithm 1.
    """
    if y.dim() == 1:
        return cross_entropy(logits, y)
    return kl_div(_log_mean_exp(logits.log_softmax(-1)), y.to(logits.dtype), reduction="none").sum(-1)


def latent_shift(latents: Tensor, clean: Tensor) -> Tensor:
    """How far the latent is moved: mean over draws of ‖μ_s(x) − μ_s(x0)‖², for latents (S, B, L) of both.

    Each draw is compared with itself, as two draws may code the same input at different places. There is no gradient
    at x0 itself, so an attack needs a start such as "near".
    Source: Kos, Fischer & Song, "Adversarial examples for generative models" (2017), section 4.3, away from x0 instead
    of towards a target; the loss of the data generator of Ye & Zhu, "Bayesian adversarial learning" (2018), eq. 11.
    """
    return (latents - clean).square().sum(-1).mean(0)


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "mean_cross_entropy": mean_cross_entropy,
    "log_error": log_error,
    "margin": margin,
    "cw": cw,
    "mean_cw": mean_cw,
    "least_cw": least_cw,
    "logit_sum": logit_sum,
    "naive_cross_entropy": naive_cross_entropy,
    "kl": kl,
    "latent_shift": latent_shift,
}
LossName = Annotated[str, OneOf(LOSSES)]
SOFT = (kl,)  # losses whose y may be probabilities (B, K)
LATENT = (latent_shift,)  # losses of latents, which need no labels

# Losses that are sign · log mean exp(sign · t_s), or a plain mean (sign 0), of one term t_s per draw. Their gradient is
# the mean of the gradients of chunks, weighted by exp(sign · loss of the chunk): one pass over draws, one live graph.
STREAMING: dict[Loss, int] = {cross_entropy: -1, naive_cross_entropy: -1, log_error: 1}
STREAMING |= dict.fromkeys((mean_cross_entropy, mean_cw, latent_shift), 0)


class OddsLoss(NamedTuple):
    """A loss that depends on the logits through u (S, B) alone, and rises with every u."""

    value: Callable[[Tensor], Tensor]  # (B,)
    log_slope: Callable[[Tensor], Tensor]  # log dL/du, (S, B)


ODDS: dict[Loss, OddsLoss] = {
    cross_entropy: OddsLoss(
        lambda u: -_log_mean_exp(logsigmoid(-u)), lambda u: logsigmoid(u) + _log_shares(logsigmoid(-u))
    ),
    mean_cross_entropy: OddsLoss(lambda u: softplus(u).mean(0), lambda u: logsigmoid(u) - math.log(len(u))),
    log_error: OddsLoss(lambda u: _log_mean_exp(logsigmoid(u)), lambda u: logsigmoid(-u) + _log_shares(logsigmoid(u))),
}
FLOOR = -40.0  # of the log of a gradient's size: what is smaller keeps its direction, where float32 would make it zero


def check_loss_values(values: Tensor) -> Tensor:
    """The values of a loss, none of which is NaN."""
    if math.isnan(float(values.sum())):
        raise ValueError("the loss is NaN: the network gives NaN or infinite logits for these inputs.")
    return values


def gradient_at_logits(loss: Loss, logits: Logits, y: Labels) -> tuple[Tensor, Tensor, Tensor]:
    """(loss (B,), gradient g (S, B, K) at the logits, r (B,)) with dL/dz = g · exp(r); an error where the loss is NaN.

    By autograd, or for the losses of ODDS in closed form, at half the cost: ∂u/∂z_c is the softmax over c≠y, −1 at y.
    There a gradient with dL/du below exp(FLOOR) is kept at that size, and r < 0 says by how much.
    """
    if loss not in ODDS:
        logits = logits.detach().requires_grad_()
        value = loss(logits, y)
        gradient = torch.autograd.grad(value.sum(), logits)[0]
        return check_loss_values(value.detach()), gradient, torch.zeros_like(value)
    with torch.no_grad():
        label = _index(logits, y)
        others = logits.scatter(-1, label, -math.inf)
        log_sum = others.logsumexp(-1, keepdim=True)
        u = (log_sum - logits.gather(-1, label)).squeeze(-1)
        at_logits = others.sub_(log_sum).exp_().scatter_(-1, label, -1.0)  # in place: (S, B, K) may be large
        log_slope = ODDS[loss].log_slope(u)
        log_scale = (log_slope.amax(0) - FLOOR).clamp_max_(0)
        gradient = at_logits.mul_((log_slope - log_scale).exp_().unsqueeze(-1))
        return check_loss_values(ODDS[loss].value(u)), gradient, log_scale
