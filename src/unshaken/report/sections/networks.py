"""Networks that differ by their seed, pooled: each group as one model whose repeats are its networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from pandas import DataFrame, Series

from unshaken.evaluation.statistics import Interval, mean
from unshaken.report.accuracy import SERIES, Panel, accuracy_table
from unshaken.report.accuracy import panels as panels_of
from unshaken.report.drawing import sideways_offset
from unshaken.report.groups import groups
from unshaken.report.stored_run import StoredRun
from unshaken.runs.record import RunRecord

THIN = {"lw": 1.4, "ms": 4.5, "zorder": 2.0}  # lines that do not hide the marks of the networks


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
