"""Prediction variance: how much the probability of the right class differs between single draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unshaken.evaluation.statistics import Interval
from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import (
    BOX_CAPTION,
    BOX_COLUMNS,
    box_cells,
    box_decimals,
    box_numbers,
    draw_boxes,
    mean_interval,
)
from unshaken.report.drawing import empty_figure, log_axis, named_styles, styled
from unshaken.report.groups import group_of, representatives
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import decimals_for, difference_text, interval_text, listed, percent, significance_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

FLOOR = 1e-9
"""Smaller variances are drawn here on a log axis: a standard deviation of 0.00003 is none."""

DECADES = 100
"""The axis is logarithmic where the middle halves of the models span this factor."""


def spread_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The prediction variance of every model; None where it was not measured."""
    rows = source.analyses.get("prediction_variance")
    if rows is None or len(rows) == 0:
        return None
    columns, draws = variances(rows), f"{int(rows.draws.max()):,} draws"
    kept = representatives(source.about, columns)
    drawing = Drawing(
        "prediction_variance",
        lambda narrow: spread_figure(columns, group_of(source.about, columns), narrow=narrow),
        "Box plots of the prediction variance of every model; the numbers are in the table below",
        f"Variance of the probability of the right class over {draws}, for each input; 0.25 is the most there can be. "
        f"{BOX_CAPTION}" + " Variances below one billionth are drawn there." * _logarithmic(columns),
    )
    said = _sentence({model: columns[model] for model in kept}, rows, draws)
    return Section("spread", "How much predictions vary", [said], [drawing], [spread_table(rows)])


def variances(rows: DataFrame) -> dict[str, Series]:
    """The variance by input and repeat, for every model."""
    return {str(model): _by_input(part, part.variance) for model, part in rows.groupby("model", sort=False)}


def spread_table(rows: DataFrame) -> Table:
    """Mean, quartiles and n of the variance; saturated draws; the difference to the first model, paired by input."""

    columns = variances(rows)
    numbers, base = box_numbers(columns).rename_axis("model").reset_index(), next(iter(columns))
    saturated = [_saturated(rows[rows.model == model]) for model in columns]
    more = [Interval(*[float("nan")] * 3) if m == base else mean_interval(columns[m] - columns[base]) for m in columns]
    numbers["draws"] = [int(rows[rows.model == model].draws.max()) for model in columns]
    data = numbers[["model", "draws", *BOX_COLUMNS]].rename(columns={"mean": "variance"})
    data[["saturated", "saturated_low", "saturated_high"]] = saturated
    data[["more", "more_low", "more_high"]] = more
    decimals, several, body = box_decimals(numbers), len(columns) > 1, []
    for row, share, change in zip(numbers.itertuples(), saturated, more, strict=True):
        cells = [str(row.model), *box_cells(row, decimals), interval_text(share)]
        body.append(cells + ["" if change.value != change.value else difference_text(change, decimals)] * several)
    head = ["model", "mean variance", "median", "quartiles", "n", "saturated draws"] + [f"more than {base}"] * several
    note = "Means over inputs with 95 % intervals. Saturated: share of single draws whose softmax is rounded to one."
    note += " The last column is paired by input." * several
    return Table("prediction_variance", data, head, body, note=note)


@styled()
def spread_figure(columns: dict[str, Series], group: Mapping[str, str], *, narrow: bool = False) -> Figure:
    """One box for each model, lying on its side, in the colour of its group; a log axis where they span decades."""
    figure = empty_figure(3.7 if narrow else 7.6, 0.8 + 0.42 * max(len(columns), 2))
    axis = figure.subplots()
    logarithmic, styles = _logarithmic(columns), named_styles(list(dict.fromkeys(group.values())))
    drawn = {model: column.clip(lower=FLOOR) if logarithmic else column for model, column in columns.items()}
    draw_boxes(axis, drawn, [styles[group[model]]["color"] for model in drawn], across=True)
    if logarithmic:
        log_axis(axis, [column.quantile(q) for column in drawn.values() for q in (0.05, 0.95)], most=4 if narrow else 9)
    else:
        axis.set_xlim(left=0)
    axis.set_yticks(range(len(columns)), list(columns))
    axis.set_ylim(len(columns) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.grid(True, axis="x")
    axis.grid(False, axis="y")
    axis.set_xlabel("prediction variance")
    return figure


def _by_input(rows: DataFrame, values: Series) -> Series:
    """Values by input and repeat; where there are no repeats, the draws of a row are the only set."""
    told = rows.assign(repeat=rows.repeat if "repeat" in rows else 0, value=values.astype(float))
    found: Series = told.set_index(["index", "repeat"]).value
    return found


def _saturated(rows: DataFrame) -> Interval:
    found = mean_interval(_by_input(rows, rows.saturated / rows.draws))
    return Interval(found.value, max(found.low, 0.0), min(found.high, 1.0))


def _logarithmic(columns: dict[str, Series]) -> bool:
    """Whether a linear axis would press the smaller boxes into a line."""
    quartiles = [column.quantile([0.25, 0.75]).clip(lower=FLOOR) for column in columns.values()]
    return bool(max(q.iloc[1] for q in quartiles) > DECADES * min(q.iloc[0] for q in quartiles))


def _sentence(columns: dict[str, Series], rows: DataFrame, draws: str) -> str:
    """The mean variance of every model beside that of the first, paired by input; saturated draws."""
    base, *others = columns
    means = {model: column.mean() for model, column in columns.items()}
    decimals = decimals_for(means.values())
    shares = {model: percent(_saturated(rows[rows.model == model]).value) for model in columns}
    none = not rows[rows.model.isin(columns)].saturated.any()
    told = f"The probability of the right class has a mean variance of {means[base]:.{decimals}f} over {draws}"
    if not others:
        return f"{told}; {'no draw is' if none else f'{shares[base]} of the draws are'} saturated."
    compared = []
    for model in others:
        change = mean_interval(columns[model] - columns[base], level=1 - 0.05 / len(others))
        compared.append(f"{means[model]:.{decimals}f} on {model}: {significance_text(change, decimals)}")
    (_, first), *rest = shares.items()
    on = listed([f"{first} of the draws are saturated on {base}", *(f"{share} on {model}" for model, share in rest)])
    return f"{told} on {base} and {'; '.join(compared)}. {'No draw is saturated' if none else on}."
