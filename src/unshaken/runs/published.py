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
class PaperSection:
    """[paper] as a TOML file has it."""

    source: str = ""
    eps: NotNegative | None = None
    accuracy: list[dict[str, Any]] = field(default_factory=list)
    flatness: dict[str, dict[str, Any]] = field(default_factory=dict)
    length: PerLabel = field(default_factory=dict)
    inference: PerLabel = field(default_factory=dict)
    time: PerLabel = field(default_factory=dict)
    training: PerLabel = field(default_factory=dict)


def resolve_published(settings: Any) -> Published:
    """[paper], checked."""
    section = resolve_section("[paper]", PaperSection, settings)
    accuracies, flatness = enumerate(section.accuracy, 1), section.flatness.items()
    tables: dict[str, Any] = {
        "accuracy": [resolve_section(f"[[paper.accuracy]] {i}", PublishedAccuracy, row) for i, row in accuracies],
        "flatness": {
            name: resolve_section(f"[paper.flatness.{name}]", PublishedFlatness, row) for name, row in flatness
        },
        "length": {model: PublishedLengths(row, row.pop("eps", None)) for model, row in section.length.items()},
        "inference": {model: _by_draws(model, row) for model, row in section.inference.items()},
    }
    return Published(**vars(section) | tables)


def _by_draws(model: str, values: dict[str, float]) -> dict[int, float]:
    for draws in values:
        if not draws.isdigit() or int(draws) < 1:
            raise ValueError(f"[paper.inference.{model}]: expected a number of draws, 1 or more; got {draws!r}.")
    return {int(draws): value for draws, value in values.items()}
