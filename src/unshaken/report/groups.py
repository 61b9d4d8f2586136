"""Groups of a recipe: networks of one setting trained from different seeds, pooled as the repeats of one model."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from unshaken.evaluation.checks import attack_name
from unshaken.evaluation.statistics import Interval, accuracy, mean
from unshaken.report.accuracy import SERIES, Panel, Point, accuracy_table
from unshaken.report.accuracy import panels as panels_of
from unshaken.report.drawing import sideways_offset
from unshaken.report.stored_run import StoredRun
from unshaken.runs.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame, Series

THIN = {"lw": 1.4, "ms": 4.5, "zorder": 2.0}  # lines that do not hide the marks of the networks

ATTACK_COLUMNS = [column for column in SERIES if column != "model"]  # the columns that name one attack on any model


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


def grouped_labels(record: RunRecord) -> set[str]:
    """The labels of all models that are in a group."""
    return {label for members in groups(record).values() for label in members.values()}


def pool_networks(run: StoredRun) -> DataFrame:
    """Sweep rows of the networks of each group, under its name: a network is a repeat, its repeats are averaged."""
    rows = run.rows[run.rows.role == "sweep"]
    pooled = [
        rows[rows.model == label].assign(model=group, repeat=seed)
        for group, members in groups(run.record).items()
        for seed, label in members.items()
    ]
    if not pooled:
        return rows.head(0)
    keys = [*SERIES, "eps", "role", "repeat", "index"]
    return pd.concat(pooled, ignore_index=True).groupby(keys, sort=False, as_index=False).correct.mean()


def pooled_panels(run: StoredRun, panels: Sequence[Panel]) -> tuple[DataFrame, list[Panel]]:
    """(rows of the groups, panels of the groups and then of the models that are in none)."""
    pooled, members = pool_networks(run), grouped_labels(run.record)
    return pooled, [*panels_of(accuracy_table(pooled)), *(panel for panel in panels if panel.model not in members)]


def network_accuracy(rows: DataFrame) -> Series:
    """Accuracy of every network, by seed, of the rows of one attack at one eps."""
    accuracy: Series = rows.groupby("repeat").correct.mean()
    return accuracy


def seed_difference(networks: Series, base: Series, *, level: float) -> tuple[Interval | None, int]:
    """(mean difference of `networks` to `base` over the seeds that both have, how many these are).

    None where fewer than two seeds are common.
    """
    seeds = networks.index.intersection(base.index)
    if len(seeds) < 2:
        return None, len(seeds)
    return mean(np.array([networks[seeds] - base[seeds]]), level=level), len(seeds)


def draw_network_lines(
    axis: Axes, lines: Mapping[str, Mapping[Any, Series]], styles: Mapping[str, Any]
) -> dict[str, Any]:
    """Lines of means over networks against x, and a thin mark for each network; label -> line."""
    handles = {}
    for index, (label, networks) in enumerate(lines.items()):
        means = [accuracy.mean() for accuracy in networks.values()]
        (handles[label],) = axis.plot(list(networks), means, **styles[label] | THIN)
        draw_networks(axis, networks, styles[label]["color"], index, len(lines))
    return handles


def draw_networks(axis: Axes, networks: Mapping[Any, Series], colour: Any, index: int, count: int) -> None:
    """A thin mark for every network at each x: those of line number `index` of `count`, set side by side."""
    xs, values = zip(*((x, value) for x, accuracy in networks.items() for value in accuracy), strict=True)
    style: dict[str, Any] = {"ls": "", "marker": "_", "ms": 6, "mew": 0.9, "color": colour, "zorder": 2.2}
    axis.plot(xs, values, transform=sideways_offset(axis, index, count), **style)
