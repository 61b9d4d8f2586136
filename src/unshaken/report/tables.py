"""The files in tables/: accuracy, also in every repeat, costs of units, tables of the sections; sizes of models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.report.accuracy import SERIES, Panel, grid, panels
from unshaken.report.groups import groups
from unshaken.report.section import Section, Table, latex, markdown, write_table
from unshaken.report.stored_run import StoredRun, write
from unshaken.report.wording import eps_text, significant_digits
from unshaken.runs.record import RunRecord, UnitRecord

if TYPE_CHECKING:
    from pandas import DataFrame

COSTS = ["seconds", "forwards", "gradients"]


class ModelSize(NamedTuple):
    """How many numbers a model holds, and the operations of its prediction of one image; None where unknown."""

    parameters: int | None = None
    flops: int | None = None

    def __str__(self) -> str:
        """ "350 k parameters, 52.0 MFLOP for the prediction of one image"."""
        texts = [] if self.parameters is None else [f"{si_number(self.parameters)} parameters"]
        texts += [] if self.flops is None else [f"{si_number(self.flops, 'FLOP')} for the prediction of one image"]
        return ", ".join(texts)


def cost_table(units: Sequence[UnitRecord]) -> DataFrame:
    """Wall seconds, forward passes and gradients of every unit, and their ratio to MEAN's mean on the same model."""
    import pandas as pd

    names = ["name", "kind", "label", "model", "status", *COSTS, "attack_seconds"]
    table = pd.DataFrame([[getattr(unit, name) for name in names] for unit in units], columns=names)
    table["label"] = [unit_label(unit) for unit in units]
    table[names[5:]] = table[names[5:]].apply(pd.to_numeric)
    done = table[(table.kind == "attack") & (table.status == "done") & (table.label != "clean")]
    compared = done.assign(seconds=done.attack_seconds.fillna(done.seconds))  # the attacks, not the predictions
    mean = compared[compared.label == "MEAN"].groupby("model")[COSTS].mean()
    for column in COSTS:
        base = compared.model.map(mean[column]).astype(float)
        table[f"{column}_to_mean"] = compared[column] / base.where(base > 0)
    return table.rename(columns={"name": "unit"})


def unit_label(unit: UnitRecord) -> str:
    """FGSM-10 for the unit "mean_field FGSM-10 r0": its label without the model and the number of the repeat."""
    return re.sub(r" r\d+$", "", unit.label).removeprefix(f"{unit.model} ")


def cost_summary(cost: DataFrame) -> DataFrame:
    """`cost_table` by part of the run: the repeats of an attack together, `count` units of which `done` are done."""
    grouped = cost.groupby(["kind", "label", "model"], sort=False)
    ratios = [f"{column}_to_mean" for column in COSTS]
    sums, means = grouped[COSTS].sum(min_count=1), grouped[ratios].mean()
    counts = grouped.status.agg(count="size", done=lambda status: int((status == "done").sum()))
    return counts.join(sums).join(means).reset_index()


def write_tables(source: StoredRun, table: DataFrame, sections: Sequence[Section] = ()) -> None:
    """tables/accuracy.csv, .md, .tex, repeats.csv, cost.csv, .md, and the tables of the sections."""
    folder, sizes = source.folder / "tables", model_sizes(source.record)
    cost = cost_table(source.record.units)
    by_repeat = source.rows[source.rows.role == "sweep"].groupby([*SERIES, "eps", "repeat"], sort=False, as_index=False)
    repeats = by_repeat.agg(n=("correct", "size"), accuracy=("correct", "mean"))
    frames = {"accuracy": table.drop(columns="spread"), "repeats": repeats, "cost": cost}
    for name, frame in frames.items():
        write(folder / f"{name}.csv", add_size_columns(frame, sizes).to_csv(index=False))
    texts = [_panel_texts(panel, str(sizes.get(panel.model, ModelSize()))) for panel in panels(table)]
    write(folder / "accuracy.md", "\n".join(text for text, _ in texts))
    write(folder / "accuracy.tex", "\n".join(text for _, text in texts))
    summary = cost_summary(cost)
    write(folder / "cost.md", markdown(list(summary), [[_plain(cell) for cell in row] for row in summary.to_numpy()]))
    for section in sections:
        for section_table in section.tables:
            write_table(folder, section_table)


def _panel_texts(panel: Panel, size: str) -> tuple[str, str]:
    """Markdown and LaTeX of the accuracies of a panel."""
    lines = grid(panel)
    body = [[label, *(point.in_full() if point else "" for point in lines[label].values())] for label in lines]
    sizes = list(eps_text(next(iter(lines.values()))).values())
    above = [f"**{panel.title}**"] * bool(panel.title) + [size] * bool(size)
    title = ": ".join(text for text in (panel.title, size) if text)
    text = markdown(["attack", *(f"eps {eps}" for eps in sizes)], body)
    return "\n\n".join([*above, text]), latex(["attack", *(f"ε = {eps}" for eps in sizes)], body, title=title)


def _plain(value: Any) -> str:
    """A cell of a text table: three significant digits, nothing for a missing number."""
    if value is None or value != value:
        return ""
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


def model_sizes(record: RunRecord) -> dict[str, ModelSize]:
    """The size of each model, by label, and the mean one of each group; empty for a run that did not count them."""
    sizes = {model: ModelSize(size.parameters, size.flops) for model, size in record.sizes.items()}
    for group, members in groups(record).items():
        if counted := [sizes[label] for label in members.values() if label in sizes]:
            columns = ([number for number in column if number is not None] for column in zip(*counted, strict=True))
            sizes[group] = ModelSize(*(round(sum(known) / len(known)) if known else None for known in columns))
    return sizes


def si_number(number: float, unit: str = "") -> str:
    """ "350 k", "1.40 M"; with a unit "1.40 MFLOP"."""
    number, power = float(f"{number:.3g}"), 0
    while number >= 1000 and power < 4:
        number, power = number / 1000, power + 1
    text = significant_digits(number) if power else f"{number:g}"
    return f"{text} {'kMGT'[power - 1] if power else ''}{unit}".rstrip()


def add_sizes(table: Table, sizes: dict[str, ModelSize]) -> Table:
    """A table with the size of every model that it names; as it is if no size is known.

    Its .csv gets the columns `parameters` and `flops`. If the models differ in size, its text gets two of their names
    behind the column of models, whose cells are a model, or a model and what sets it apart; a table of one model says
    its size in the note.
    """
    table = table._replace(data=add_size_columns(table.data, sizes))
    if len(set(sizes.values())) < 2 or "parameters" not in table.data:
        return table
    after = next((index for index, head in enumerate(table.head, 1) if head in ("model", "networks of")), None)
    if after is not None:
        body = [[*line[:after], *_cells(sizes, line[after - 1]), *line[after:]] for line in table.body]
        return table._replace(head=[*table.head[:after], "parameters", "FLOP", *table.head[after:]], body=body)
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
    """The column of a .csv that names a model: the one whose predictions are meant if several do."""
    return next((column for column in ("target", "model", "group") if column in data), None)
