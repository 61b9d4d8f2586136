"""Conditions under which a perturbation cannot change a prediction: theorems 3.2 (linear) and 3.4 (L-smooth).

Source: Däubener & Fischer, "How sampling impacts the robustness of stochastic neural networks" (2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import torch
from torch import Tensor

from unshaken.analysis import margins
from unshaken.analysis.margins import DIFFERENTIABLE, Measured, measure
from unshaken.attacks.interface import supported_kwargs
from unshaken.errors import lookup, unknown
from unshaken.evaluation.predict import RULES, RuleName
from unshaken.models import Draws, StochasticClassifier, derive, shared_draws
from unshaken.types import Count, Inputs, Labels, NotNegative, OneOf, Positive, Supplied
from unshaken.validate import check_eps, check_inputs, check_range

if TYPE_CHECKING:
    from pandas import DataFrame


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


class Robustness(NamedTuple):
    """What the theorems say of B perturbations δ = x_adv − x, in float64; with a leading axis E where x_adv has one.

    f is the prediction under the inference draws, margin_c = f_y − f_c. In the column of the label y itself the margin
    and the distances are ∞ (so that a minimum over classes is one over c ≠ y), slope and gradient_norm 0, cosine NaN.
    """

    margin: Tensor  # (B, K) at x
    slope: Tensor  # (B, K), <∇margin_c, δ>
    gradient_norm: Tensor  # (B, K), ‖∇margin_c‖₂
    cosine: Tensor  # (B, K), of the angle between ∇margin_c and δ; NaN where one of them is 0
    linear_distance: (
        Tensor  # (B, K), in direction δ to where margin_c would be 0 if it were linear; 0 where c wins at x
    )
    smooth_distance: Tensor | None  # (B, K), the same for the lower bound of an L-smooth margin
    length: Tensor  # (B,), ‖δ‖₂
    correct: Tensor  # (B,), x is classified as y
    survived: Tensor  # (B,), x_adv is classified as y
    linear: Tensor  # (B,), the condition of theorem 3.2
    smooth: Tensor | None  # (B,), that of theorem 3.4
    linear_class: Tensor  # (B,), the class at the smallest linear_distance; where several are, the one nearest to y
    smooth_class: Tensor | None  # (B,)


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
    limit = smooth_limit(model, smoothness, rule)
    check_inputs(x, y)
    check_range("batch_size", batch_size, Count)
    if not isinstance(draws, Draws):
        raise ValueError(f"draws must be a Draws object, such as model.draw(100, seed=1); got {draws!r}.")
    _check_perturbed("x_adv", x_adv, x)
    if not allow_shared_draws:
        _check_draws(x_adv, draws)
    stacked = x_adv if x_adv.dim() > x.dim() else x_adv[None]
    (measured,) = measure(model, x, y, stacked, draws, (len(draws),), rule, batch_size)
    found = _judge(measured, limit)
    if stacked is x_adv:
        return found
    return Robustness._make(None if part is None else part[0] for part in found)


def conditions(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    seed: Supplied[int],
    attacks: Supplied[Mapping[str, Callable[..., Inputs]]],
    eps: NotNegative | Sequence[NotNegative],
    draws: Count | Sequence[Count] = (100,),
    repeats: Count = 1,
    smoothness: Positive | SmoothnessName | None = None,
    rule: RuleName = "probability",
    batch_size: Count = 256,
) -> DataFrame:
    """Whether theorems 3.2 and 3.4 promise that the label withstands each attack, and whether it does.

    Args:
        attacks: label -> attack(model, x, y, *, eps, seed); in a recipe, its [[attacks]].
        eps: sizes of the perturbations.
        draws: numbers of inference draws; k draws are the first k of one set, none of which made a perturbation.
        repeats: how many times, each with attacks and inference draws of its own.
        smoothness, rule, batch_size: as in `robustness`, which says what the conditions are.

    Returns one row per input, repeat, attack, size and number of inference draws: `index`, `repeat`, `attack`, `eps`,
    `inference_draws`, `correct` (x is classified as y), `survived` (x_adv is), `linear` (the condition of theorem 3.2),
    `linear_distance` (the smallest over classes, 0 for a misclassified x, ∞ if no class comes nearer), `linear_class`
    (the class that attains it), the `margin`, `cosine` and `gradient_norm` of that class, `length` (‖x_adv − x‖₂); and
    where smoothness is given `smooth`, `smooth_distance`, `smooth_class`.
    """
    import pandas as pd

    limit = smooth_limit(model, smoothness, rule)
    check_inputs(x, y)
    check_range("repeats", repeats, Count)
    check_range("batch_size", batch_size, Count)
    counts, sizes = _numbers("draws", draws), _numbers("eps", eps)
    for count in counts:
        check_range("draws", count, Count)
    check_eps(sizes, len(x))
    if not attacks:
        raise ValueError("there are no attacks whose perturbations could be judged.")
    at_once = max(1, margins.BLOCK // (len(attacks) * len(sizes) * x[0].numel()))
    slices = [slice(first, first + at_once) for first in range(0, len(x), at_once)]
    grid = pd.MultiIndex.from_product(
        [attacks, sizes, counts, range(len(x))], names=["attack", "eps", "inference_draws", "index"]
    ).to_frame(index=False)
    parts = []
    for repeat in range(repeats):
        own = derive(seed, "repeat", repeat)
        inference = model.draw(max(counts), seed=derive(own, "inference", 0)).keep()
        found = []
        for at in slices:
            x_adv = _perturb(model, x[at], y[at], attacks, sizes, own, inference, at)
            measured = measure(model, x[at], y[at], x_adv, inference, counts, rule, batch_size)
            found.append([_columns(_judge(each, limit)) for each in measured])
        columns = {
            name: torch.cat([torch.stack([each[name] for each in part], 1) for part in found], 2).flatten()
            for name in found[0][0]
        }
        told = {name: values.cpu().numpy() for name, values in columns.items()}
        parts.append(grid.assign(repeat=repeat, **told))
    rows = pd.concat(parts, ignore_index=True)
    first = ["index", "repeat", "attack", "eps", "inference_draws"]
    return rows[[*first, *(name for name in rows if name not in first)]]


def smoothness_of(model: StochasticClassifier, smoothness: float | str | None) -> float | None:
    """L: a number above 0 as given, or what a word of SMOOTHNESS says of the model's input noise σ."""
    if smoothness is None:
        return None
    if not isinstance(smoothness, str):
        check_range("smoothness, the L of an L-smooth prediction,", smoothness, Positive)
        return float(smoothness)
    bound, sigma = lookup("smoothness", smoothness, SMOOTHNESS), getattr(model, "sigma", None)
    if sigma is None:
        raise ValueError(
            f"smoothness {smoothness!r} needs a smoothing model, which a {model.kind!r} model is not; "
            "give a number or wrap it."
        )
    return bound(float(sigma))


# What is wrong with the arguments


def smooth_limit(model: StochasticClassifier, smoothness: float | str | None, rule: str) -> float | None:
    """`smoothness_of`, after a look at the rule: the words bound the smoothness of probabilities."""
    if rule not in DIFFERENTIABLE:
        if rule in RULES:
            raise ValueError(f"rule {rule!r} has no gradient; choose 'probability' or 'logit'.")
        raise unknown("rule", rule, DIFFERENTIABLE)
    if isinstance(smoothness, str) and rule != "probability":
        raise ValueError(f"smoothness {smoothness!r} is that of probabilities: with rule {rule!r} give a number.")
    return smoothness_of(model, smoothness)


def _numbers(name: str, given: float | Sequence[float]) -> list:
    """One number or several, as a list without repetition."""
    numbers = list(given) if isinstance(given, list | tuple) else [given]
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"{name} must be one number at least, none of them twice; got {numbers}.")
    return numbers


def _check_perturbed(name: str, x_adv: Tensor, x: Tensor) -> None:
    """The shape of x, with an axis of sizes in front or without, and finite."""
    if x_adv.dtype != x.dtype:
        raise ValueError(f"{name} must be of the type of x, {x.dtype}; got {x_adv.dtype}.")
    if x_adv.shape not in (x.shape, (*x_adv.shape[:1], *x.shape)) or len(x_adv) == 0:
        shape = tuple(x.shape)
        raise ValueError(f"{name} must be of the shape of x, {shape}, or (E, *{shape}); got {tuple(x_adv.shape)}.")
    if not bool(x_adv.isfinite().all()):
        raise ValueError(f"{name} contains NaN or infinite values.")


def _check_draws(x_adv: Tensor, draws: Draws) -> None:
    """None of the inference draws made the perturbation."""
    if shared := shared_draws(x_adv, draws):
        raise ValueError(
            f"{shared} of the inference draws also made these perturbations; "
            "predict with draws of another seed, or call robustness with allow_shared_draws=True."
        )


def _perturb(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    attacks: Mapping[str, Callable[..., Inputs]],
    sizes: list[float],
    seed: int,
    inference: Draws,
    at: slice,
) -> Tensor:
    """The perturbed inputs of all attacks at all sizes, one attack after the other: (E, B, ...)."""
    found = []
    for label, attack in attacks.items():
        places = range(at.start, at.start + len(x))
        x_adv = attack(model, x, y, eps=sizes, seed=seed, **supported_kwargs(attack, indices=places))
        if x_adv.shape != (len(sizes), *x.shape):
            raise ValueError(
                f"the attack {label!r} must give (E, *{tuple(x.shape)}) for E = {len(sizes)} sizes; "
                f"got {tuple(x_adv.shape)}."
            )
        _check_perturbed(f"what the attack {label!r} gives", x_adv, x)
        _check_draws(x_adv, inference)
        found.append(x_adv)
    return torch.cat(found)


# What follows from it


def _judge(measured: Measured, limit: float | None) -> Robustness:
    """Both conditions, from what was measured at any number of draws."""
    slope, length, survived = measured.slope, measured.length, measured.survived
    margin, norm = measured.margin.expand_as(slope), measured.gradient_norm.expand_as(slope)
    correct = measured.correct.expand_as(length)
    cosine = (slope / (norm * length[..., None])).clamp(-1, 1)
    linear, distance, nearest = _condition(margin, slope, length, correct)
    smooth = smooth_distance = smooth_class = None
    if limit is not None:
        bound = slope - limit * length[..., None] ** 2
        smooth, smooth_distance, smooth_class = _condition(margin, bound, length, correct)
    return Robustness(
        margin,
        slope,
        norm,
        cosine,
        distance,
        smooth_distance,
        length,
        correct,
        survived,
        linear,
        smooth,
        nearest,
        smooth_class,
    )


def _condition(margin: Tensor, slope: Tensor, length: Tensor, correct: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(whether margin_c + slope_c > 0 for all c ≠ y and x is correct (E, B), distances (E, B, K), class (E, B)).

    margin_c + slope_c is what is left of the margin at x_adv; in direction δ it is 0 at −margin_c ‖δ‖ / slope_c.
    """
    still = correct & (length == 0)
    left = margin + slope
    holds = correct & (still | (left > 0).all(-1))
    falling = margin.clamp_min(0) * length[..., None] / -slope
    distance = torch.where(slope < 0, falling, torch.inf).masked_fill(margin <= 0, 0)
    distance = distance.masked_fill(still[..., None], torch.inf)
    nearest = distance == distance.amin(-1, keepdim=True)
    return holds, distance, left.masked_fill(~nearest, torch.inf).argmin(-1)


def _columns(found: Robustness) -> dict[str, Tensor]:
    """The columns of `conditions`, (E, B) each."""

    def of_class(values: Tensor) -> Tensor:
        return values.gather(-1, found.linear_class[..., None])[..., 0]

    columns = {
        "correct": found.correct,
        "survived": found.survived,
        "linear": found.linear,
        "linear_distance": of_class(found.linear_distance),
        "linear_class": found.linear_class,
        "margin": of_class(found.margin),
        "cosine": of_class(found.cosine),
        "gradient_norm": of_class(found.gradient_norm),
        "length": found.length,
    }
    if found.smooth is None or found.smooth_distance is None or found.smooth_class is None:
        return columns
    distance = found.smooth_distance.amin(-1)
    return columns | {"smooth": found.smooth, "smooth_distance": distance, "smooth_class": found.smooth_class}
