"""How far noise moves the loss: numbers of single models and of groups, boxes, and which model is flatter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import source

from unshaken.report.sections.flatness import LINEAR, flatness_section

RANDOM = np.random.default_rng(0)
COPIES = 4
SHARP, FLAT = RANDOM.normal(0.5, 1, (60, COPIES)), RANDOM.normal(0.05, 0.1, (60, COPIES))


def rows(model: str, change: np.ndarray, *, noise: str = "uniform", size: float = 16 / 255, wrong: int = 0):
    """The last `wrong` inputs are wrong without noise; one copy of each other input is wrong where it rises by 1."""
    index, copy = (grid.ravel() for grid in np.meshgrid(np.arange(len(change)), np.arange(COPIES), indexing="ij"))
    columns = {"index": index, "copy": copy, "noise": noise, "size": size, "draws": 1, "loss": 0.1}
    columns |= {"difference": change.ravel(), "correct": index < len(change) - wrong, "survived": change.ravel() < 1}
    return pd.DataFrame(columns).assign(model=model, analysis=f"flatness, size {size}")


def run(*parts: pd.DataFrame, **content):
    return source(analyses={"flatness": pd.concat(parts, ignore_index=True)}, **content)


def interval(by_input: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    half = stats.t.ppf((1 + level) / 2, len(by_input) - 1) * stats.sem(by_input)
    return by_input.mean(), by_input.mean() - half, by_input.mean() + half


def test_the_table_has_mean_and_variance_with_and_without_the_sign_and_the_published_ones():
    paper = {"flatness": {"flat": {"mean": 0.036, "variance": 0.035}}, "source": "Someone (2021)"}
    section = flatness_section(run(rows("sharp", SHARP, wrong=5), rows("flat", FLAT), paper=paper), [])
    (table,) = section.tables
    assert table.head == [
        *("model", "mean change", "variance", "mean |change|", "variance of |change|", "still right"),
        *("published mean", "published variance"),
    ]
    change, moved = interval(SHARP.mean(1)), interval(np.abs(SHARP).mean(1))
    assert table.body[0] == [
        "sharp",
        "{:.3f} [{:.3f}, {:.3f}]".format(*change),
        f"{SHARP.var(ddof=1):.3g}",
        "{:.3f} [{:.3f}, {:.3f}]".format(*moved),
        f"{np.abs(SHARP).var(ddof=1):.3g}",
        f"{(SHARP[:55] < 1).mean():.3f}",
        "",
        "",
    ]
    assert table.body[1][6:] == ["0.036", "0.035"]
    assert table.note.endswith("with its sign; their source is Someone (2021).")
    line = table.data.set_index("model").loc["flat"]
    assert (line.n, line.copies, line.networks) == (60, COPIES, 1)
    assert line.variance_of_means == pytest.approx(FLAT.mean(1).var(ddof=1))
    assert line.low == pytest.approx(interval(FLAT.mean(1))[1])


def test_the_sentence_says_who_is_flatter_paired_by_input_at_a_shared_level():
    other = SHARP + RANDOM.normal(0, 0.02, SHARP.shape)
    (sentence,) = flatness_section(run(rows("sharp", SHARP), rows("flat", FLAT), rows("c", other)), []).sentences
    gap = interval(np.abs(FLAT).mean(1) - np.abs(SHARP).mean(1), 1 - 0.05 / 2)
    assert sentence.startswith(
        f"Noise from U(−16/255, 16/255) moves the loss of an input by {np.abs(SHARP).mean():.3f} on average on sharp "
        f"(mean change {SHARP.mean():+.3f}, variance {SHARP.var(ddof=1):.3g}) and by {np.abs(FLAT).mean():.3f} on flat "
        f"({FLAT.mean():+.3f}, {FLAT.var(ddof=1):.3g}), which is flatter: difference "
        "{:+.3f} [{:+.3f}, {:+.3f}]; by ".format(*gap)
    )
    assert "): no difference beyond chance (difference " in sentence
    share = round(100 * (SHARP < 1).mean())
    assert f" Of the predictions that are right without it {share} % on sharp, 100 % on flat and " in sentence


def test_a_loss_that_falls_far_is_not_flat():
    (sentence,) = flatness_section(run(rows("flat", FLAT), rows("falls", -SHARP)), []).sentences
    assert "on falls (-0." in sentence
    assert ", which is less flat: difference +" in sentence


def test_networks_of_a_group_have_a_mean_and_a_spread_and_are_paired_by_seed():
    luck = {"a": (0.0, 0.1, 0.4), "b": (0.2, 0.3, 0.6)}
    models = [{"label": f"{g}, seed {s}", "group": g, "seed": s} for g in luck for s in range(3)]
    change = np.abs(FLAT)
    parts = [rows(f"{g}, seed {s}", change + more[s]) for g, more in luck.items() for s in range(3)]
    section = flatness_section(run(*parts, recipe={"models": models}), [])
    (table,) = section.tables
    assert table.head[:3] == ["model", "networks", "mean change"]
    means = change.mean() + np.array(luck["a"])
    assert table.body[0][:2] == ["a", "3"]
    assert table.body[0][2].startswith(f"{means.mean():.3f} ± {means.std(ddof=1):.3f} [")
    spread = np.std([(change + more).var(ddof=1) for more in luck["a"]], ddof=1)
    assert table.data.variance_spread[0] == pytest.approx(spread, abs=1e-12)
    assert table.body[0][3].startswith(f"{change.var(ddof=1):.3g} ± ")
    assert (table.data.high - table.data.low).iloc[0] > 2 * means.std(ddof=1)  # the luck of three networks
    assert "on b (" in section.sentences[0]
    assert "difference +0.200 [+0.200, +0.200]" in section.sentences[0]


def test_each_noise_has_its_sentence_and_its_lines():
    parts = [rows(m, c, noise=n, size=s) for m, c in (("a", SHARP), ("b", FLAT)) for n, s in SIZES]
    paper = {"flatness": {"a": {"mean": 0.6, "variance": 2.11, "size": 0.2}}}
    section = flatness_section(run(*parts, paper=paper), [])
    noises = ["U(−0.2, 0.2)", "N(0, 0.1²)", "N(0, (16/255)²)"]
    assert [sentence.split(" moves")[0] for sentence in section.sentences] == [f"Noise from {n}" for n in noises]
    (table,) = section.tables
    assert [row[:2] for row in table.body] == [[noise, model] for noise in noises for model in "ab"]
    assert [row[-2] for row in table.body] == ["0.6", *[""] * 5]
    figure = section.drawings[0].make(False)
    assert [axis.get_title("left") for axis in figure.axes] == [f"noise from {noise}" for noise in noises]


SIZES = (("uniform", 0.2), ("gaussian", 0.1), ("gaussian", 16 / 255))


@pytest.mark.parametrize("narrow", [True, False])
def test_a_box_holds_all_networks_and_marks_are_their_means(narrow):
    models = [{"label": f"a, seed {s}", "group": "a", "seed": s} for s in range(2)]
    stored = run(rows("a, seed 0", FLAT), rows("a, seed 1", FLAT + 0.2), rows("b", SHARP), recipe={"models": models})
    (drawing,) = flatness_section(stored, []).drawings
    assert drawing.caption.endswith("Small marks are the means of single networks.")
    (axis,) = drawing.make(narrow).axes
    assert axis.get_xscale() == "symlog"
    assert axis.xaxis.get_transform().linthresh == LINEAR
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "b"]
    dots = [line.get_xdata()[0] for line in axis.get_lines() if line.get_marker() == "o"]
    assert dots == pytest.approx([FLAT.mean() + 0.1, SHARP.mean()])
    (marks,) = (line for line in axis.get_lines() if line.get_marker() == "|")
    assert list(marks.get_xdata()) == pytest.approx([FLAT.mean(), FLAT.mean() + 0.2])
    low, high = axis.get_xlim()
    assert low < np.quantile(SHARP, 0.05) < np.quantile(SHARP, 0.95) < high
    assert 0 in axis.get_xticks()
    assert len(axis.get_xticks()) <= (6 if narrow else 9)


def test_one_model_is_told_of_by_itself():
    (sentence,) = flatness_section(run(rows("m", FLAT)), []).sentences
    assert sentence.endswith("Of the predictions that are right without it 100 % stay right.")
    assert " on m" not in sentence


def test_a_run_without_the_analysis_has_no_section():
    assert flatness_section(source(), []) is None
