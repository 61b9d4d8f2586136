"""Strength against cost: which points are drawn, and which attack is called the cheapest of the strong ones."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from synthetic import attacked, clean, curves, run_record, source

from unshaken.report.drawing import MEAN_COLOUR, MOMENTS_COLOUR
from unshaken.report.sections.frontier import frontier_figure, frontier_section, panel_frontiers

TIMES = {"MEAN": 1.0, "MOMENTS": 2.0, "FGSM-1": 1.1, "FGSM-10": 6.0, "PGD-5": 30.0, "PGD-MOMENTS": 9.0}
LEFT = {"MEAN": 60, "MOMENTS": 20, "FGSM-1": 70, "FGSM-10": 45, "PGD-5": 19, "PGD-MOMENTS": 21}


def times(model: str = "m", rounds: int = 7) -> pd.DataFrame:
    seconds = [(label, r, factor) for r in range(rounds) for label, factor in TIMES.items()]
    return pd.DataFrame(seconds, columns=["attack", "round", "seconds"]).assign(model=model, analysis="attack time")


def run(right: int = 95, **left: int):
    parts = [attacked("m", label, {0.05: 80, 0.1: left.get(label, n)}) for label, n in LEFT.items()]
    return source(clean("m", right), *parts, analyses={"attack_time": times()})


def test_every_timed_attack_is_a_point_at_the_informative_eps():
    source = run()
    (frontier,) = panel_frontiers(source, curves(source))
    assert frontier.eps == 0.1
    assert frontier.table.set_index("label").accuracy.to_dict() == {label: n / 100 for label, n in LEFT.items()}
    assert frontier.table.set_index("label").time.to_dict() == pytest.approx(TIMES)
    (table,) = frontier_section(source, curves(source)).tables
    assert table.body[1][:2] == ["MOMENTS", "0.1"]
    assert table.body[1][2].startswith("0.200 [")
    assert table.body[1][3] == "2.00"


def test_attacks_are_matched_with_their_times_by_the_recipe():
    source = run()
    attacks = [{"kind": "mean", "name": "mean", "loss": "cw", "label": "MEAN (loss cw)"}]
    source = replace(source, record=run_record(recipe={"attacks": attacks}))
    source.analyses["attack_time"] = times().replace({"attack": {"MEAN": "MEAN (loss cw)"}})
    (frontier,) = panel_frontiers(source, curves(source))
    assert frontier.base == "MEAN (loss cw)"
    assert frontier.table.set_index("label").time["MEAN"] == 1


def test_the_cheapest_attack_that_is_not_told_apart_from_the_strongest_is_named():
    source = run()
    (sentence,) = frontier_section(source, curves(source)).sentences
    assert sentence == (
        "At eps 0.1 the strongest attack is PGD-5 (0.190, 30 times the time of MEAN); the cheapest one not told apart "
        "from it is MOMENTS (0.200, 2.0 times)."
    )
    alone = run(**{"PGD-5": 2})
    assert frontier_section(alone, curves(alone)).sentences[0].endswith("every cheaper one is weaker beyond chance.")


@pytest.mark.parametrize("narrow", [True, False])
def test_draws_are_paths_and_schemes_are_marks(narrow):
    source = run()
    figure = frontier_figure(panel_frontiers(source, curves(source)), narrow=narrow)
    (axis,) = figure.axes
    lines = {line.get_marker(): line for line in axis.get_lines() if line.get_marker() in ("o", "D", "*")}
    assert list(lines["o"].get_xdata()) == pytest.approx([1.1, 6.0])
    assert list(lines["o"].get_ydata()) == pytest.approx([0.7, 0.45])
    assert (to_hex(lines["D"].get_color()), *lines["D"].get_ydata()) == (MEAN_COLOUR, 0.6)
    assert (to_hex(lines["*"].get_color()), *lines["*"].get_ydata()) == (MOMENTS_COLOUR, 0.2)
    squares = {to_hex(line.get_color()): line for line in axis.get_lines() if line.get_marker() == "s"}
    assert list(squares[MOMENTS_COLOUR].get_ydata()) == [0.21]
    assert {text.get_text() for text in axis.texts} == {"1", "10", "5"}
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["FGSM-k", "PGD-k", "PGD-MOMENTS", "MEAN", "MOMENTS"]


def test_there_is_none_without_times_or_for_a_model_that_guesses():
    source = run()
    assert frontier_section(source, []) is None
    guesses = run(right=10)
    assert frontier_section(guesses, curves(guesses)) is None
    source.analyses.clear()
    assert frontier_section(source, curves(source)) is None
