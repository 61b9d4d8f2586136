"""[paper] of a recipe: the values that were published, which the report shows beside ours."""

from dataclasses import dataclass, field
from typing import Any

from unshaken.runs.parts import resolve_section
from unshaken.types import NotNegative, Probability

PerLabel = dict[str, dict[str, float]]


@dataclass(frozen=True)
class PublishedAccuracy:
    """[[paper.accuracy]]: under an attack, perhaps only of one model, in one norm or on one set of `data`."""

    attack: str
    eps: NotNegative
    value: Probability
    model: str | None = None
    norm: str | None = None
    data: str | None = None


@dataclass(frozen=True)
class PublishedFlatness:
    """[paper.flatness.MODEL]: mean and variance of the rise of the loss, of any noise or of that of a `size`."""

    mean: float
    variance: NotNegative
    size: NotNegative | None = None


@dataclass(frozen=True)
class PublishedLengths:
    """[paper.length.MODEL]: {label of an attack: length}, at an `eps` of its own or at that of [paper]."""

    lengths: dict[str, float]
    eps: float | None = None


@dataclass(frozen=True)
class Published:
    """[paper]: where values were published, and these.

    accuracy: see `PublishedAccuracy`. flatness, length: by model. inference: by model, {number of draws: accuracy}
    without an attack. time, training: by data set, {attack or model: time, relative to MEAN, minus 1}. eps: of values
    that have none of their own.
    """

    source: str = ""
    eps: float | None = None
    accuracy: list[PublishedAccuracy] = field(default_factory=list)
    flatness: dict[str, PublishedFlatness] = field(default_factory=dict)
    length: dict[str, PublishedLengths] = field(default_factory=dict)
    inference: dict[str, dict[int, float]] = field(default_factory=dict)
    time: PerLabel = field(default_factory=dict)
    training: PerLabel = field(default_factory=dict)


@dataclass(frozen=True)
class _Section:
    """[paper] as a TOML file has it."""

    source: str = ""
    eps: NotNegative | None = None
    accuracy: list[dict[str, Any]] = field(default_factory=list)
    flatness: dict[str, dict[str, Any]] = field(default_factory=dict)
    length: PerLabel = field(default_factory=dict)
    inference: PerLabel = field(default_factory=dict)
    time: PerLabel = field(default_factory=dict)
    training: PerLabel = field(default_factory=dict)


PUBLISHED_SECTIONS = (_Section, {"accuracy": (PublishedAccuracy, True), "flatness": (PublishedFlatness, False)})
"""[paper] as a TOML file has it, and the types of its tables; whether each is a list of them, or one for each model."""


def resolve_published(settings: Any) -> Published:
    """[paper], checked."""
    section = resolve_section("[paper]", _Section, settings)
    return Published(
        section.source,
        section.eps,
        [
            resolve_section(f"[[paper.accuracy]] {i}", PublishedAccuracy, value)
            for i, value in enumerate(section.accuracy, 1)
        ],
        {
            model: resolve_section(f"[paper.flatness.{model}]", PublishedFlatness, v)
            for model, v in section.flatness.items()
        },
        {model: _lengths(values) for model, values in section.length.items()},
        {model: _by_draws(model, values) for model, values in section.inference.items()},
        section.time,
        section.training,
    )


def _lengths(values: dict[str, float]) -> PublishedLengths:
    return PublishedLengths({label: value for label, value in values.items() if label != "eps"}, values.get("eps"))


def _by_draws(model: str, values: dict[str, float]) -> dict[int, float]:
    for draws in values:
        if not draws.isdigit() or int(draws) < 1:
            raise ValueError(f"[paper.inference.{model}]: expected a number of draws, 1 or more; got {draws!r}.")
    return {int(draws): value for draws, value in values.items()}
