"""Times of attacks: ratios within rounds, intervals of a median, and the published times."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy import stats
from synthetic import source

from unshaken.report.drawing import MEAN_COLOUR, MOMENTS_COLOUR
from unshaken.report.sections.timing import measure_timings, median_interval, timing_figure, timing_section

PAPER = {"source": "A (2020), table 2", "time": {"digits": {"FGSM-10": 5.9772}, "mnist": {"FGSM-2": 1.0}}}
FACTORS = {"MEAN": 1.0, "MOMENTS": 2.0, "FGSM-10": 8.0, "FGSM-2": 1.5}


def rows(model: str = "m", rounds: int = 9) -> pd.DataFrame:
    """In round r every attack takes 1 + r times its own time, and FGSM-10 up to 8 % more in a mixed order."""
    seconds = [
        (label, r, 0.01 * (1 + r) * factor * (1 + 0.01 * (4 * r % 9) * (label == "FGSM-10")))
        for r in range(rounds)
        for label, factor in FACTORS.items()
    ]
    return pd.DataFrame(seconds, columns=["attack", "round", "seconds"]).assign(model=model, analysis="attack time")


def run(table: pd.DataFrame, **content):
    return source(analyses={"attack_time": table}, data={"name": "digits"}, paper=PAPER, **content)


def test_ratios_are_taken_within_rounds():
    (timing,) = measure_timings(run(rows()))
    table = timing.table.set_index("attack")
    assert timing.base == "MEAN"
    assert list(table.index) == list(FACTORS)
    assert table.seconds["MEAN"] == pytest.approx(0.05)
    assert table.ratio.to_dict() == pytest.approx({"MEAN": 1, "MOMENTS": 2, "FGSM-10": 8 * 1.04, "FGSM-2": 1.5})
    assert (table.low["FGSM-10"], table.high["FGSM-10"]) == pytest.approx((8 * 1.01, 8 * 1.07))  # 2nd and 8th of 9
    assert table.published.dropna().to_dict() == {"FGSM-10": 5.9772}


@pytest.mark.parametrize("n", [6, 9, 15, 20, 101])
def test_the_interval_of_a_median_is_the_narrowest_with_95_percent(n):
    _, low, high = median_interval(range(1, n + 1))
    assert low + high == n + 1
    below = stats.binom(n, 0.5)
    assert 1 - 2 * below.cdf(low - 1) >= 0.95
    assert 1 - 2 * below.cdf(low) < 0.95


def test_five_rounds_have_a_median_without_an_interval():
    value, low, high = median_interval([5, 1, 2, 4, 3])
    assert value == 3
    assert low != low
    assert high != high


def test_the_table_has_increase_and_published_increase():
    (table,) = timing_section(run(rows()), []).tables
    assert table.head == ["attack", "ms per batch", "time ÷ MEAN", "increase", "published"]
    assert table.body[0] == ["MEAN", "50.0", "1.00", "", ""]
    assert table.body[2] == ["FGSM-10", "428", "8.32 [8.08, 8.56]", "+732 %", "+598 %"]
    assert table.body[3][3:] == ["+50 %", ""]
    assert table.data.increase.tolist() == pytest.approx([0, 1, 7.32, 0.5])
    assert "Published in A (2020), table 2." in table.note
    (other,) = timing_section(source(analyses={"attack_time": rows()}), []).tables
    assert "published" not in other.head
    assert "Published" not in other.note


def test_the_sentence_has_time_and_factors():
    (sentence,) = timing_section(run(rows()), []).sentences
    assert sentence == "One batch takes MEAN 50.0 ms; MOMENTS takes 2.0 times as long and FGSM-10 8.3 times."
    two = timing_section(run(pd.concat([rows("dense"), rows("cnn")])), [])
    assert [sentence[:9] for sentence in two.sentences] == ["On dense,", "On cnn, o"]
    assert [row[0] for row in two.tables[0].body] == ["dense"] * 4 + ["cnn"] * 4


def test_the_base_is_the_first_attack_on_the_average_network():
    attacks = [{"kind": "fgsm", "label": "FGSM-2"}, {"kind": "mean", "label": "MEAN (loss cw)"}]
    renamed = rows().replace({"attack": {"MEAN": "MEAN (loss cw)"}})
    (timing,) = measure_timings(run(renamed, recipe={"attacks": attacks}))
    assert timing.base == "MEAN (loss cw)"
    (timing,) = measure_timings(run(rows()[rows().attack.str.startswith("FGSM")]))
    assert timing.base == "FGSM-10"


@pytest.mark.parametrize("narrow", [True, False])
def test_the_figure_has_our_times_and_the_published_ones(narrow):
    figure = timing_figure(measure_timings(run(rows())), narrow=narrow)
    (axis,) = figure.axes
    assert axis.get_xscale() == "log"
    assert [text.get_text() for text in axis.get_yticklabels()] == list(FACTORS)
    dots = [line for line in axis.get_lines() if line.get_marker() == "o" and len(line.get_xdata())]
    assert [float(line.get_xdata()[0]) for line in dots[:4]] == pytest.approx([1, 2, 8.32, 1.5])
    assert [to_hex(line.get_color()) for line in dots[:2]] == [MEAN_COLOUR, MOMENTS_COLOUR]
    assert (list(dots[4].get_xdata()), list(dots[4].get_ydata())) == ([6.9772], [2])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["this run", "published"]


def test_a_run_without_the_analysis_has_no_section():
    assert timing_section(source(), []) is None
