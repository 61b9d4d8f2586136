"""Prediction variance of several models: numbers, boxes, saturated draws, and the paired difference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy import stats
from synthetic import source, spread

from unshaken.report.sections.spread import FLOOR, spread_figure, spread_section, variances

RANDOM = np.random.default_rng(0)
IM, VMG = RANDOM.uniform(0.02, 0.2, 80), RANDOM.uniform(0.01, 0.1, 80)


def run(*parts: pd.DataFrame, **content):
    return source(analyses={"prediction_variance": pd.concat(parts, ignore_index=True)}, **content)


def test_the_table_has_plain_numbers_saturated_draws_and_the_paired_difference():
    saturated = np.arange(80) * 10
    section = spread_section(run(spread("vmg", VMG), spread("im", IM, saturated=saturated)), [])
    (table,) = section.tables
    assert table.head == ["model", "mean variance", "median", "quartiles", "n", "saturated draws", "more than vmg"]
    gap, half = (IM - VMG).mean(), stats.t.ppf(0.975, 79) * stats.sem(IM - VMG)
    share, error = saturated.mean() / 1000, stats.t.ppf(0.975, 79) * stats.sem(saturated / 1000)
    low, high = stats.t.interval(0.95, 79, IM.mean(), stats.sem(IM))
    assert table.body[1] == [
        "im",
        f"{IM.mean():.3f} [{low:.3f}, {high:.3f}]",
        f"{np.median(IM):.3f}",
        f"{np.quantile(IM, 0.25):.3f} – {np.quantile(IM, 0.75):.3f}",
        "80",
        f"{share:.3f} [{share - error:.3f}, {share + error:.3f}]",
        f"{gap:+.3f} [{gap - half:+.3f}, {gap + half:+.3f}]",
    ]
    assert table.body[0][5:] == ["0.000 [0.000, 0.000]", ""]
    line = table.data.set_index("model").loc["im"]
    assert (line.draws, line.n) == (1000, 80)
    assert (line.variance, line.more) == pytest.approx((IM.mean(), gap))


def test_the_sentence_says_what_is_beyond_chance():
    other = VMG + RANDOM.normal(0, 0.05, 80) - 0.002
    (sentence,) = spread_section(
        run(spread("vmg", VMG), spread("im", IM, saturated=500), spread("c", other)), []
    ).sentences
    level, gap = 1 - 0.05 / 2, IM - VMG
    half = stats.t.ppf((1 + level) / 2, 79) * stats.sem(gap)
    assert sentence.startswith(
        f"The probability of the right class has a mean variance of {VMG.mean():.3f} over 1,000 draws on vmg and "
        f"{IM.mean():.3f} on im: difference {gap.mean():+.3f} [{gap.mean() - half:+.3f}, {gap.mean() + half:+.3f}]; "
        f"{other.mean():.3f} on c: no difference beyond chance (difference "
    )
    assert sentence.endswith(" 0 % of the draws are saturated on vmg, 50 % on im and 0 % on c.")


def test_a_single_model_has_no_difference():
    section = spread_section(run(spread("im", IM, saturated=20, draws=100)), [])
    assert section.sentences == [
        f"The probability of the right class has a mean variance of {IM.mean():.3f} over 100 draws; 20 % of the draws "
        "are saturated."
    ]
    assert section.tables[0].head[-1] == "saturated draws"
    assert len(section.tables[0].body[0]) == 6


def test_draws_of_which_none_is_saturated_are_told_of_together():
    assert spread_section(run(spread("im", IM)), []).sentences[0].endswith("; no draw is saturated.")
    assert spread_section(run(spread("a", IM), spread("b", VMG)), []).sentences[0].endswith(". No draw is saturated.")


def test_small_variances_keep_two_digits_that_count():
    (table,) = spread_section(run(spread("im", IM), spread("vmg", VMG * 1e-3)), []).tables
    assert table.body[1][2] == f"{np.median(VMG) * 1e-3:.6f}"
    assert table.body[1][1].startswith(f"{VMG.mean() * 1e-3:.6f} [")


def test_rows_with_repeats_know_the_luck_of_the_draws():
    again = [spread("im", IM + shift).assign(repeat=repeat) for repeat, shift in enumerate((0, 0.05))]
    (table,) = spread_section(run(*again), []).tables
    (alone,) = spread_section(run(again[0]), []).tables
    assert table.data.n.tolist() == [80]
    assert (table.data.high - table.data.low).item() > 5 * (alone.data.high - alone.data.low).item()


def test_of_each_group_the_first_is_told_of_and_all_have_its_colour():
    labels = ["im, seed 0", "im, seed 1", "vmg"]
    recipe = {"models": [{"label": label, "group": "im", "seed": seed} for seed, label in enumerate(labels[:2])]}
    stored = run(*(spread(label, IM) for label in labels), recipe=recipe)
    section = spread_section(stored, [])
    assert "im, seed 1" not in section.sentences[0]
    assert [row[0] for row in section.tables[0].body] == labels
    (axis,) = section.drawings[0].make(False).axes
    colours = [to_hex(line.get_color()) for line in axis.get_lines() if line.get_linewidth() == 2.6]
    assert colours[0] == colours[1] != colours[2]


@pytest.mark.parametrize("narrow", [True, False])
def test_models_that_differ_by_decades_have_a_log_axis(narrow):
    tiny = np.r_[np.zeros(20), VMG[20:] * 1e-4]
    columns = variances(pd.concat([spread("im", IM), spread("vmg", tiny)]))
    (axis,) = spread_figure(columns, {"im": "im", "vmg": "vmg"}, narrow=narrow).axes
    assert axis.get_xscale() == "log"
    assert axis.get_xlim()[0] < FLOOR
    assert len(axis.get_xticks()) <= (4 if narrow else 9)
    assert [text.get_text() for text in axis.get_yticklabels()] == ["im", "vmg"]
    means = [line.get_xdata()[0] for line in axis.get_lines() if line.get_marker() == "o"]
    assert means == pytest.approx([IM.mean(), tiny.mean()], rel=1e-3)
    (axis,) = spread_figure(variances(spread("im", IM)), {"im": "im"}, narrow=narrow).axes
    assert axis.get_xscale() == "linear"
    assert axis.get_xlim()[0] == 0


def test_a_run_without_the_analysis_has_no_section():
    assert spread_section(source(), []) is None
