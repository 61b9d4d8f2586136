"""What the learner sees in one step: functions (model, x, y, *, seed, ...) -> (x, y), by name.

A rule with `points` decides about points of a training set that it extends: it is told which they are, and has `copies`
(and `clean`) among its arguments, which say how many there are for every input. It sees the images before they are
augmented and passes on what it makes of them by `then`. All other rules see the augmented images.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from unshaken.attacks import NORMS, AttackPart, mean
from unshaken.errors import lookup
from unshaken.evaluation.predict import predict
from unshaken.models import StochasticClassifier, derive
from unshaken.models.base import mode
from unshaken.models.draws import generator
from unshaken.training.noise import NoiseName, noise_of
from unshaken.types import Count, Inputs, Labels, NotNegative, OneOf, Probability, Supplied
from unshaken.validate import check_range


class Points(NamedTuple):
    """Points of the extended training set: copy `copy` of input `place`, (B,) int64 each, of training `seed`."""

    place: Tensor
    copy: Tensor
    epoch: int
    seed: int


class Seen(NamedTuple):
    """What a rule gives: inputs, labels, and where an attack made the inputs, what they were before."""

    x: Inputs
    y: Labels
    before: Inputs | None = None


def shown(rule: Callable[..., tuple[Any, ...]]) -> Callable[..., Seen]:
    """A rule as a function (model, x, y, points, augment, seed) -> Seen, which has the images augmented where due."""
    if extends(rule):
        return lambda model, x, y, points, augment, seed: Seen(
            *rule(model, x, y, seed=seed, points=points, then=augment)
        )
    return lambda model, x, y, points, augment, seed: Seen(*rule(model, augment(x), y, seed=seed))


def points_per_input(rule: Callable[..., tuple[Any, ...]]) -> int:
    """How many points of an epoch stand for one training input: its copies, and itself where it is a point too."""
    if not extends(rule):
        return 1
    copies = argument(rule, "copies")
    if copies is not None:  # asked here, for a number below 1 would make an epoch of no points
        check_range("copies", copies, Count)
    return (copies or 1) + bool(argument(rule, "clean"))


def extends(rule: Callable[..., tuple[Any, ...]]) -> bool:
    """Whether a rule is about points of an extended training set."""
    return "points" in inspect.signature(rule).parameters


def clean(
    model: Supplied[StochasticClassifier], x: Supplied[Inputs], y: Supplied[Labels], *, seed: Supplied[int]
) -> Seen:
    """The inputs as they are."""
    return Seen(x, y)


def adversarial(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    seed: Supplied[int],
    eps: NotNegative,
    attack: AttackPart = mean,
    probability: Probability = 0.3,
    labels: AnswerName = "given",
) -> Seen:
    """The whole batch attacked with this probability, as the model is at this step; otherwise the batch as it is.

    The attack sees the network in eval mode, and draws of its own: the learner's draws are others. Its loss is that of
    the labels "given", or of the labels "predicted": the probabilities of the model itself at x (mean over 10 draws),
    from which an attack with loss "kl" leads away.

    Source: Däubener et al. (2020), section 3.3, with probability 0.3; Madry et al. (2018) with probability 1; Zhang et
    al. (2019), TRADES, with probability 1 and labels "predicted".
    """
    check_range("probability", probability, Probability)
    check_box(attack, eps, x)
    answer = lookup("labels", labels, ANSWERS)
    if float(torch.rand((), generator=generator(derive(seed, "replace"), 0))) >= probability:
        return Seen(x, y, x)
    with mode(model.net, training=False):
        return Seen(attack(model, x, answer(model, x, y, seed), eps=eps, seed=derive(seed, "inputs")), y, x)


ANSWERS: dict[str, Callable[[StochasticClassifier, Inputs, Labels, int], Tensor]] = {
    "given": lambda model, x, y, seed: y,
    "predicted": lambda model, x, y, seed: predict(model, x, model.draw(10, seed=derive(seed, "predicted"))),
}
AnswerName = Annotated[str, OneOf(ANSWERS)]


def constant_noise(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    seed: Supplied[int],
    points: Supplied[Points],
    then: Supplied[Callable[[Inputs], Inputs]],
    size: NotNegative,
    noise: NoiseName = "uniform",
    copies: Count = 10,
    clean: bool = False,
    clip: bool = False,
) -> Seen:
    """The training set extended by `copies` of every input, x + δ_ij with δ_ij drawn once: the same in every epoch.

    δ_ij is a function of (seed of the training, input i, copy j), computed where it is needed. An epoch passes over all
    copies, and with `clean` over the inputs themselves too. With `clip`, x + δ is cut to [0, 1].

    Source: Chernyak et al., "Constant random perturbations provide adversarial robustness with minimal effect on
    accuracy" (2021), eq. 3 and 4; with `clean`, row G of its table 9.
    """
    return Seen(then(_noisy(x, points, derive(points.seed, "noise"), size, noise, copies, clean, clip)), y)


def variable_noise(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    seed: Supplied[int],
    points: Supplied[Points],
    then: Supplied[Callable[[Inputs], Inputs]],
    size: NotNegative,
    noise: NoiseName = "gaussian",
    copies: Count = 1,
    clean: bool = False,
    clip: bool = False,
) -> Seen:
    """`constant_noise` with other noise in every epoch.

    Source: Cohen et al., "Certified adversarial robustness via randomized smoothing" (2019); the smoothed models of
    Däubener & Fischer (2022), section 4.1, with two Gaussian copies; rows B to E of table 9 of Chernyak et al. (2021).
    """
    own = derive(points.seed, "noise", points.epoch)
    return Seen(then(_noisy(x, points, own, size, noise, copies, clean, clip)), y)


def _noisy(
    x: Inputs, points: Points, seed: int, size: float, noise: str, copies: int, clean: bool, clip: bool
) -> Inputs:
    """Points of the set extended by noisy copies; the last copy of all is the input itself, where `clean` is set."""
    check_range("size", size, NotNegative)
    check_range("copies", copies, Count)
    moved = noise_of(noise, size, seed, points.place, points.copy, x.shape[1:]).to(x.dtype)
    if clean:
        moved *= (points.copy < copies).view(-1, *[1] * (x.dim() - 1))
    noisy = moved.add_(x)
    return noisy.clamp_(0, 1) if clip else noisy


def check_box(attack: Callable[..., Inputs], eps: float, x: Inputs) -> None:
    """`eps` is at most the size of the whole input box, in the norm that the attack would use."""
    norm = argument(attack, "norm")
    if norm in NORMS:
        box = float(NORMS[norm].size(torch.ones_like(x[:1])))
        if eps > box:
            raise ValueError(
                f"eps {eps:g} is larger than the whole input box, {box:.3g} in the {norm} norm; is {eps:g}/255 meant?"
            )


def argument(function: Any, word: str) -> Any:
    """What a function would get for an argument that its caller leaves out: bound, or its default, or None."""
    while hasattr(function, "func"):
        if word in function.keywords:
            return function.keywords[word]
        function = function.func
    parameter = inspect.signature(function).parameters.get(word)
    return None if parameter is None else parameter.default
