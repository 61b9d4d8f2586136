"""Box plots: where boxes, means and whiskers stand, and the numbers beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from unshaken.evaluation.statistics import mean
from unshaken.report.box_plots import BOX_COLUMNS, box_numbers, draw_boxes, mean_interval
from unshaken.report.drawing import empty_figure
from unshaken.report.sections.columns import box_columns
from unshaken.report.wording import decimals_for


def column(table: np.ndarray) -> pd.Series:
    """Inputs x repeats as a column."""
    index = pd.MultiIndex.from_product([range(len(table)), range(table.shape[1])], names=["index", "repeat"])
    return pd.Series(table.ravel(), index)


def test_the_mean_knows_inputs_and_repeats():
    table = np.random.default_rng(0).normal(size=(30, 4)) + np.arange(4)
    assert mean_interval(column(table)) == pytest.approx(mean(table))
    assert mean_interval(column(table), level=0.5).low > mean_interval(column(table)).low


def test_an_input_without_a_value_in_a_repeat_is_left_out_and_so_is_a_repeat_without_any():
    table = np.random.default_rng(0).normal(size=(30, 3))
    broken = table.copy()
    broken[4, 1] = float("nan")
    assert mean_interval(column(broken)) == pytest.approx(mean(np.delete(table, 4, 0)))
    broken[:, 2] = float("nan")
    assert mean_interval(column(broken)) == pytest.approx(mean(np.delete(table[:, :2], 4, 0)))
    assert np.isnan(mean_interval(column(np.full((5, 2), float("nan"))))).all()


def test_numbers_are_the_plain_ones_also_of_a_column_without_values():
    table = np.random.default_rng(0).normal(size=(50, 1))
    numbers = box_numbers({"a": column(table), "none": column(np.full((50, 1), float("nan")))})
    assert list(numbers) == BOX_COLUMNS
    interval = stats.t.interval(0.95, 49, table.mean(), stats.sem(table[:, 0]))
    quartiles = np.quantile(table, [0.25, 0.5, 0.75])
    assert numbers.loc["a"].tolist() == pytest.approx([50, table.mean(), *interval, *quartiles])
    assert numbers.n["none"] == 0
    finite, unknown = zip(*box_columns(numbers).values(), strict=True)
    assert finite[1:4:2] == (f"{np.median(table):.3f}", "50")
    assert unknown == ("", "", "", "0")


def test_small_numbers_have_two_digits_that_count():
    small = box_numbers({"a": column(np.array([[0.0001], [0.0003]])), "zero": column(np.zeros((2, 1)))})
    assert decimals_for(small["mean"]) == 5
    cells = box_columns(small, decimals=[5, 5])
    assert (cells["median"][0], cells["quartiles"][0]) == ("0.00020", "0.00015 – 0.00025")
    assert decimals_for(box_numbers({"zero": column(np.zeros((2, 1)))})["mean"]) == 3


@pytest.mark.parametrize("across", [True, False])
def test_whiskers_reach_percentiles_or_circles_lie_beyond(across):
    values = column(np.r_[np.arange(101.0), 1000][:, None])
    axis = empty_figure(4, 3).subplots()
    draw_boxes(axis, {"a": values, "none": values * float("nan")}, ["#000000"] * 2, across=across)
    lines = [(line.get_ydata(), line.get_xdata())[across] for line in axis.get_lines()]
    reached = sorted({round(float(value), 6) for line in lines for value in line})
    assert reached == pytest.approx([6, 25.25, 50.5, values.mean(), 75.75, 95])
    axis = empty_figure(4, 3).subplots()
    draw_boxes(axis, {"a": values}, ["#000000"], whiskers=1.5, across=across)
    assert 1000 in {float(v) for line in axis.get_lines() for v in (line.get_ydata(), line.get_xdata())[across]}
