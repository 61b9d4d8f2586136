"""Sections: their tables as text, and the dict that finds them; words and numbers."""

from __future__ import annotations

import pandas as pd
import pytest
from synthetic import source

from unshaken.evaluation.statistics import Interval
from unshaken.report.section import Table, latex, markdown, split_number, textual, write_table
from unshaken.report.sections import SECTIONS, sections
from unshaken.report.wording import (
    decimals_for,
    draws_text,
    increase_text,
    interval_text,
    listed,
    number_word,
    percent,
    significance_text,
    significant_digits,
    times_text,
)


def test_a_table_is_written_in_three_forms(tmp_path):
    table = Table("told", pd.DataFrame({"a": [1.5]}), ["a_b", "ε ÷ 2"], [["x|y", "0.5 ± 0.1 [-0.2, 0.8]"], ["z", ""]])
    write_table(tmp_path, table)
    assert (tmp_path / "told.csv").read_text() == "a\n1.5\n"
    assert (tmp_path / "told.md").read_text() == markdown(table.head, table.body)
    assert "| x\\|y | 0.5 ± 0.1 [-0.2, 0.8] |" in (tmp_path / "told.md").read_text()
    text = (tmp_path / "told.tex").read_text()
    assert "\\begin{tabular}{lr}" in text
    assert "a\\_b & $\\varepsilon$ $\\div$ 2 \\\\" in text
    assert "0.5 {\\footnotesize $\\pm$ 0.1 [$-$0.2, 0.8]} \\\\" in text
    assert latex(["a"], [], title="dense").startswith("% dense\n")


def test_columns_of_text_stand_to_the_left():
    body = [["a", "FGSM-1", "0.5 [0.4, 0.6]", "MEAN", ""], ["b", "", "-1", "10 draws", ""]]
    head = ["model", "attacks", "accuracy", "draws", "share"]
    assert textual(head, body) == [True, True, False, False, False]
    assert markdown(head, body).splitlines()[1] == "| --- | --- | ---: | ---: | ---: |"
    assert "{llrrr}" in latex(head, body)


@pytest.mark.parametrize(
    ("cell", "split"),
    [
        ("0.4 ± 0.1 [0.3, 0.5]", ["0.4", "± 0.1", "[0.3, 0.5]"]),
        ("0.4 [0.3, 0.5]", ["0.4", "[0.3, 0.5]"]),
        ("FGSM-10 (cw)", ["FGSM-10 (cw)"]),
        ("", [""]),
    ],
)
def test_a_cell_is_number_spread_and_interval(cell, split):
    assert split_number(cell) == split


def test_a_run_with_nothing_measured_has_no_sections():
    assert sections(source(), []) == []
    assert list(SECTIONS) == [
        *("survival", "models", "seeds", "budget", "settings", "steps", "scores", "losses", "frontier"),
        *("time", "agreement", "spread", "flatness", "latents", "conditions", "angles"),
        *("slopes", "inference", "lengths", "transfer", "strongest"),
    ]


def test_numbers_are_written_as_people_write_them():
    assert [times_text(r) for r in (0.5, 1.02, 4.25, 96.7)] == ["0.50 times", "1.0 times", "4.2 times", "97 times"]
    assert [percent(s) for s in (0, 0.034, 0.383, 1)] == ["0 %", "3.4 %", "38 %", "100 %"]
    assert [increase_text(s) for s in (-0.0087, 0.5523, 95.6705)] == ["-0.9 %", "+55 %", "+9,567 %"]
    assert [significant_digits(v) for v in (0.01234, 0.9999, 48.51, 12345.6, 0)] == [
        "0.0123",
        "1.00",
        "48.5",
        "12,300",
        "0",
    ]
    assert [listed(p) for p in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert (number_word(3), number_word(21)) == ("three", "21")


def test_draws_have_a_name():
    assert [draws_text(draws) for draws in (1, "10", "mean")] == ["one draw", "10 draws", "MEAN"]


def test_decimals_leave_two_digits_of_the_smallest_number():
    assert decimals_for([0.5, 12.0]) == 3
    assert decimals_for([0.0271, 0.00032]) == 5
    assert decimals_for([-0.00032]) == 5
    assert decimals_for([0.0, float("nan")]) == 3
    assert decimals_for([1e-20]) == 8


def test_an_interval_that_is_not_known_is_left_out():
    none = float("nan")
    assert interval_text(Interval(0.25, 0.2, 0.3)) == "0.250 [0.200, 0.300]"
    assert interval_text(Interval(0.00025, 0.0002, 0.0003), 5) == "0.00025 [0.00020, 0.00030]"
    assert interval_text(Interval(0.25, none, none)) == "0.250"
    assert interval_text(Interval(none, none, none)) == ""
    assert significance_text(Interval(0.25, none, none)) == "difference +0.250, of unknown precision"
    assert significance_text(Interval(0.0003, 0.0002, 0.0004), 4) == "difference +0.0003 [+0.0002, +0.0004]"
    assert (
        significance_text(Interval(-0.1, -0.2, 0.1))
        == "no difference beyond chance (difference -0.100 [-0.200, +0.100])"
    )
