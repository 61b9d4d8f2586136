"""Parameters of every model and operations of its predictions, as run.json has them, for tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.report.groups import groups
from unshaken.report.wording import significant

if TYPE_CHECKING:
    from pandas import DataFrame

HEAD = ["parameters", "FLOP"]
"""The columns of `size_cells`."""


class Size(NamedTuple):
    """How many numbers a model holds, and the operations of its prediction of one image; None where unknown."""

    parameters: int | None = None
    flops: int | None = None

    def __str__(self) -> str:
        """ "350 k parameters, 52.0 MFLOP for the prediction of one image"."""
        told = [] if self.parameters is None else [f"{counted(self.parameters)} parameters"]
        told += [] if self.flops is None else [f"{counted(self.flops, 'FLOP')} for the prediction of one image"]
        return ", ".join(told)


def sizes(about: dict[str, Any]) -> dict[str, Size]:
    """The size of each model, by label, and the mean one of each group; empty for a run that did not count them."""
    found = {model: Size(told.get("parameters"), told.get("flops")) for model, told in about.get("sizes", {}).items()}
    for group, members in groups(about).items():
        if known := [found[label] for label in members.values() if label in found]:
            found[group] = Size(*(_mean(numbers) for numbers in zip(*known, strict=True)))
    return found


def _mean(numbers: tuple[int | None, ...]) -> int | None:
    known = [number for number in numbers if number is not None]
    return round(sum(known) / len(known)) if known else None


def counted(number: float, unit: str = "") -> str:
    """ "350 k", "1.40 M"; with a unit "1.40 MFLOP"."""
    number, power = float(f"{number:.3g}"), 0
    while number >= 1000 and power < 4:
        number, power = number / 1000, power + 1
    text = significant(number) if power else f"{number:g}"
    return f"{text} {'kMGT'[power - 1] if power else ''}{unit}".rstrip()


def size_cells(known: dict[str, Size], model: str) -> list[str]:
    """The cells under HEAD of a model; none where no size is known."""
    return ["" if number is None else counted(number) for number in known.get(model, Size())] if known else []


def with_sizes(data: DataFrame, known: dict[str, Size], column: str = "model") -> DataFrame:
    """`data` with the columns `parameters` and `flops` of the model that `column` names; as it is if none is known."""
    import pandas as pd

    if not known:
        return data
    told = [known.get(model, Size()) for model in data[column]]
    return data.assign(**{word: pd.array([getattr(s, word) for s in told], dtype="Int64") for word in Size._fields})
