"""Box plots with means, and their numbers: one box for each column of a table of inputs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats
from pandas import DataFrame, Series

from unshaken.evaluation.statistics import Interval, mean
from unshaken.report.drawing import INK, MUTED, row_ticks
from unshaken.report.wording import UNKNOWN

# whiskers to these percentiles: for quantities with a long tail, whose single inputs would hide the boxes
CENTRAL = (5, 95)
BOX_COLUMNS = ["n", "mean", "low", "high", "lower_quartile", "median", "upper_quartile"]


def draw_boxes(
    axis: Axes,
    columns: Mapping[Any, Series],
    colours: Sequence[Any],
    *,
    names: Sequence[str] | None = None,
    dashed: float | None = None,
    whiskers: float | tuple[float, float] = CENTRAL,
    across: bool = False,
) -> None:
    """A box for each column at 0, 1, ..., with its name; values that are not known are left out.

    `whiskers` is how many times the height of the box they reach, inputs beyond being faint circles, or a pair of
    percentiles, without circles. `across` lays the boxes on their sides; a dashed line is drawn at `dashed`.
    """
    for position, (column, colour) in enumerate(zip(columns.values(), colours, strict=True)):
        values = column.dropna().to_numpy()
        if len(values) == 0:
            continue
        beyond = {"marker": "o", "markersize": 2.5, "markeredgecolor": colour, "alpha": 0.35, "markeredgewidth": 0.6}
        styles: dict[str, Any] = {
            **{key: {"color": colour, "linewidth": 1.2} for key in ("boxprops", "whiskerprops", "capprops")},
            "medianprops": {"color": colour, "linewidth": 2.6},
            "meanprops": {"marker": "o", "markersize": 4.5, "markerfacecolor": INK, "markeredgecolor": "none"},
            "flierprops": beyond,
            "orientation": "horizontal" if across else "vertical",
        }
        circles, stats = not isinstance(whiskers, tuple), boxplot_stats(values, whis=whiskers)
        axis.bxp(stats, positions=[position], widths=0.55, showmeans=True, showfliers=circles, **styles)
    names = list(columns) if names is None else names
    if across:
        row_ticks(axis, names)
    else:
        axis.set_xticks(range(len(names)), names)
        axis.set_xlim(-0.6, len(names) - 0.4)
        axis.tick_params(axis="x", length=0, labelsize=9 if len(names) <= 6 else 7.5)
    if dashed is not None:
        (axis.axvline if across else axis.axhline)(dashed, color=MUTED, lw=0.8, ls=(0, (4, 3)))


def mean_interval(values: Series, *, level: float = 0.95) -> Interval:
    """Mean over inputs and repeats with both sources of variance; an input without a value in a repeat is left out."""
    # a repeat in which nothing was measured would otherwise leave out every input
    table = values.unstack("repeat").dropna(axis=1, how="all").dropna().to_numpy()
    if len(table) < 2 or table.shape[1] == 0:
        return UNKNOWN._replace(value=float(table.mean()) if table.size else math.nan)
    return mean(table, level=level)


def box_numbers(columns: Mapping[Any, Series]) -> DataFrame:
    """For each column: number of inputs with a value, mean with its 95 % interval, quartiles."""
    numbers = {
        name: [column.dropna().index.unique("index").size, *mean_interval(column), *column.quantile([0.25, 0.5, 0.75])]
        for name, column in columns.items()
    }
    return pd.DataFrame.from_dict(numbers, orient="index", columns=BOX_COLUMNS).astype({"n": int})
