"""Cosine, gradient norm and their product by number of inference draws."""

from __future__ import annotations

import pandas as pd
import pytest
from synthetic import conditions, conditions_run, source

from unshaken.evaluation.statistics import mean
from unshaken.report.sections.slopes import QUANTITIES, measure_slopes, slopes_figure, slopes_section

COUNTS = (1, 5, 100)


def rows(model: str = "m", **settings) -> pd.DataFrame:
    """One attack under three numbers of inference draws, another under one."""
    several = conditions(model, attacks=("FGM-1",), inference=COUNTS, **settings)
    return pd.concat([conditions(model, attacks=("FGM-100",), **settings), several], ignore_index=True)


def test_the_table_has_every_quantity_for_each_number_of_inference_draws():
    measured = rows()
    (table,) = slopes_section(conditions_run(measured), []).tables
    chosen = measured[(measured.attack == "FGM-1") & (measured.eps == 1)]
    assert table.data.quantity.tolist() == [quantity for quantity in QUANTITIES for _ in COUNTS]
    assert set(table.data.attack) == {"FGM-1"}
    for line in table.data.itertuples():
        group = chosen[chosen.inference_draws == line.inference_draws]
        values = group.assign(slope=group.cosine * group.gradient_norm)[line.quantity]
        assert line.median == pytest.approx(values.median())
        complete = group.assign(v=values).pivot(index="index", columns="repeat", values="v").dropna().to_numpy()
        assert (line.mean, line.low, line.high) == pytest.approx(mean(complete))
    assert table.body[6][:2] == ["cosine × norm", "1"]


def test_the_sentence_sets_the_fewest_draws_and_the_next_beside_the_most():
    measured = rows()
    (sentence,) = slopes_section(conditions_run(measured), []).sentences
    chosen = measured[(measured.attack == "FGM-1") & (measured.eps == 1)]
    norms = {
        count: group.pivot(index="index", columns="repeat", values="gradient_norm").to_numpy()
        for count, group in chosen.groupby("inference_draws")
    }
    one = mean(norms[1] - norms[100])
    assert sentence.startswith("Under FGM-1 at eps 1, the mean cosine of the angle is -")
    assert (
        f". The mean norm of the margin gradient is {norms[1].mean():.3f} with one inference draw where 100 give "
        f"{norms[100].mean():.3f}: difference {one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]. The mean "
        "cosine × norm is -"
    ) in sentence
    assert " with 5: " in sentence.partition("cosine × norm")[2]


def test_what_does_not_change_is_called_no_difference():
    measured = rows()
    measured["gradient_norm"] = measured.groupby(["index", "repeat"]).gradient_norm.transform("first")
    (sentence,) = slopes_section(conditions_run(measured), []).sentences
    assert "norm of the margin gradient is" in sentence
    assert sentence.count("the two agree on every input") == 1


def test_small_norms_keep_two_digits_that_count():
    measured = rows()
    measured["gradient_norm"] *= 1e-3
    section = slopes_section(conditions_run(measured), [])
    few = measured[(measured.attack == "FGM-1") & (measured.eps == 1) & (measured.inference_draws == 1)]
    assert f"norm of the margin gradient is {few.gradient_norm.mean():.5f} with one" in section.sentences[0]
    assert section.tables[0].body[3][3] == f"{few.gradient_norm.median():.5f}"


def test_one_number_of_inference_draws_has_no_section():
    assert slopes_section(conditions_run(conditions("m")), []) is None
    assert slopes_section(source(), []) is None


@pytest.mark.parametrize("narrow", [True, False])
def test_models_share_the_axis_of_a_quantity(narrow):
    figure = slopes_figure(measure_slopes(pd.concat([rows("a", eps=(1.0,)), rows("bb", eps=(1.0,))])), narrow=narrow)
    labels = [axis.get_ylabel() for axis in figure.axes]
    titles = [axis.get_title("left") for axis in figure.axes]
    names = list(QUANTITIES.values())
    assert labels == ([name for name in names for _ in "ab"] if narrow else names * 2)
    assert titles == (["a", "bb"] * 3 if narrow else ["a"] * 3 + ["bb"] * 3)
    for name in names:
        (limits,) = {axis.get_ylim() for axis, label in zip(figure.axes, labels, strict=True) if label == name}
        assert limits[0] < limits[1]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["1", "5", "100"]
