"""Groups of networks that differ by their seed: means and spread over networks, the best, and paired differences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy import stats
from synthetic import attacked, clean, conditions, curves, run_record, source

from unshaken.evaluation.statistics import accuracy
from unshaken.report.drawing import MEAN_COLOUR
from unshaken.report.groups import group_of, groups, representatives
from unshaken.report.page import page
from unshaken.report.sections.models import models_section
from unshaken.report.sections.seeds import seeds_section

SURVIVE = {"im": [60, 64, 62, 66], "vmg": [50, 51, 57, 52]}


def recipe(*named: str, seeds: int = 4) -> dict:
    return {"models": [{"label": f"{g}, seed {s}", "group": g, "seed": s} for g in named for s in range(seeds)]}


def run(survive: dict[str, list[int]] = SURVIVE, labels: tuple[str, ...] = ("FGM-1", "MEAN"), **content):
    """At eps 0.2 thirty fewer survive than at 0.1; MEAN leaves five fewer than FGM-1."""
    parts = []
    for group, values in survive.items():
        for seed, right in enumerate(values):
            model = f"{group}, seed {seed}"
            parts.append(clean(model, [90, 90 + seed, 90]))
            for index, label in enumerate(labels):
                left = right - 5 * index
                parts.append(attacked(model, label, {0.1: [left, left + 3, left], 0.2: left - 30}))
    return source(*parts, recipe=recipe(*survive), **content)


def networks_of(source, group: str, label: str, eps: float) -> list[pd.DataFrame]:
    kind = {"MEAN": "mean", "FGM-1": "fgm", "none": "none"}[label]
    rows = source.rows[(source.rows.attack == kind) & (source.rows.eps == eps)]
    return [rows[rows.model == f"{group}, seed {seed}"] for seed in range(4)]


def test_the_table_has_mean_and_spread_over_networks_and_the_best():
    stored = run()
    (table,) = seeds_section(stored, []).tables
    assert table.head == ["networks of", "attack", "eps", "networks", "accuracy", "best"]
    means = [rows.correct.mean() for rows in networks_of(stored, "im", "FGM-1", 0.1)]
    assert means == pytest.approx([0.61, 0.65, 0.63, 0.67])
    single = [
        rows.groupby("index", as_index=False).correct.mean().assign(repeat=seed)
        for seed, rows in enumerate(networks_of(stored, "im", "FGM-1", 0.1))
    ]
    interval = accuracy(pd.concat(single))
    row = next(row for row in table.body if row[:3] == ["im", "FGM-1", "0.1"])
    assert row[3:] == [
        "4",
        f"{np.mean(means):.3f} ± {np.std(means, ddof=1):.3f} [{interval.low:.3f}, {interval.high:.3f}]",
        "0.670",
    ]
    line = table.data[(table.data.group == "im") & (table.data.attack == "FGM-1") & (table.data.eps == 0.1)].iloc[0]
    assert (line.best, line.best_seed, line.worst) == pytest.approx((0.67, 3, 0.61))
    assert [row[:2] for row in table.body][:2] == [["im", "no attack"], ["im", "FGM-1"]]
    assert table.body[0][4].startswith("0.905 ± 0.004 [")


def test_groups_are_compared_under_the_strongest_attack_paired_by_seed():
    (sentence,) = seeds_section(run(), []).sentences
    im, vmg = ((np.array(SURVIVE[group]) - 35) / 100 for group in ("im", "vmg"))
    gap = vmg - im
    half = stats.t.ppf(0.975, 3) * stats.sem(gap)
    assert sentence == (
        f"Under MEAN at eps 0.2 accuracy is {im.mean():.3f} ± {im.std(ddof=1):.3f} over 4 networks of im and "
        f"{vmg.mean():.3f} ± {vmg.std(ddof=1):.3f} over 4 of vmg: difference {gap.mean():+.3f} "
        f"[{gap.mean() - half:+.3f}, {gap.mean() + half:+.3f}], paired by 4 seeds."
    )


def test_no_difference_beyond_chance_is_called_so():
    (sentence,) = seeds_section(run({"im": [60, 64, 62, 66], "vmg": [66, 61, 63, 60]}), []).sentences
    assert ": no difference beyond chance (difference " in sentence


def test_several_groups_share_the_level():
    survive = SURVIVE | {"other": [58, 62, 61, 63]}
    (sentence,) = seeds_section(run(survive), []).sentences
    im, vmg = ((np.array(SURVIVE[group]) - 35) / 100 for group in ("im", "vmg"))
    half = stats.t.ppf(1 - 0.05 / 4, 3) * stats.sem(vmg - im)
    assert f"of vmg: difference {(vmg - im).mean():+.3f} [{(vmg - im).mean() - half:+.3f}, " in sentence
    assert sentence.count("paired by 4 seeds") == 2


def test_one_group_is_told_of_by_itself():
    section = seeds_section(run({"im": SURVIVE["im"]}), [])
    (sentence,) = section.sentences
    assert sentence.startswith("Over 4 networks of im, accuracy under MEAN at eps 0.2 is 0.280 ± 0.026 [")
    assert sentence.endswith("]; the best has 0.310.")
    assert section.tables[0].head[0] == "attack"


def test_a_network_that_was_not_attacked_is_left_out_of_its_pair():
    stored = run()
    lost = (stored.rows.model == "vmg, seed 2") & (stored.rows.attack == "mean")
    (sentence,) = seeds_section(source(stored.rows[~lost], recipe=recipe(*SURVIVE)), []).sentences
    assert "over 3 of vmg" in sentence
    assert sentence.endswith("paired by 3 seeds.")


def test_models_of_one_seed_have_no_section():
    stored = run()
    assert seeds_section(source(stored.rows), []) is None
    assert seeds_section(source(stored.rows, recipe=recipe("im", "vmg", seeds=1)), []) is None
    assert seeds_section(source(recipe=recipe("im")), []) is None
    assert seeds_section(source(analyses={"conditions": conditions("im, seed 0")}, recipe=recipe("im")), []) is None


@pytest.mark.parametrize("narrow", [True, False])
def test_each_group_has_axes_with_a_line_for_each_attack_and_a_mark_for_each_network(narrow):
    (drawing,) = seeds_section(run(), []).drawings
    figure = drawing.make(narrow)
    assert [axis.get_title("left") for axis in figure.axes] == ["im", "vmg"]
    lines = {to_hex(line.get_color()): line for line in figure.axes[0].get_lines() if line.get_linestyle() == "-"}
    assert list(lines[MEAN_COLOUR].get_xdata()) == [0, 0.1, 0.2]
    assert list(lines[MEAN_COLOUR].get_ydata()) == pytest.approx([0.905, 0.59, 0.28])
    marks = next(
        line
        for line in figure.axes[0].get_lines()
        if line.get_marker() == "_" and to_hex(line.get_color()) == MEAN_COLOUR
    )
    at = [y for x, y in zip(*marks.get_data(), strict=True) if x == 0.1]
    assert at == pytest.approx([0.56, 0.60, 0.58, 0.62])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["FGM-1", "MEAN"]


def test_groups_under_one_attack_share_their_axes():
    (drawing,) = seeds_section(run(labels=("MEAN",)), []).drawings
    figure = drawing.make(False)
    assert [axis.get_title("left") for axis in figure.axes] == ["under MEAN"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["im", "vmg"]


def test_one_size_has_a_table_and_no_figure():
    stored = run()
    section = seeds_section(source(stored.rows[stored.rows.eps != 0.2], recipe=recipe(*SURVIVE)), [])
    assert section.drawings == []
    assert "at eps 0.1" in section.sentences[0]


def test_groups_are_read_from_the_recipe():
    others = [{"label": "alone", "group": "alone", "seed": 0}, {"label": "x"}]
    record = run_record(recipe={"models": [*recipe("im")["models"], *others]})
    assert groups(record) == {"im": {seed: f"im, seed {seed}" for seed in range(4)}}
    assert representatives(record, ["x", "im, seed 2", "im, seed 1", "alone"]) == ["x", "im, seed 2", "alone"]
    assert group_of(record, ["im, seed 3", "alone"]) == {"im, seed 3": "im", "alone": "alone"}
    assert groups(run_record()) == {}


def test_where_all_models_are_in_groups_the_groups_take_the_place_of_the_comparison_of_models():
    both = run()
    section = seeds_section(both, curves(both))
    assert models_section(both, curves(both)) is None
    assert section.position == "first"
    both.record.recipe.models.pop()
    assert models_section(both, curves(both)) is not None


def test_published_values_of_a_setting_stand_beside_the_mean_over_its_networks():
    both = run(paper={"source": "a table", "accuracy": [{"model": "im", "attack": "FGM-1", "eps": 0.1, "value": 0.7}]})
    text = page(both, curves(both), {})
    right = np.mean([[left, left + 3, left] for left in SURVIVE["im"]]) / 100
    assert f"0.700</td><td>{right:.3f} [" in text


def test_many_groups_are_lines_under_each_attack():
    stored = run({"a": [60, 64, 62, 66], "b": [50, 51, 50, 52], "c": [40, 44, 42, 41]})
    (drawing,) = seeds_section(stored, []).drawings
    figure = drawing.make(False)
    assert [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes] == ["under FGM-1", "under MEAN"]
    for axis in figure.axes:
        lines = [line for line in axis.lines if len(line.get_xdata()) == 3]
        assert len(lines) == 3
        assert len({to_hex(line.get_color()) for line in lines}) == 3
    assert [text.get_text() for text in figure.legends[0].texts] == ["a", "b", "c"]


def test_attacks_that_stand_apart_alone_are_drawn_by_group():
    stored = run({"a": [60, 64, 62, 66], "b": [50, 51, 50, 52]}, labels=("FGM-1",))
    stored.rows.loc[stored.rows.attack != "none", "attack"] = "one_step_cw"
    (drawing,) = seeds_section(stored, []).drawings
    assert len(drawing.make(False).axes) == 2
