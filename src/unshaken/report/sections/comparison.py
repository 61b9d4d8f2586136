"""What is measured on several models: groups as one, published numbers, and differences at a shared level."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pandas import DataFrame, Series

from unshaken.evaluation.statistics import Interval
from unshaken.report.box_plots import mean_interval
from unshaken.report.groups import group_of, groups, representatives
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import decimals_for, significance_text
from unshaken.runs.record import RunRecord


def shared_level(comparisons: int) -> float:
    """The level of each of so many intervals that together are 95 % ones (Bonferroni)."""
    return 1 - 0.05 / max(comparisons, 1)


def change_text(values: Series, base: Series, *, comparisons: int = 1, decimals: int | None = 3) -> str:
    """How far values are above others, paired by input and repeat, as one of so many comparisons.

    `decimals` None: as many as the difference needs.
    """
    change = mean_interval(values - base, level=shared_level(comparisons))
    return significance_text(change, decimals_for([change.value]) if decimals is None else decimals)


def analysis_setting(record: RunRecord, label: str, name: str) -> Any:
    """A setting of the analysis with this label; None where the recipe does not say."""
    return next((config.settings.get(name) for config in record.recipe.analyses if config.label == label), None)


def group_rows(source: StoredRun, analysis: str, by: list[str]) -> list[tuple[Any, ...]]:
    """(values of `by`, name, rows) of every group or model in an analysis, with the seed as `repeat` of the rows."""
    rows = source.analyses.get(analysis)
    if rows is None:
        return []
    seeds = {label: seed for members in groups(source.record).values() for seed, label in members.items()}
    group = rows.model.map(group_of(source.record, rows.model.unique()))
    rows = rows.assign(group=group, repeat=[seeds.get(model, 0) for model in rows.model])
    by_values = rows.groupby(by, sort=False)
    return [(*values, *named) for values, some in by_values for named in some.groupby("group", sort=False)]


def of_representatives(record: RunRecord, measurements: Sequence[Any]) -> list[Any]:
    """What was measured on the first network of each group, and on each model that is in no group."""
    labels = representatives(record, [measurement.model for measurement in measurements])
    return [measurement for measurement in measurements if measurement.model in labels]


def published_accuracy(
    record: RunRecord, attack: str, eps: float, model: str, norm: str, *, unnamed: bool = True
) -> float | None:
    """The published accuracy of a model under an attack; an entry without a norm is of all, as is one without a model
    if `unnamed`."""
    for entry in record.paper.accuracy:
        same = entry.attack == attack and math.isclose(entry.eps, eps, rel_tol=1e-4, abs_tol=1e-9)
        same_model = entry.model == model or (unnamed and entry.model is None)
        if same and same_model and entry.norm in (None, norm):
            return entry.value
    return None


def eps_curve(points: Mapping[float, Interval]) -> DataFrame:
    """Numbers with their intervals by eps, as `draw_lines` takes them."""
    return pd.DataFrame([(eps, *point) for eps, point in points.items()], columns=["eps", "accuracy", "low", "high"])
