"""The files in tables/: accuracy, accuracy in every repeat, what each unit cost, and the tables of the sections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unshaken.report.accuracy import Panel, grid, grid_eps, panels, repeats_table
from unshaken.report.model_sizes import ModelSize, add_size_columns, model_sizes
from unshaken.report.section import Section, latex, markdown, write_table
from unshaken.report.stored_run import StoredRun, write
from unshaken.report.wording import eps_text
from unshaken.runs.record import UnitRecord

if TYPE_CHECKING:
    from pandas import DataFrame


COSTS = ["seconds", "forwards", "gradients"]


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
    frames = {"accuracy": table.drop(columns="spread"), "repeats": repeats_table(source.rows), "cost": cost}
    for name, frame in frames.items():
        write(folder / f"{name}.csv", add_size_columns(frame, sizes).to_csv(index=False))
    panel_sizes = [(panel, str(sizes.get(panel.model, ModelSize()))) for panel in panels(table)]
    write(folder / "accuracy.md", "\n".join(_markdown_panel(panel, size) for panel, size in panel_sizes))
    write(folder / "accuracy.tex", "\n".join(_latex_panel(panel, size) for panel, size in panel_sizes))
    summary = cost_summary(cost)
    write(folder / "cost.md", markdown(list(summary), [[_plain(cell) for cell in row] for row in summary.to_numpy()]))
    for section in sections:
        for section_table in section.tables:
            write_table(folder, section_table)


def _text_panel(panel: Panel) -> list[list[str]]:
    return [[label, *("" if cell is None else cell.in_full() for cell in cells)] for label, cells in grid(panel)]


def _markdown_panel(panel: Panel, size: str) -> str:
    head = ["attack", *(f"eps {text}" for text in eps_text(grid_eps(panel)).values())]
    above = [f"**{panel.title}**"] * bool(panel.title) + [size] * bool(size)
    return "\n\n".join([*above, markdown(head, _text_panel(panel))])


def _latex_panel(panel: Panel, size: str) -> str:
    head = ["attack", *(f"ε = {text}" for text in eps_text(grid_eps(panel)).values())]
    return latex(head, _text_panel(panel), title=": ".join(text for text in (panel.title, size) if text))


def _plain(value: Any) -> str:
    """A cell of a text table: three significant digits, nothing for a missing number."""
    if value is None or value != value:
        return ""
    return f"{value:,.3g}" if isinstance(value, float) else str(value)
