"""Conditions beside what happened: shares against eps, agreement, and promises that are not kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic import conditions, conditions_run, run_record, source

from unshaken.evaluation.statistics import accuracy, mean
from unshaken.report.sections.conditions import (
    conditions_figure,
    conditions_section,
    drawn_conditions,
    measured_conditions,
)

LABELS = ("conditions, smoothness published", "conditions, smoothness tight")
RECIPE = {"analyses": [{"label": label, "smoothness": label.split()[-1]} for label in LABELS]}
PUBLISHED, TIGHT = "smooth condition (published L)", "smooth condition (tight L)"


def both(model: str = "m") -> list[pd.DataFrame]:
    """Two analyses of the same attacks; the second holds for more inputs."""
    rows = conditions(model, smooth=True, analysis=LABELS[0])
    return [rows, rows.assign(analysis=LABELS[1], smooth=rows.linear & rows.survived)]


def interval(rows: pd.DataFrame, values: pd.Series) -> str:
    return str(accuracy(rows.assign(correct=values)))


def test_the_table_has_shares_agreement_and_broken_promises():
    published, tight = both()
    (table,) = conditions_section(conditions_run(published, tight, recipe=RECIPE), []).tables
    assert table.head[:5] == ["model", "eps", "accuracy", "linear", "linear agrees"]
    assert table.head[5:] == [PUBLISHED, "fails", TIGHT, "fails"]
    assert [row[:2] for row in table.body] == [[f"FGM-{k}", eps] for k in (1, 10, 100) for eps in ("0.5", "1")]
    chosen = (published.attack == "FGM-10") & (published.eps == 1)
    here, other = published[chosen], tight[chosen.to_numpy()]
    assert table.body[3][2:] == [
        interval(here, here.survived),
        interval(here, here.linear),
        interval(here, here.linear == (here.survived & here.correct)),
        interval(here, here.smooth),
        interval(here, here.smooth & ~here.survived),
        interval(other, other.smooth),
        interval(other, other.smooth & ~other.survived),
    ]
    line = table.data[(table.data.attack == "FGM-10") & (table.data.eps == 1)].iloc[0]
    assert (line.accuracy, line.linear) == pytest.approx((here.survived.mean(), here.linear.mean()))
    assert line[TIGHT] == pytest.approx(other.smooth.mean())
    assert line[f"{TIGHT}, fails"] == 0


def test_an_input_that_was_wrong_before_does_not_count_as_foretold():
    rows = conditions("m", attacks=("FGM-1",)).assign(correct=False, survived=True, linear=False)
    (table,) = conditions_section(conditions_run(rows), []).tables
    assert table.data.agreement.tolist() == [1, 1]
    (table,) = conditions_section(conditions_run(rows.assign(linear=True)), []).tables
    assert table.data.agreement.tolist() == [0, 0]


def test_the_sentence_names_the_strongest_attack_and_the_widest_gap():
    rows = conditions("m")
    (sentence,) = conditions_section(conditions_run(rows), []).sentences
    rows = rows[rows.attack == "FGM-100"]
    agrees = (rows.linear == (rows.survived & rows.correct)).groupby([rows["index"], rows.repeat]).mean()
    share = accuracy(agrees.rename("correct").reset_index())
    assert sentence.startswith(f"Under FGM-100, the linear condition foretells what happens to {share} of the inputs")
    gaps = {eps: group.linear.mean() - group.survived.mean() for eps, group in rows.groupby("eps")}
    eps = max(gaps, key=lambda size: abs(gaps[size]))
    widest = rows[rows.eps == eps]
    change = widest.set_index(["index", "repeat"]).linear * 1.0 - widest.set_index(["index", "repeat"]).survived
    gap = mean(change.unstack().to_numpy(), level=1 - 0.05 / 2)
    assert (
        f"at eps {eps:g}, it holds for {widest.linear.mean():.3f} where {widest.survived.mean():.3f} survive"
        in sentence
    )
    assert f"difference {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]" in sentence
    assert "smooth" not in sentence


def test_a_share_that_is_off_beyond_chance_is_not_called_chance():
    rows = conditions("m", attacks=("FGM-1",))
    rows["linear"] = rows.linear & (rows["index"] % 2 == 0)
    (sentence,) = conditions_section(conditions_run(rows), []).sentences
    assert ": difference -0." in sentence
    assert "chance" not in sentence


def test_promises_of_the_smooth_condition_are_counted():
    published, tight = both()
    kept = int(tight[tight.attack == "FGM-100"].smooth.sum())
    fallen = tight.index[(tight.attack == "FGM-100") & ~tight.survived][:3]
    (sentence,) = conditions_section(conditions_run(published.assign(smooth=False), tight, recipe=RECIPE), []).sentences
    assert f"The {PUBLISHED} holds for no input at any size. The {TIGHT} holds for" in sentence
    assert f"none of the {kept:,} attacks for which it holds succeeds." in sentence
    tight.loc[fallen, "smooth"] = True
    (sentence,) = conditions_section(conditions_run(tight, recipe=RECIPE), []).sentences
    assert f"3 of the {kept + 3:,} attacks for which it holds succeed (" in sentence
    assert sentence.endswith("so the network is not as smooth as it assumes.")


@pytest.mark.parametrize(
    ("smoothness", "name"), [(20.0, "smooth condition (L = 20)"), ("tight", TIGHT), (None, "smooth condition")]
)
def test_a_smooth_condition_is_named_by_the_smoothness_it_assumes(smoothness, name):
    recipe = {"analyses": [{"label": "conditions", "smoothness": smoothness}]}
    (case, *_) = measured_conditions(conditions_run(conditions("m", smooth=True), recipe=recipe))
    assert list(case.smooth) == [name]


def test_smooth_conditions_that_the_recipe_does_not_tell_apart_have_the_names_of_their_analyses():
    (case, *_) = measured_conditions(conditions_run(*both()))
    assert list(case.smooth) == [f"smooth condition ({label})" for label in LABELS]


def test_one_size_or_no_rows_have_no_section():
    assert conditions_section(conditions_run(conditions("m", eps=(0.5,))), []) is None
    assert conditions_section(source(), []) is None
    assert conditions_section(conditions_run(conditions("m").head(0)), []) is None


def test_a_model_without_the_smooth_condition_stands_beside_one_that_has_it():
    (table,) = conditions_section(conditions_run(conditions("a"), conditions("b", smooth=True)), []).tables
    assert table.body[0][0::5] == ["a, FGM-1", ""]
    assert table.body[-1][5] != ""
    assert np.isnan(table.data["smooth condition"].iloc[0])


def test_of_many_attacks_the_strongest_on_each_model_is_drawn_and_of_each_group_the_first():
    models = [f"im, seed {seed}" for seed in range(7)]
    recipe = {"models": [{"label": label, "group": "im", "seed": seed} for seed, label in enumerate(models)]}
    cases = measured_conditions(conditions_run(conditions("a"), conditions("b"), conditions("c")))
    drawn = drawn_conditions(cases, run_record())
    assert [(case.model, case.attack) for case in drawn] == [(m, "FGM-100") for m in "abc"]
    assert len(drawn_conditions(cases[:6], run_record())) == 6
    seeds = conditions_run(*(conditions(model) for model in [*models, "vmg"]), recipe=recipe)
    assert [case.model for case in drawn_conditions(measured_conditions(seeds), seeds.record)] == [models[0], "vmg"]
    assert len(conditions_section(seeds, []).sentences) == 2


@pytest.mark.parametrize("narrow", [True, False])
def test_each_model_and_attack_has_axes_with_a_line_for_accuracy_and_each_condition(narrow):
    rows = [*both("a"), conditions("b")]
    cases = measured_conditions(conditions_run(*rows, recipe=RECIPE))
    figure = conditions_figure(cases, narrow=narrow)
    assert [axis.get_title("left") for axis in figure.axes] == [f"{m}, FGM-{k}" for m in "ab" for k in (1, 10, 100)]
    lines = [list(line.get_ydata()) for line in figure.axes[0].get_lines()]
    first = rows[0][rows[0].attack == "FGM-1"].groupby("eps")
    assert lines[:3] == [pytest.approx(first[c].mean().tolist()) for c in ("survived", "linear", "smooth")]
    assert len(lines) == 4
    assert len(figure.axes[3].get_lines()) == 2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["accuracy", "linear condition", PUBLISHED, TIGHT]
