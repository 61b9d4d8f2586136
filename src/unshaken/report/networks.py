"""Networks of a group taken together, under attacks of their own and of others."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from unshaken.evaluation.checks import attack_name
from unshaken.evaluation.statistics import accuracy
from unshaken.report.tables import SERIES, Panel, Point

if TYPE_CHECKING:
    from pandas import DataFrame, Series

SETTING = [column for column in SERIES if column != "model"]
"""The columns that name one attack on any model."""


def together(rows: DataFrame) -> DataFrame:
    """(repeat, index, correct): where there are several networks each is a repeat, and all else is averaged."""
    by = "model" if rows.model.nunique() > 1 else "repeat"
    found: DataFrame = rows.groupby([by, "index"], sort=False).correct.mean().reset_index()
    return found.rename(columns={by: "repeat"})


def point(rows: DataFrame) -> Point:
    """Accuracy of rows from `together`, its interval, and its standard deviation over networks or repeats."""
    single = rows.groupby("repeat").correct.mean()
    return Point(*accuracy(rows), float(single.std(ddof=1)) if len(single) > 1 else float("nan"))


def labels(panels: Sequence[Panel]) -> dict[tuple[Hashable, ...], str]:
    """What the panels call each attack, by its SETTING."""
    found: dict[tuple[Hashable, ...], str] = {}
    for panel in panels:
        for label, curve in panel.curves.items():
            found.setdefault(tuple(curve.iloc[0][column] for column in SETTING), label)
    return found


def label_of(row: Series, known: dict[tuple[Hashable, ...], str]) -> str:
    """The label of a row's attack; its plain name where no model was attacked with it itself."""
    key = tuple(row[column] for column in SETTING)
    return known.get(key) or attack_name(row.attack, row.attack_draws)
