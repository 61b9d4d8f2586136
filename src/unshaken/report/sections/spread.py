"""Prediction variance: how much the probability of the right class differs between single draws."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from pandas import DataFrame, Series

from unshaken.evaluation.statistics import Interval
from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import box_numbers, draw_boxes, mean_interval
from unshaken.report.condition_rows import values_by_input
from unshaken.report.drawing import facets, log_axis, named_styles, styled
from unshaken.report.groups import group_of, representatives
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import box_columns, column_table, interval_cells
from unshaken.report.sections.comparison import change_text
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import UNKNOWN, decimals_for, difference_text

WORDING = Wording("spread")
FLOOR = 1e-9  # smaller variances are drawn here on a log axis: a standard deviation of 0.00003 is none
DECADES = 100  # the axis is logarithmic where the middle halves of the models span this factor


def spread_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The prediction variance of every model; None where it was not measured."""
    rows = run.analyses.get("prediction_variance")
    if rows is None or len(rows) == 0:
        return None
    columns = variances(rows)
    drawing = WORDING.drawing(
        "prediction_variance",
        lambda narrow: spread_figure(columns, group_of(run.record, columns), narrow=narrow),
        rows.draws.max(),
        _logarithmic(columns),
    )
    sentence = _sentence({model: columns[model] for model in representatives(run.record, columns)}, rows)
    return Section("spread", WORDING.title(), [sentence], [drawing], [spread_table(rows)])


def variances(rows: DataFrame) -> dict[str, Series]:
    """The variance by input and repeat, for every model."""
    return {str(model): _by_input(group, "variance") for model, group in rows.groupby("model", sort=False)}


def spread_table(rows: DataFrame) -> Table:
    """Mean, quartiles and n of the variance; saturated draws; the difference to the first model, paired by input."""
    columns = variances(rows)
    base, *others = columns
    data = box_numbers(columns).rename_axis("model").reset_index()
    data.insert(1, "draws", rows.groupby("model", sort=False).draws.max().to_numpy())
    data[["saturated", "saturated_low", "saturated_high"]] = [_saturated(rows[rows.model == m]) for m in columns]
    changes = [mean_interval(columns[model] - columns[base]) for model in others]
    data[["more", "more_low", "more_high"]] = [UNKNOWN, *changes]
    decimals = decimals_for(data["mean"])
    cells = {
        "model": data.model,
        **box_columns(data, "mean variance", decimals=[decimals] * len(data)),
        "saturated draws": interval_cells(data, "saturated"),
    }
    if others:
        cells[f"more than {base}"] = interval_cells(data, "more", text=lambda change: difference_text(change, decimals))
    return column_table(
        "prediction_variance", data.rename(columns={"mean": "variance"}), cells, note=WORDING.note(others)
    )


@styled()
def spread_figure(columns: dict[str, Series], group: Mapping[str, str], *, narrow: bool = False) -> Figure:
    """One box for each model, lying on its side, in the colour of its group; a log axis where they span decades."""
    figure, (axis,) = facets(1, narrow=narrow, height=0.8 + 0.42 * max(len(columns), 2))
    logarithmic, styles = _logarithmic(columns), named_styles(list(dict.fromkeys(group.values())))
    drawn = {model: column.clip(lower=FLOOR) if logarithmic else column for model, column in columns.items()}
    draw_boxes(axis, drawn, [styles[group[model]]["color"] for model in drawn], across=True)
    if logarithmic:
        log_axis(axis, [column.quantile(q) for column in drawn.values() for q in (0.05, 0.95)], most=4 if narrow else 9)
    else:
        axis.set_xlim(left=0)
    axis.set_xlabel("prediction variance")
    return figure


def _by_input(rows: DataFrame, column: str) -> Series:
    """A column by input and repeat; where there are no repeats, the draws of a row are the only set."""
    return values_by_input(rows if "repeat" in rows else rows.assign(repeat=0), column)


def _saturated(rows: DataFrame) -> Interval:
    share = mean_interval(_by_input(rows.assign(share=rows.saturated / rows.draws), "share"))
    return Interval(share.value, max(share.low, 0.0), min(share.high, 1.0))


def _logarithmic(columns: dict[str, Series]) -> bool:
    """Whether a linear axis would press the smaller boxes into a line."""
    quartiles = [column.quantile([0.25, 0.75]).clip(lower=FLOOR) for column in columns.values()]
    return bool(max(q.iloc[1] for q in quartiles) > DECADES * min(q.iloc[0] for q in quartiles))


def _sentence(columns: dict[str, Series], rows: DataFrame) -> str:
    """The mean variance of every model beside that of the first, paired by input; saturated draws."""
    base, *others = columns
    decimals = decimals_for(column.mean() for column in columns.values())
    means = {model: f"{column.mean():.{decimals}f}" for model, column in columns.items()}
    changes = {m: change_text(columns[m], columns[base], comparisons=len(others), decimals=decimals) for m in others}
    saturated = {model: _saturated(rows[rows.model == model]).value for model in columns}
    return WORDING.sentence(means, changes, saturated, rows.draws.max())
