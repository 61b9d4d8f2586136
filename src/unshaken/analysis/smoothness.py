"""The constant L of an L-smooth prediction: a number, or what is known of a model with Gaussian input noise."""

import math
from collections.abc import Callable
from typing import Annotated

from unshaken.analysis.margins import DIFFERENTIABLE
from unshaken.errors import lookup, unknown
from unshaken.evaluation.predict import RULES
from unshaken.models import StochasticClassifier
from unshaken.types import OneOf, Positive
from unshaken.validate import check_range


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
        raise ValueError(
            f"smoothness {smoothness!r} needs a smoothing model, which a {model.kind!r} model is not; "
            "give a number or wrap it."
        )
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
