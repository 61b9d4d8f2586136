"""Tables of sections, column by column: cells with intervals, numbers of box plots, and columns that may be absent."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from pandas import DataFrame

from unshaken.evaluation.statistics import Interval
from unshaken.report.box_plots import box_numbers
from unshaken.report.section import Table
from unshaken.report.wording import if_known, interval_text


def column_table(
    name: str,
    data: DataFrame,
    columns: Sequence[tuple[str, Iterable[Any] | None]] | Mapping[str, Iterable[Any] | None],
    *,
    title: str = "",
    note: str = "",
) -> Table:
    """A table whose text has these columns, by their heads; a column that is None is left out."""
    heads = columns.items() if isinstance(columns, Mapping) else columns
    present = [(head, map(str, column)) for head, column in heads if column is not None]
    body = [list(cells) for cells in zip(*(column for _, column in present), strict=True)]
    return Table(name, data, [head for head, _ in present], body, title, note)


def interval_columns(name: str, interval: Interval) -> dict[str, float]:
    """A number and the ends of its interval as columns `name`, `name`_low and `name`_high of a .csv."""
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def interval_cells(
    data: DataFrame, value: str, low: str = "", high: str = "", *, text: Callable[[Interval], str] = interval_text
) -> list[str]:
    """Such columns as cells, "" where the number is NaN; `low` and `high` where their columns are called otherwise."""
    names = [value, low or f"{value}_low", high or f"{value}_high"]
    intervals = [Interval(*row) for row in data[names].itertuples(index=False, name=None)]
    return [text(interval) if interval.value == interval.value else "" for interval in intervals]


def box_data(distributions: Sequence[Any], key: str, *attributes: str) -> DataFrame:
    """`box_numbers` of the `columns` of every distribution: their names in the column `key`, its attributes beside."""
    tables = [
        box_numbers(boxes.columns).rename_axis(key).reset_index().assign(**{a: getattr(boxes, a) for a in attributes})
        for boxes in distributions
    ]
    return pd.concat(tables, ignore_index=True)


def box_columns(data: DataFrame, mean: str = "mean", *, decimals: Iterable[int] | None = None) -> dict[str, list[str]]:
    """Rows of `box_numbers` as columns of text, by their heads, each row with its decimals, or with three."""
    rows = list(zip(data.itertuples(), [3] * len(data) if decimals is None else decimals, strict=True))
    quartiles = [f"{row.lower_quartile:.{digits}f} – {row.upper_quartile:.{digits}f}" for row, digits in rows]
    return {
        mean: [interval_text(Interval(row.mean, row.low, row.high), digits) for row, digits in rows],
        "median": [if_known(row.median, f"{{:.{digits}f}}".format) for row, digits in rows],
        "quartiles": [text if median == median else "" for text, median in zip(quartiles, data["median"], strict=True)],
        "n": [f"{n:,}" for n in data.n],
    }
