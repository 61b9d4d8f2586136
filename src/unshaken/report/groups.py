"""Groups of a recipe, networks of one setting trained from different seeds, and their accuracy taken together."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

from unshaken.evaluation.checks import attack_name
from unshaken.evaluation.statistics import accuracy
from unshaken.report.accuracy import SERIES, Panel, Point
from unshaken.runs.record import RunRecord

if TYPE_CHECKING:
    from pandas import DataFrame, Series


ATTACK_COLUMNS = [column for column in SERIES if column != "model"]
"""The columns that name one attack on any model."""


def groups(record: RunRecord) -> dict[str, dict[int, str]]:
    """{group: {seed: label of the model}} for every group of two networks or more."""
    members: dict[str, dict[int, str]] = {}
    for model in record.recipe.models:
        if model.group is not None:
            members.setdefault(model.group, {})[model.seed] = model.label
    return {group: labels for group, labels in members.items() if len(labels) > 1}


def group_of(record: RunRecord, models: Iterable[str]) -> dict[str, str]:
    """The group of each of these models, by label; a model that is in no group is its own."""
    group = {label: group for group, members in groups(record).items() for label in members.values()}
    return {model: group.get(model, model) for model in models}


def representatives(record: RunRecord, models: Iterable[str]) -> list[str]:
    """Of every group the first of these models, and each model that is in no group."""
    first: dict[str, str] = {}
    for model, group in group_of(record, models).items():
        first.setdefault(group, model)
    return list(first.values())


def correct_by_network(rows: DataFrame) -> DataFrame:
    """(repeat, index, correct): where there are several networks each is a repeat, and all else is averaged."""
    by = "model" if rows.model.nunique() > 1 else "repeat"
    correct: DataFrame = rows.groupby([by, "index"], sort=False).correct.mean().reset_index()
    return correct.rename(columns={by: "repeat"})


def network_point(rows: DataFrame) -> Point:
    """Accuracy of rows of `correct_by_network`, and its standard deviation over networks or repeats."""
    single = rows.groupby("repeat").correct.mean()
    return Point(*accuracy(rows), float(single.std(ddof=1)))


def attack_labels(panels: Sequence[Panel]) -> dict[tuple[Hashable, ...], str]:
    """What the panels call each attack, by its ATTACK_COLUMNS."""
    curves = [(curve.iloc[0], label) for panel in reversed(panels) for label, curve in panel.curves.items()]
    return {tuple(row[ATTACK_COLUMNS]): label for row, label in curves}  # the first panel has the last word


def attack_label(row: Series, labels: dict[tuple[Hashable, ...], str]) -> str:
    """The label of a row's attack; its plain name where no model was attacked with it itself."""
    return labels.get(tuple(row[ATTACK_COLUMNS])) or attack_name(row.attack, row.attack_draws)
