"""Parameters of every model and operations of its predictions, as run.json has them, for tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unshaken.report.groups import groups
from unshaken.report.wording import significant_digits
from unshaken.runs.record import RunRecord

if TYPE_CHECKING:
    from pandas import DataFrame

    from unshaken.report.section import Table

HEAD = ["parameters", "FLOP"]
"""The columns of parameters and operations in the text of a table."""

MODEL_HEADS = ("model", "networks of")
"""The heads of columns that name a model."""

MODEL_COLUMNS = ("target", "model", "group")
"""The columns of a .csv that name a model; a column in front names the model whose predictions are meant."""


class ModelSize(NamedTuple):
    """How many numbers a model holds, and the operations of its prediction of one image; None where unknown."""

    parameters: int | None = None
    flops: int | None = None

    def __str__(self) -> str:
        """ "350 k parameters, 52.0 MFLOP for the prediction of one image"."""
        texts = [] if self.parameters is None else [f"{si_number(self.parameters)} parameters"]
        texts += [] if self.flops is None else [f"{si_number(self.flops, 'FLOP')} for the prediction of one image"]
        return ", ".join(texts)


def model_sizes(record: RunRecord) -> dict[str, ModelSize]:
    """The size of each model, by label, and the mean one of each group; empty for a run that did not count them."""
    sizes = {model: ModelSize(size.parameters, size.flops) for model, size in record.sizes.items()}
    for group, members in groups(record).items():
        if counted := [sizes[label] for label in members.values() if label in sizes]:
            sizes[group] = ModelSize(*map(_mean, zip(*counted, strict=True)))
    return sizes


def _mean(numbers: tuple[int | None, ...]) -> int | None:
    counted = [number for number in numbers if number is not None]
    return round(sum(counted) / len(counted)) if counted else None


def si_number(number: float, unit: str = "") -> str:
    """ "350 k", "1.40 M"; with a unit "1.40 MFLOP"."""
    number, power = float(f"{number:.3g}"), 0
    while number >= 1000 and power < 4:
        number, power = number / 1000, power + 1
    text = significant_digits(number) if power else f"{number:g}"
    return f"{text} {'kMGT'[power - 1] if power else ''}{unit}".rstrip()


def add_sizes(table: Table, sizes: dict[str, ModelSize]) -> Table:
    """A table with the size of every model that it names; as it is if no size is known.

    Its .csv gets the columns `parameters` and `flops`. If the models differ in size, its text gets those of HEAD
    behind the column of models, whose cells are a model, or a model and what sets it apart; a table of one model says
    its size in the note.
    """
    table = table._replace(data=add_size_columns(table.data, sizes))
    if len(set(sizes.values())) < 2 or "parameters" not in table.data:
        return table
    after = next((index for index, head in enumerate(table.head, 1) if head in MODEL_HEADS), None)
    if after is not None:
        body = [[*line[:after], *_cells(sizes, line[after - 1]), *line[after:]] for line in table.body]
        return table._replace(head=[*table.head[:after], *HEAD, *table.head[after:]], body=body)
    models = [model for model in table.data[_model_column(table.data)].unique() if model in sizes]
    if len(models) != 1:
        return table
    return table._replace(note=f"{table.note} {models[0]}: {sizes[models[0]]}.".strip())


def _cells(sizes: dict[str, ModelSize], cell: str) -> list[str]:
    models = [model for model in sizes if cell == model or cell.startswith(f"{model}, ")]
    size = sizes[max(models, key=len)] if models else ModelSize()
    return ["" if number is None else si_number(number) for number in size]


def add_size_columns(data: DataFrame, sizes: dict[str, ModelSize]) -> DataFrame:
    """`data` with the columns `parameters` and `flops`; as it is if it names no model, or none of known size."""
    import pandas as pd

    column = _model_column(data)
    if not sizes or column is None:
        return data
    size = pd.DataFrame([sizes.get(model, ModelSize()) for model in data[column]], data.index, ModelSize._fields)
    return data.assign(**size.astype("Int64"))


def _model_column(data: DataFrame) -> str | None:
    return next((column for column in MODEL_COLUMNS if column in data), None)
