"""Agreement of gradients: its numbers against plain ones, its boxes, and what is said of MEAN."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy import stats
from synthetic import source

from unshaken.report.box_plots import mean_interval
from unshaken.report.drawing import MEAN_COLOUR, MOMENTS_COLOUR
from unshaken.report.sections.agreement import agreement_figure, agreement_section, gradient_agreements

DRAWS = ("1", "10", "20", "mean", "moments")
CENTRES = dict(zip(DRAWS, (0.55, 0.66, 0.75, 0.72, 0.8), strict=True))
RECIPE = {"analyses": [{"kind": "gradient_agreement", "label": "gradient agreement", "reference": 100}]}


def rows(model: str = "m", n: int = 50, draws: tuple[str, ...] = DRAWS, repeat: int = 0) -> pd.DataFrame:
    noise = np.random.default_rng(1 + repeat).normal(0, 0.05, (n, len(draws)))
    parts = [
        pd.DataFrame({"index": range(n), "repeat": repeat, "draws": k, "agreement": CENTRES[k] + noise[:, i]})
        for i, k in enumerate(draws)
    ]
    return pd.concat(parts, ignore_index=True).assign(model=model, analysis="gradient agreement")


def section(table: pd.DataFrame):
    return agreement_section(source(analyses={"gradient_agreement": table}, recipe=RECIPE), [])


def test_the_table_has_the_plain_numbers_of_every_entry():
    measured = rows()
    (table,) = section(measured).tables
    assert table.data.draws.tolist() == list(DRAWS)
    for line in table.data.itertuples():
        values = measured[measured.draws == line.draws].agreement
        assert line.agreement == pytest.approx(values.mean())
        expected = stats.t.interval(0.95, 49, values.mean(), values.sem())
        assert (line.low, line.high) == pytest.approx(expected)
        assert (line.lower_quartile, line.median, line.upper_quartile) == pytest.approx(
            tuple(np.quantile(values, [0.25, 0.5, 0.75]))
        )
        assert line.n == 50
    ten = measured[measured.draws == "10"].agreement.to_numpy()
    paired = measured[measured.draws == "mean"].agreement.to_numpy() - ten
    line = table.data.set_index("draws").loc["10"]
    assert line.mean_more == pytest.approx(paired.mean())
    assert (line.mean_more_low, line.mean_more_high) == pytest.approx(
        stats.t.interval(0.95, 49, paired.mean(), stats.sem(paired))
    )
    assert np.isnan(table.data.set_index("draws").mean_more["mean"])
    assert [row[0] for row in table.body] == ["one draw", "10 draws", "20 draws", "MEAN", "MOMENTS"]
    assert table.body[1][1] == f"{ten.mean():.3f} [{line.low:.3f}, {line.high:.3f}]"


def test_mean_and_moments_stand_beside_ten_draws():
    measured = rows()
    means = measured.groupby("draws").agreement.mean()
    (sentence,) = section(measured).sentences
    assert sentence.startswith(
        f"MEAN agrees with the gradient of 100 draws in {means['mean']:.2f} of the entries, 10 draws in "
        f"{means['10']:.2f}: difference {means['mean'] - means['10']:+.3f} ["
    )
    assert f"MOMENTS agrees in {means['moments']:.2f}: difference +" in sentence


def test_the_most_draws_stand_in_for_ten_and_no_difference_is_called_so():
    measured = rows(draws=("1", "20", "mean"))
    measured.loc[measured.draws == "mean", "agreement"] = measured[measured.draws == "20"].agreement.to_numpy()[::-1]
    (sentence,) = section(measured).sentences
    assert ", 20 draws in 0.7" in sentence
    assert "no difference beyond chance (difference +0.000 [" in sentence
    assert section(rows(draws=("1", "10"))).sentences == []


def test_inputs_without_a_value_are_left_out():
    measured = rows()
    measured.loc[(measured["index"] < 10) & (measured.draws == "mean"), "agreement"] = float("nan")
    (table,) = section(measured).tables
    assert table.data.set_index("draws").n.to_dict() == {"1": 50, "10": 50, "20": 50, "mean": 40, "moments": 50}
    alone = pd.Series([0.5, float("nan")], pd.MultiIndex.from_tuples([(0, 0), (1, 0)], names=["index", "repeat"]))
    assert mean_interval(alone).value == 0.5


def test_repeats_of_the_draws_widen_the_interval():
    one, again = rows(), rows(repeat=1)
    again["agreement"] += 0.05  # all inputs share the luck of a repeat
    (alone,), (both,) = section(one).tables, section(pd.concat([one, again])).tables
    width = [float((table.data.high - table.data.low).iloc[0]) for table in (alone, both)]
    assert width[1] > 5 * width[0]
    assert both.data.n.tolist() == [50] * 5


@pytest.mark.parametrize("narrow", [True, False])
def test_each_model_has_axes_with_a_box_for_each_entry(narrow):
    measured = pd.concat([rows("dense"), rows("cnn")])
    agreements = gradient_agreements(source(analyses={"gradient_agreement": measured}, recipe=RECIPE))
    figure = agreement_figure(agreements, narrow=narrow)
    assert [axis.get_title("left") for axis in figure.axes] == ["dense", "cnn"]
    ticks = [text.get_text().strip() for text in figure.axes[0].get_xticklabels()]
    assert ticks == ["1", "10", "20", "MEAN", "MOMENTS"]
    drawn = figure.axes[0].get_lines()
    means = [line.get_ydata()[0] for line in drawn if line.get_marker() == "o" and line.get_markersize() == 4.5]
    assert means == pytest.approx([measured[measured.draws == k].agreement.mean() for k in DRAWS], abs=1e-9)
    medians = {to_hex(line.get_color()): line.get_ydata()[0] for line in drawn if line.get_linewidth() == 2.6}
    assert medians[MEAN_COLOUR] == pytest.approx(rows()[rows().draws == "mean"].agreement.median())
    assert medians[MOMENTS_COLOUR] == pytest.approx(rows()[rows().draws == "moments"].agreement.median())
    assert "of 100 draws" in figure.axes[0].get_ylabel()


def test_a_run_without_the_analysis_has_no_section():
    assert agreement_section(source(), []) is None
