"""What attacks do to auto-encoders: numbers of single models and of groups, lines against eps, and images."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import source

from unshaken.report.sections.latents import (
    informative_eps,
    latent_shifts,
    latents_section,
    pictured_shifts,
    pictures_figure,
)

RANDOM = np.random.default_rng(0)
N, EPS = 60, (0.1, 0.2)
APART = RANDOM.uniform(4, 6, N)
NOISE = RANDOM.normal(0, 0.1, N)


def picture(shade: int) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.stack([np.full((4, 5, 1), shade + step, dtype=np.uint8) for step in range(4)]))
    return stream.getvalue()


def rows(model: str, strength: float, *, attack: str = "PGD-1", pictures: int = 3) -> pd.DataFrame:
    """At eps 0.1 the latent moves by about `strength`, at 0.2 by twice that; errors grow by a hundredth of it."""
    parts = []
    for eps in EPS:
        shift = strength * eps * 10 + NOISE
        columns = {"index": range(N), "attack": attack, "eps": eps, "draws": 1, "label": 0, "apart": APART}
        columns |= {"shift": shift, "clean_error": 0.02 + NOISE / 100, "error": 0.02 + shift / 100}
        columns |= {"before": 0, "after": [int(i < 100 * eps) for i in range(N)]}
        columns["picture"] = [picture(10 * i) if i < pictures else b"" for i in range(N)]
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True).assign(model=model, analysis="latent shift")


def run(*parts: pd.DataFrame, **content):
    return source(analyses={"latent_shift": pd.concat(parts, ignore_index=True)}, **content)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return values.mean(), values.mean() - half, values.mean() + half


def test_the_table_has_a_line_for_each_model_and_size():
    (table,) = latents_section(run(rows("plain", 2.0), rows("robust", 0.5)), []).tables
    assert table.head == [
        *("model", "eps", "median shift", "of the distance", "mean shift", "error", "error of clean", "label changed")
    ]
    shift = 2 + NOISE
    assert [line[:2] for line in table.body] == [
        ["plain", "0.1"],
        ["plain", "0.2"],
        ["robust", "0.1"],
        ["robust", "0.2"],
    ]
    first = table.body[0]
    assert first[2:4] == [f"{np.median(shift):.3f}", f"{np.median(shift) / np.median(APART):.2f}"]
    assert first[4] == "{:.3f} [{:.3f}, {:.3f}]".format(*interval(shift))
    assert first[5] == "{:.3f} [{:.3f}, {:.3f}]".format(*interval(0.02 + shift / 100))
    assert first[6] == "{:.3f} [{:.3f}, {:.3f}]".format(*interval(0.02 + NOISE / 100))
    assert first[7].startswith(f"{10 / N:.3f} [")
    line = table.data.iloc[3]
    assert (line.model, line.eps, line.n, line.networks) == ("robust", 0.2, N, 1)
    assert line.share == pytest.approx(np.median(1 + NOISE) / np.median(APART))


def test_the_sentence_compares_errors_paired_by_input_at_the_largest_size():
    (sentence,) = latents_section(run(rows("plain", 2.0), rows("robust", 0.5)), []).sentences
    moved = [np.median(k * 2 + NOISE) / np.median(APART) for k in (2.0, 0.5)]
    assert sentence.startswith(
        f"At eps 0.2, PGD-1 moves the latent of an image by {moved[0]:.0%}".replace("%", " %")
        + " of the distance between two images on plain (medians), and the error of its reconstruction goes from "
        f"{(0.02 + NOISE / 100).mean():.3f} to {(0.02 + (4 + NOISE) / 100).mean():.3f}; on robust by "
    )
    assert sentence.endswith("difference -0.030 [-0.030, -0.030].")


def test_an_interval_of_the_sentence_shares_its_level_with_the_others():
    noisy = rows("noisy", 2.0)
    change = RANDOM.normal(0, 0.01, N)
    noisy.loc[noisy.eps == 0.2, "error"] += change
    (sentence,) = latents_section(run(rows("plain", 2.0), noisy, rows("robust", 0.5)), []).sentences
    _, low, high = interval(change, 1 - 0.05 / 2)
    assert f"[{low:+.5f}, {high:+.5f}]" in sentence or f"[{low:+.4f}, {high:+.4f}]" in sentence


def test_one_model_is_told_of_by_itself():
    (sentence,) = latents_section(run(rows("m", 2.0)), []).sentences
    assert " on m" not in sentence
    assert sentence.count(";") == 0


def test_networks_of_a_group_are_one_model():
    entries = [{"label": f"plain, seed {s}", "group": "plain", "seed": s} for s in (0, 1)]
    parts = [rows("plain, seed 0", 2.0), rows("plain, seed 1", 3.0, pictures=0)]
    stored = run(*parts, recipe={"models": entries})
    (shift,) = latent_shifts(stored)
    assert (shift.name, shift.rows["repeat"].nunique()) == ("plain", 2)
    (table,) = latents_section(stored, []).tables
    assert table.data.networks.tolist() == [2, 2]
    assert table.data["shift"][0] == pytest.approx((2.5 + NOISE).mean())
    assert (table.data.shift_high - table.data.shift_low)[0] > 1  # two networks that differ by one


@pytest.mark.parametrize("narrow", [False, True])
def test_lines_start_at_the_clean_images(narrow):
    section = latents_section(run(rows("plain", 2.0), rows("robust", 0.5)), [])
    figure = section.drawings[0].make(narrow)
    assert len(figure.axes) == 2
    for axis, start in zip(figure.axes, (0.0, (0.02 + NOISE / 100).mean()), strict=True):
        lines = [line for line in axis.get_lines() if len(line.get_xdata()) == 3]
        assert [list(line.get_xdata()) for line in lines] == [[0, 0.1, 0.2]] * 2
        assert [line.get_ydata()[0] for line in lines] == pytest.approx([start] * 2)
        assert axis.get_ylim()[1] > max(line.get_ydata().max() for line in lines)
    assert figure.axes[0].get_lines()[-1].get_ydata()[2] == pytest.approx((1 + NOISE).mean())


def test_each_attack_has_a_row_of_axes_a_sentence_and_a_column_of_its_name():
    section = latents_section(run(rows("m", 2.0), rows("m", 1.0, attack="PGD-1 (loss cw)")), [])
    assert len(section.sentences) == 2
    assert [axis.get_title("left") for axis in section.drawings[0].make(False).axes] == [
        *["PGD-1"] * 2,
        *["PGD-1 (loss cw)"] * 2,
    ]
    (table,) = section.tables
    assert table.head[:2] == ["attack", "eps"]
    assert [line[0] for line in table.body] == ["PGD-1"] * 2 + ["PGD-1 (loss cw)"] * 2


def test_pictures_are_of_the_attack_that_moves_furthest_where_it_moves_half_of_the_distance():
    shifts = latent_shifts(run(rows("plain", 1.4), rows("robust", 0.5), rows("plain", 2.8, attack="other")))
    assert [(shift.name, shift.attack) for shift in pictured_shifts(shifts)] == [("plain", "other")]
    assert informative_eps(pictured_shifts(shifts)) == 0.1
    assert informative_eps(shifts[:2]) == 0.2
    figure = pictures_figure(shifts[:2], 0.1)
    images = [axis.get_images()[0].get_array() for axis in figure.axes]
    assert len(images) == (1 + 3 + 3) * 3
    shades = [float(image.mean() * 255) for image in images]
    assert shades[:3] == pytest.approx([0, 10, 20])  # clean
    assert shades[6:9] == pytest.approx([2, 12, 22])  # attacked


def test_without_pictures_there_is_no_figure_of_them():
    section = latents_section(run(rows("m", 2.0, pictures=0)), [])
    assert [drawing.name for drawing in section.drawings] == ["latents"]


def test_a_run_without_the_analysis_has_no_section():
    assert latents_section(source(), []) is None
