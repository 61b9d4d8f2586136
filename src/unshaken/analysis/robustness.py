"""Conditions under which a perturbation cannot change a prediction: theorems 3.2 (linear) and 3.4 (L-smooth).

Source: Däubener & Fischer, "How sampling impacts the robustness of stochastic neural networks" (2022).
"""

import math
from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from unshaken.analysis.margins import DIFFERENTIABLE, Measured, measure
from unshaken.errors import lookup, unknown
from unshaken.evaluation.predict import RULES
from unshaken.models import Draws, StochasticClassifier, shared_draws
from unshaken.types import Count, Inputs, Labels, OneOf, Positive
from unshaken.validate import check_inputs, check_range


class Robustness(NamedTuple):
    """What the theorems say of B perturbations δ = x_adv − x, in float64; with a leading axis E where x_adv has one.

    f is the prediction under the inference draws, margin_c = f_y − f_c. In the column of the label y itself the margin
    and the distances are ∞ (so that a minimum over classes is one over c ≠ y), slope and gradient_norm 0, cosine NaN.
    """

    margin: Tensor  # (B, K) at x
    slope: Tensor  # (B, K), <∇margin_c, δ>
    gradient_norm: Tensor  # (B, K), ‖∇margin_c‖₂
    cosine: Tensor  # (B, K), of the angle between ∇margin_c and δ; NaN where one of them is 0
    linear_distance: Tensor  # (B, K), along δ to where margin_c would be 0 if it were linear; 0 where c wins at x
    smooth_distance: Tensor | None  # (B, K), the same for the lower bound of an L-smooth margin
    length: Tensor  # (B,), ‖δ‖₂
    correct: Tensor  # (B,), x is classified as y
    survived: Tensor  # (B,), x_adv is classified as y
    linear: Tensor  # (B,), the condition of theorem 3.2
    smooth: Tensor | None  # (B,), that of theorem 3.4
    linear_class: Tensor  # (B,), the class at the smallest linear_distance; where several are, the one nearest to y
    smooth_class: Tensor | None  # (B,)

    def select(self, index: int) -> "Robustness":
        """The entry of the first axis: one eps of a list, or one input."""
        return Robustness._make(None if field is None else field[index] for field in self)


def robustness(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    x_adv: Tensor,
    draws: Draws,
    *,
    smoothness: float | str | None = None,
    rule: str = "probability",
    batch_size: int = 256,
    allow_shared_draws: bool = False,
) -> Robustness:
    """Whether the label of x withstands the perturbation x_adv − x, by theorems 3.2 and 3.4, class by class.

    linear: x is classified as y and margin_c + <∇margin_c, δ> > 0 for all c ≠ y. For linear discriminant functions this
    holds if and only if x_adv is classified as y; for others it is an approximation of the first order.
    smooth: the same with −L‖δ‖², which suffices if every f_c has an L-Lipschitz gradient. The L of SMOOTHNESS are those
    of the exact Gaussian expectation. Under a few draws of the noise f has the smoothness of the network, for which
    there is no bound with ReLU, so the check is a heuristic there.
    A perturbation of length 0 is withstood where x is classified correctly, at distance ∞.

    Args:
        x_adv: the shape of x, or (E, B, ...): the gradients are then computed once for all E.
        draws: the inference draws; those that made x_adv are refused unless `allow_shared_draws`.
        smoothness: L, or a word of SMOOTHNESS for a model with input noise; without it there is no smooth condition.
        rule: f is the mean "probability" or the mean "logit".
        batch_size: inputs in one pass; fewer where the gradients of all classes would take more than 64 MiB.

    The gradients take K − 1 backward passes per input and draw (`model.cost.gradients`), one for each margin. Memory
    does not grow with the number of draws.
    """
    limit = smoothness_under(model, smoothness, rule)
    check_inputs(x, y)
    check_range("batch_size", batch_size, Count)
    if not isinstance(draws, Draws):
        raise ValueError(f"draws must be a Draws object, such as model.draw(100, seed=1); got {draws!r}.")
    check_perturbed("x_adv", x_adv, x, None if allow_shared_draws else draws)
    stacked = x_adv if x_adv.dim() > x.dim() else x_adv[None]
    (measured,) = measure(model, x, y, stacked, draws, (len(draws),), rule, batch_size)
    result = apply_theorems(measured, limit)
    return result if stacked is x_adv else result.select(0)


def apply_theorems(measured: Measured, limit: float | None) -> Robustness:
    """Both conditions for every perturbation; without a limit L the linear one alone."""
    slope, length, survived = measured.slope, measured.length, measured.survived
    margin, norm = measured.margin.expand_as(slope), measured.gradient_norm.expand_as(slope)
    correct = measured.correct.expand_as(length)
    cosine = (slope / (norm * length[..., None])).clamp(-1, 1)
    linear, distance, nearest = _condition(margin, slope, length, correct)
    smooth = smooth_distance = smooth_class = None
    if limit is not None:
        bound = slope - limit * length[..., None] ** 2
        smooth, smooth_distance, smooth_class = _condition(margin, bound, length, correct)
    at_x, at_x_adv = (margin, slope, norm, cosine), (length, correct, survived)
    return Robustness(*at_x, distance, smooth_distance, *at_x_adv, linear, smooth, nearest, smooth_class)


def _condition(margin: Tensor, slope: Tensor, length: Tensor, correct: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(whether margin_c + slope_c > 0 for all c ≠ y and x is correct (E, B), distances (E, B, K), class (E, B))."""
    unmoved = correct & (length == 0)
    predicted = margin + slope  # the margin at x_adv; in direction δ it is 0 at −margin_c ‖δ‖ / slope_c
    holds = correct & (unmoved | (predicted > 0).all(-1))
    falling = margin.clamp_min(0) * length[..., None] / -slope
    distance = torch.where(slope < 0, falling, torch.inf).masked_fill(margin <= 0, 0)
    distance = distance.masked_fill(unmoved[..., None], torch.inf)
    nearest = distance == distance.amin(-1, keepdim=True)
    return holds, distance, predicted.masked_fill(~nearest, torch.inf).argmin(-1)


def check_perturbed(name: str, x_adv: Tensor, x: Tensor, draws: Draws | None) -> None:
    """Finite, of the shape of x, with an axis of sizes in front or without, and made by none of the inference draws."""
    if x_adv.dtype != x.dtype:
        raise ValueError(f"{name} must be of the type of x, {x.dtype}; got {x_adv.dtype}.")
    if x_adv.shape not in (x.shape, (*x_adv.shape[:1], *x.shape)) or len(x_adv) == 0:
        shape = tuple(x.shape)
        raise ValueError(f"{name} must be of the shape of x, {shape}, or (E, *{shape}); got {tuple(x_adv.shape)}.")
    if not bool(x_adv.isfinite().all()):
        raise ValueError(f"{name} contains NaN or infinite values.")
    if draws is not None and (shared := shared_draws(x_adv, draws)):
        remedy = "predict with draws of another seed, or call robustness with allow_shared_draws=True"
        raise ValueError(f"{shared} of the inference draws also made these perturbations; {remedy}.")


def published(sigma: float) -> float:
    """L = 2/σ², the bound that the paper takes from Yang et al. (2022)."""
    return 2 / sigma**2


def tight(sigma: float) -> float:
    """L = 2φ(1)/σ² = 0.484/σ², the smallest that holds for every f in [0, 1]; φ is the standard normal density.

    The second derivative of E f(x + σz) in a direction u is E[f(x + σz) (z_u² − 1)] / σ². Since E[z_u² − 1] = 0, it is
    largest in size where f is 1 for |z_u| > 1 and 0 elsewhere, or the reverse: E[(z_u² − 1)⁺] = 2φ(1).
    """
    return 2 * math.exp(-0.5) / math.sqrt(2 * math.pi) / sigma**2


# L of the average of f in [0, 1] over Gaussian input noise of standard deviation σ
SMOOTHNESS: dict[str, Callable[[float], float]] = {"published": published, "tight": tight}
SmoothnessName = Annotated[str, OneOf(SMOOTHNESS)]


def smoothness_of(model: StochasticClassifier, smoothness: float | str | None) -> float | None:
    """L: a number above 0 as given, or what a word of SMOOTHNESS says of the model's input noise σ."""
    if smoothness is None:
        return None
    if not isinstance(smoothness, str):
        check_range("smoothness, the L of an L-smooth prediction,", smoothness, Positive)
        return float(smoothness)
    bound, sigma = lookup("smoothness", smoothness, SMOOTHNESS), getattr(model, "sigma", None)
    if sigma is None:
        other = f"a smoothing model, which a {model.kind!r} model is not"
        raise ValueError(f"smoothness {smoothness!r} needs {other}; give a number or wrap it.")
    return bound(float(sigma))


def smoothness_under(model: StochasticClassifier, smoothness: float | str | None, rule: str) -> float | None:
    """`smoothness_of` a prediction by this rule: the words of SMOOTHNESS bound that of probabilities alone."""
    if rule not in DIFFERENTIABLE:
        if rule in RULES:
            raise ValueError(f"rule {rule!r} has no gradient; choose 'probability' or 'logit'.")
        raise unknown("rule", rule, DIFFERENTIABLE)
    if isinstance(smoothness, str) and rule != "probability":
        raise ValueError(f"smoothness {smoothness!r} is that of probabilities: with rule {rule!r} give a number.")
    return smoothness_of(model, smoothness)
