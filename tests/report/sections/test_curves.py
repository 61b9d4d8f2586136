"""Accuracy during training: every evaluation is drawn and stored, ten are averaged, the selected one is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import source

from unshaken.report.doubts import training_doubts
from unshaken.report.sections.curves import curves_section
from unshaken.training import Epoch
from unshaken.training.history import Score

STEPS = [100 * i for i in range(1, 13)]


def history(right: list[int], selected: int | None = None) -> list[Epoch]:
    """Two epochs with twelve evaluations of 200 images: 150 are right clean, so many under attack."""
    evaluations = [
        Score(step, 200, {"clean": 150, "PGD-1": n}, 1.0, 1, 1, selected=i == selected)
        for i, (step, n) in enumerate(zip(STEPS, right, strict=True))
    ]
    return [Epoch(1.0, 0.5, 1.0, scores=scores) for scores in (evaluations[:5], evaluations[5:])]


RIGHT = {0: [10, 20, 30, 40, 50, 90, 60, 60, 60, 60, 60, 60], 1: [10, 20, 30, 40, 50, 60, 80, 60, 60, 60, 60, 60]}


def run(*groups: str, select: str = "PGD-1", split: str = "validation", smooth: int = 1):
    """Each group has two networks; the second selects a step later."""
    models = [{"label": f"{g}, seed {s}", "group": g, "seed": s} for g in groups for s in (0, 1)]
    curves = {"attacks": [{"label": "PGD-1", "eps": [8 / 255]}], "select": select, "split": split, "smooth": smooth}
    chosen = {0: 5, 1: 6} if select != "none" else {0: None, 1: None}
    histories = {model["label"]: history(RIGHT[model["seed"]], chosen[model["seed"]]) for model in models}
    return replace(source(recipe={"models": models, "curves": curves}), histories=histories)


def test_there_is_nothing_to_tell_of_a_training_that_was_not_evaluated() -> None:
    assert curves_section(source(), []) is None
    old = {"m": [Epoch(1.0, 0.5, 1.0)]}
    assert curves_section(replace(source(recipe={"models": []}), histories=old), []) is None


def test_the_last_ten_evaluations_are_averaged_and_every_one_is_stored() -> None:
    (table,) = curves_section(run("ens", "single", select="none"), []).tables
    assert table.head == ["model", "no attack", "PGD-1, eps 8/255"]
    means = [np.mean(RIGHT[seed][2:]) / 200 for seed in (0, 1)]
    cell = f"{np.mean(means):.3f} ± {np.std(means, ddof=1):.3f}"
    assert table.body == [["ens", "0.750 ± 0.000", cell], ["single", "0.750 ± 0.000", cell]]
    assert len(table.data) == 2 * 2 * 12 * 2
    one = table.data[(table.data.model == "ens, seed 1") & (table.data.step == 700) & (table.data.attack == "PGD-1")]
    assert (one.right.item(), one.accuracy.item(), one.eps.item()) == (80, 0.4, 8 / 255)
    assert "standard deviation over networks" in table.note
    assert "no value is left out" in table.note


def test_the_selected_step_stands_beside_how_much_it_is_above_the_others() -> None:
    section = curves_section(run("ens"), [])
    _, table = section.tables
    gaps = [90 / 200 - np.mean(RIGHT[0][2:]) / 200, 80 / 200 - np.mean(RIGHT[1][2:]) / 200]
    assert table.head == ["model", "step", "no attack", "PGD-1, eps 8/255", "above the last ten"]
    assert table.body == [
        ["ens", "600, 700", "0.750 ± 0.000", "0.425 ± 0.035", f"{np.mean(gaps):+.3f} ± {np.std(gaps, ddof=1):.3f}"]
    ]
    assert table.data.above_last.to_numpy() == pytest.approx(np.repeat(gaps, 2))
    (sentence,) = section.sentences
    assert "highest accuracy under PGD-1, eps 8/255 on the validation images" in sentence
    assert f"on average over networks, {np.mean(gaps):.3f} above the mean of the last ten evaluations" in sentence
    (sentence,) = curves_section(run("single", "ens"), []).sentences
    assert f"{np.mean(gaps):.3f} for single and {np.mean(gaps):.3f} for ens above the mean" in sentence
    (sentence,) = curves_section(run(*"abcde"), []).sentences
    assert f"{np.mean(gaps):.3f} to {np.mean(gaps):.3f} above the mean" in sentence


def test_selection_without_an_attack_is_called_that() -> None:
    (sentence,) = curves_section(run("ens", select="clean"), []).sentences
    assert "highest accuracy without an attack on the validation images" in sentence


def test_a_single_model_has_no_spread_and_a_short_training_fewer_evaluations() -> None:
    short = replace(run("ens"), histories={"m": history(RIGHT[0], 3)[:1]})
    first, second = curves_section(short, []).tables
    assert first.body == [["m", "0.750", f"{np.mean(RIGHT[0][:5]) / 200:.3f}"]]
    assert "±" not in first.note + second.note
    assert "the last ten at most" in first.note
    assert second.body == [["m", "400", "0.750", "0.200", f"{0.2 - np.mean(RIGHT[0][:5]) / 200:+.3f}"]]


def drawn(smooth: int) -> Any:
    (drawing,) = curves_section(run("ens", smooth=smooth), []).drawings
    clean, attacked = drawing.make(False).axes
    assert (clean.get_title(loc="left"), attacked.get_title(loc="left")) == ("no attack", "under PGD-1, eps 8/255")
    return drawing, attacked.lines


@pytest.mark.parametrize("smooth", [1, 3])
def test_every_evaluation_of_every_network_is_drawn(smooth: int) -> None:
    _, lines = drawn(smooth)
    marks = {(x, round(y * 200)) for x, y in zip(lines[0].get_xdata(), lines[0].get_ydata(), strict=True)}
    assert marks == {(x, n) for seed in (0, 1) for x, n in zip(STEPS, RIGHT[seed], strict=True)}
    mean = np.mean([RIGHT[0], RIGHT[1]], axis=0) / 200
    assert lines[1].get_ydata() == pytest.approx(mean)
    rings = lines[-1]
    assert [*zip(rings.get_xdata(), rings.get_ydata(), strict=True)] == [(600, 0.45), (700, 0.4)]


def test_a_running_median_lies_over_the_mean() -> None:
    drawing, lines = drawn(3)
    mean = pd.Series(np.mean([RIGHT[0], RIGHT[1]], axis=0) / 200)
    middle = [np.nan, *(float(np.median(mean[i - 1 : i + 2])) for i in range(1, 11)), np.nan]
    assert lines[2].get_ydata() == pytest.approx(middle, nan_ok=True), "there is none where the window is not full"
    assert lines[2].get_linewidth() > lines[1].get_linewidth()
    assert "running median over 3 evaluations" in drawing.caption
    assert "running median" not in drawn(1)[0].caption


def test_groups_have_a_legend() -> None:
    (drawing,) = curves_section(run("ens", "single"), []).drawings
    figure = drawing.make(True)
    assert [text.get_text() for text in figure.legends[0].texts] == ["ens", "single"]


@pytest.mark.parametrize(
    ("select", "split", "doubts"),
    [
        ("PGD-1", "test", ["accuracy under PGD-1 on the images that they are tested on"]),
        ("clean", "test", ["their clean accuracy on the images that they are tested on"]),
        ("PGD-1", "validation", []),
        ("none", "test", []),
    ],
)
def test_selection_on_the_test_is_a_doubt(select: str, split: str, doubts: list[str]) -> None:
    one = run("ens", select=select, split=split)
    sentences = training_doubts(one.record, one.histories)
    assert len(sentences) == len(doubts)
    assert all(doubt in sentence for doubt, sentence in zip(doubts, sentences, strict=True))
