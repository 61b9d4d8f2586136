"""What the learner sees in one step: functions (model, x, y, *, seed, ...) -> (x, y), by name.

Inputs with an argument `points` extend the training set: they are passed the points that are asked for, and have
`copies` (and `clean`) among their arguments, which say how many there are for every input. They get the images before
these are augmented, and call `augment` on what they make of them. All others get augmented images.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypeAlias

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

# what training passes to each of its functions; a recipe cannot set these
Model: TypeAlias = Supplied[StochasticClassifier]
X: TypeAlias = Supplied[Inputs]
Y: TypeAlias = Supplied[Labels]
N: TypeAlias = Supplied[int]  # the number of training inputs, without copies
Seed: TypeAlias = Supplied[int]

InputFunction: TypeAlias = Callable[..., tuple[Any, ...]]
"""(model, x, y, *, seed, ...) -> (x, y), or (x, y, x before an attack)."""


@dataclass(frozen=True)
class Points:
    """Points of the extended training set: copy `copy` of input `index`, (B,) int64 each, of training `seed`."""

    index: Tensor
    copy: Tensor
    epoch: int
    seed: int


class Batch(NamedTuple):
    """What the learner sees: inputs, labels, and where an attack made the inputs, what they were before."""

    x: Inputs
    y: Labels
    before: Inputs | None = None


def with_augmentation(inputs: InputFunction) -> Callable[..., Batch]:
    """Inputs as a function (model, x, y, points, augment, seed) -> Batch that has the images augmented where due."""
    if extends(inputs):
        return lambda model, x, y, points, augment, seed: Batch(
            *inputs(model, x, y, seed=seed, points=points, augment=augment)
        )
    return lambda model, x, y, points, augment, seed: Batch(*inputs(model, augment(x), y, seed=seed))


def points_per_input(inputs: InputFunction) -> int:
    """How many points of an epoch stand for one training input: its copies, and itself where it is a point too."""
    if not extends(inputs):
        return 1
    copies = argument(inputs, "copies")
    if copies is not None:  # checked here, for a number below 1 would make an epoch of no points
        check_range("copies", copies, Count)
    return (copies or 1) + bool(argument(inputs, "clean"))


def extends(inputs: InputFunction) -> bool:
    """Whether these inputs extend the training set."""
    return "points" in inspect.signature(inputs).parameters


def clean(model: Model, x: X, y: Y, *, seed: Seed) -> Batch:
    """The inputs as they are."""
    return Batch(x, y)


def adversarial(
    model: Model,
    x: X,
    y: Y,
    *,
    seed: Seed,
    eps: NotNegative,
    attack: AttackPart = mean,
    probability: Probability = 0.3,
    labels: AnswerName = "given",
) -> Batch:
    """The whole batch attacked with this probability, as the model is at this step; otherwise the batch as it is.

    The attack sees the network in eval mode, and draws of its own: the learner's draws are others. Its loss is that of
    the labels "given", or of the labels "predicted": the probabilities of the model itself at x (mean over 10 draws),
    from which an attack with loss "kl" leads away.

    Source: Däubener et al. (2020), section 3.3, with probability 0.3; Madry et al. (2018) with probability 1; Zhang et
    al. (2019), TRADES, with probability 1 and labels "predicted".
    """
    check_range("probability", probability, Probability)
    norm = argument(attack, "norm")
    if norm in NORMS and eps > (box := float(NORMS[norm].size(torch.ones_like(x[:1])))):
        raise ValueError(
            f"eps {eps:g} is larger than the whole input box, {box:.3g} in the {norm} norm; is {eps:g}/255 meant?"
        )
    target = lookup("labels", labels, ANSWERS)
    if float(torch.rand((), generator=generator(derive(seed, "replace"), 0))) >= probability:
        return Batch(x, y, x)
    with mode(model.net, training=False):
        return Batch(attack(model, x, target(model, x, y, seed), eps=eps, seed=derive(seed, "inputs")), y, x)


ANSWERS: dict[str, Callable[[StochasticClassifier, Inputs, Labels, int], Tensor]] = {
    "given": lambda model, x, y, seed: y,
    "predicted": lambda model, x, y, seed: predict(model, x, model.draw(10, seed=derive(seed, "predicted"))),
}
AnswerName = Annotated[str, OneOf(ANSWERS)]


def constant_noise(
    model: Model,
    x: X,
    y: Y,
    *,
    seed: Seed,
    points: Supplied[Points],
    augment: Supplied[Callable[[Inputs], Inputs]],
    size: NotNegative,
    noise: NoiseName = "uniform",
    copies: Count = 10,
    clean: bool = False,
    clip: bool = False,
) -> Batch:
    """The training set extended by `copies` of every input, x + δ_ij with δ_ij drawn once: the same in every epoch.

    δ_ij is a function of (seed of the training, input i, copy j), computed where it is needed. An epoch passes over all
    copies, and with `clean` over the inputs themselves too. With `clip`, x + δ is cut to [0, 1].

    Source: Chernyak et al., "Constant random perturbations provide adversarial robustness with minimal effect on
    accuracy" (2021), eq. 3 and 4; with `clean`, row G of its table 9.
    """
    return Batch(augment(_noisy(x, points, derive(points.seed, "noise"), size, noise, copies, clean, clip)), y)


def variable_noise(
    model: Model,
    x: X,
    y: Y,
    *,
    seed: Seed,
    points: Supplied[Points],
    augment: Supplied[Callable[[Inputs], Inputs]],
    size: NotNegative,
    noise: NoiseName = "gaussian",
    copies: Count = 1,
    clean: bool = False,
    clip: bool = False,
) -> Batch:
    """`constant_noise` with other noise in every epoch.

    Source: Cohen et al., "Certified adversarial robustness via randomized smoothing" (2019); the smoothed models of
    Däubener & Fischer (2022), section 4.1, with two Gaussian copies; rows B to E of table 9 of Chernyak et al. (2021).
    """
    seed = derive(points.seed, "noise", points.epoch)
    return Batch(augment(_noisy(x, points, seed, size, noise, copies, clean, clip)), y)


def _noisy(
    x: Inputs, points: Points, seed: int, size: float, noise: str, copies: int, clean: bool, clip: bool
) -> Inputs:
    """Points of the set extended by noisy copies; with `clean` the last copy of all is the input itself."""
    check_range("size", size, NotNegative)
    check_range("copies", copies, Count)
    moved = noise_of(noise, size, seed, points.index, points.copy, x.shape[1:]).to(x.dtype)
    if clean:
        moved *= (points.copy < copies).view(-1, *[1] * (x.dim() - 1))
    return moved.add_(x).clamp_(0, 1) if clip else moved.add_(x)


def argument(function: Any, name: str) -> Any:
    """What a function would get for an argument that its caller leaves out: bound, or its default, or None."""
    while hasattr(function, "func"):
        if name in function.keywords:
            return function.keywords[name]
        function = function.func
    parameter = inspect.signature(function).parameters.get(name)
    return None if parameter is None else parameter.default
