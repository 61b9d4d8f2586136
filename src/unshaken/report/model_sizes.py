"""Parameters of every model and operations of its predictions, as run.json has them, for tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.report.groups import groups
from unshaken.report.wording import significant_digits

if TYPE_CHECKING:
    from pandas import DataFrame

    from unshaken.report.section import Table

HEAD = ["parameters", "FLOP"]
"""The columns of parameters and operations in the text of a table."""

MODELS = ("model", "networks of")
"""The heads of columns that name a model."""

COLUMNS = ("target", "model", "group")
"""The columns of a .csv that name a model, the one whose predictions it tells first."""


class ModelSize(NamedTuple):
    """How many numbers a model holds, and the operations of its prediction of one image; None where unknown."""

    parameters: int | None = None
    flops: int | None = None

    def __str__(self) -> str:
        """ "350 k parameters, 52.0 MFLOP for the prediction of one image"."""
        told = [] if self.parameters is None else [f"{si_number(self.parameters)} parameters"]
        told += [] if self.flops is None else [f"{si_number(self.flops, 'FLOP')} for the prediction of one image"]
        return ", ".join(told)


def model_sizes(about: dict[str, Any]) -> dict[str, ModelSize]:
    """The size of each model, by label, and the mean one of each group; empty for a run that did not count them."""
    found = {
        model: ModelSize(told.get("parameters"), told.get("flops")) for model, told in about.get("sizes", {}).items()
    }
    for group, members in groups(about).items():
        if known := [found[label] for label in members.values() if label in found]:
            found[group] = ModelSize(*(_mean(numbers) for numbers in zip(*known, strict=True)))
    return found


def _mean(numbers: tuple[int | None, ...]) -> int | None:
    known = [number for number in numbers if number is not None]
    return round(sum(known) / len(known)) if known else None


def si_number(number: float, unit: str = "") -> str:
    """ "350 k", "1.40 M"; with a unit "1.40 MFLOP"."""
    number, power = float(f"{number:.3g}"), 0
    while number >= 1000 and power < 4:
        number, power = number / 1000, power + 1
    text = significant_digits(number) if power else f"{number:g}"
    return f"{text} {'kMGT'[power - 1] if power else ''}{unit}".rstrip()


def add_sizes(table: Table, known: dict[str, ModelSize]) -> Table:
    """A table with the size of every model that it names; as it is if no size is known.

    Its .csv gets the columns `parameters` and `flops`. If the models differ in size, its text gets those of HEAD
    behind the column of models, whose cells are a model, or a model and what sets it apart; a table of one model says
    its size in the note.
    """
    data = add_size_columns(table.data, known)
    if len(set(known.values())) < 2 or "parameters" not in data:
        return table._replace(data=data)
    place = next((place for place, word in enumerate(table.head) if word in MODELS), None)
    if place is None:
        column = _column(data)
        told = [f"{model}: {known[model]}." for model in data[column].unique() if model in known]
        return table._replace(data=data, note=" ".join([table.note, *told]).strip() if len(told) == 1 else table.note)
    body = [[*line[: place + 1], *_cells(known, line[place]), *line[place + 1 :]] for line in table.body]
    return table._replace(data=data, head=[*table.head[: place + 1], *HEAD, *table.head[place + 1 :]], body=body)


def _cells(known: dict[str, ModelSize], cell: str) -> list[str]:
    named = [model for model in known if cell == model or cell.startswith(f"{model}, ")]
    size = known[max(named, key=len)] if named else ModelSize()
    return ["" if number is None else si_number(number) for number in size]


def add_size_columns(data: DataFrame, known: dict[str, ModelSize]) -> DataFrame:
    """`data` with the columns `parameters` and `flops`; as it is if it names no model, or none of known size."""
    import pandas as pd

    column = _column(data)
    if not known or column is None:
        return data
    told = [known.get(model, ModelSize()) for model in data[column]]
    return data.assign(
        **{word: pd.array([getattr(s, word) for s in told], dtype="Int64") for word in ModelSize._fields}
    )


def _column(data: DataFrame) -> str | None:
    return next((column for column in COLUMNS if column in data), None)
