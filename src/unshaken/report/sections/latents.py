"""Auto-encoders under attack: how far the latent is moved, what the decoder makes of it, and images of both."""

import io
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series

from unshaken.evaluation.statistics import Interval
from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import mean_interval
from unshaken.report.drawing import MUTED, WIDTHS, empty_figure, eps_lines, facet_figure, named_styles, styled
from unshaken.report.figures import show_image
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table, interval_cells, interval_columns
from unshaken.report.sections.comparison import change_text, eps_curve, group_rows
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import decimals_for, eps_text, interval_text

WORDING, PICTURES = Wording("latents"), Wording("latent_pictures")
MOST = 4  # models, at most, whose images are shown
YLABELS = {"shift": "shift of the latent", "error": "error per pixel"}


class LatentShift(NamedTuple):
    """One model, or the networks of a group, under one attack: rows of `latent_shift` with the seed as `repeat`."""

    name: str
    attack: str
    rows: DataFrame

    def eps(self) -> list[float]:
        return sorted(float(eps) for eps in self.rows.eps.unique())

    def at(self, eps: float, column: str) -> Series:
        """A column at one size by input and network."""
        return self.rows[self.rows.eps == eps].set_index(["index", "repeat"])[column].astype(float)

    def clean(self) -> Series:
        """The error of the reconstruction of the clean inputs."""
        return self.at(self.eps()[0], "clean_error")

    def relative(self, eps: float) -> float:
        """The median shift in distances between the latents of two inputs."""
        return float(self.at(eps, "shift").median() / self.at(eps, "apart").median())

    def images(self, eps: float) -> np.ndarray | None:
        """The images of the first network at one size, (n, 4, H, W, C) in uint8; None where there are none."""
        rows = self.rows[(self.rows.eps == eps) & (self.rows.repeat == self.rows.repeat.iloc[0])].sort_values("index")
        stored = [np.load(io.BytesIO(picture), allow_pickle=False) for picture in rows.picture if picture]
        return np.stack(stored) if stored else None


def latents_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """What attacks do to an auto-encoder; None where it was not measured."""
    shifts = latent_shifts(source)
    if not shifts:
        return None
    pictured, eps = pictured_shifts(shifts), informative_eps(shifts)
    drawings = [
        WORDING.drawing("latents", lambda narrow: latents_figure(shifts, narrow=narrow)),
        PICTURES.drawing(
            "latent_pictures", lambda narrow: pictures_figure(pictured, eps, narrow=narrow), pictured[0], eps
        ),
    ]
    if all(shift.images(eps) is None for shift in pictured):
        drawings.pop()
    attacks = dict.fromkeys(shift.attack for shift in shifts)
    sentences = [_sentence([shift for shift in shifts if shift.attack == attack]) for attack in attacks]
    return Section("latents", WORDING.title(), sentences, drawings, [latents_table(shifts)])


def latent_shifts(source: StoredRun) -> list[LatentShift]:
    """Every attack on every model or group, in the order of the recipe."""
    measured = group_rows(source, "latent_shift", ["attack"])
    return [LatentShift(name, attack, rows) for attack, name, rows in measured]


def latents_table(shifts: Sequence[LatentShift]) -> Table:
    """Shift of the latent, error of the reconstruction and changed labels of every model, attack and size."""
    data = pd.DataFrame([_numbers(shift, eps) for shift in shifts for eps in shift.eps()])
    error_text = partial(interval_text, decimals=decimals_for(data.error))
    shares = data.assign(changed_low=data.changed_low.clip(lower=0), changed_high=data.changed_high.clip(upper=1))
    columns = {
        "attack": data.attack if data.attack.nunique() > 1 else None,
        "model": data.model if data.model.nunique() > 1 else None,
        "eps": data.eps.map(eps_text(data.eps)),
        "median shift": data.median_shift.map("{:.3f}".format),
        "of the distance": data.share.map("{:.2f}".format),
        "mean shift": interval_cells(data, "shift"),
        "error": interval_cells(data, "error", text=error_text),
        "error of clean": interval_cells(data, "clean_error", text=error_text),
        "label changed": interval_cells(shares, "changed"),
    }
    return column_table("latents", data, columns, note=WORDING.note(data))


@styled()
def latents_figure(shifts: Sequence[LatentShift], *, narrow: bool = False) -> Figure:
    """Shift, and error of the reconstruction, against eps: a line for each model, a row of axes for each attack."""
    attacks, names = (list(dict.fromkeys(getattr(shift, key) for shift in shifts)) for key in ("attack", "name"))
    styles = named_styles(names)

    def draw(axis: Axes, content: tuple[str, str]) -> dict[str, Any]:
        attack, column = content
        curves = {}
        for shift in shifts:
            if shift.attack == attack:
                start = Interval(0.0, 0.0, 0.0) if column == "shift" else mean_interval(shift.clean())
                points = {eps: mean_interval(shift.at(eps, column)) for eps in shift.eps() if eps > 0}
                curves[shift.name] = eps_curve({0.0: start} | points)
        title, ylabel = attack if len(attacks) > 1 else "", YLABELS[column]
        handles = eps_lines(axis, curves, styles, title=title, ylabel=ylabel)
        top = max(curve.high.fillna(curve.accuracy).max() for curve in curves.values())
        axis.set_ylim(0, 1.05 * top or 1.0)  # bars are set aside, so that autoscale would not see their ends
        return handles

    contents = [(attack, column) for attack in attacks for column in YLABELS]
    return facet_figure(contents, draw, narrow=narrow, height=2.4, labels=names)


@styled()
def pictures_figure(shifts: Sequence[LatentShift], eps: float, *, narrow: bool = False) -> Figure:
    """Images in columns; below a clean one, for every model: reconstruction, attacked image, its reconstruction."""
    pictured = [(shift.name, images) for shift in shifts if (images := shift.images(eps)) is not None]
    n = min(len(pictured[0][1]), 4 if narrow else 8)
    rows: list[tuple[str, Any]] = [("clean", pictured[0][1][:, 0])]
    for name, images in pictured:
        titles = (f"{name}\n" * (len(pictured) > 1) + "reconstructed", "attacked", "reconstructed")
        rows += [(title, images[:, stage]) for stage, title in enumerate(titles, 1)]
    width, (high, wide) = WIDTHS[narrow], rows[0][1].shape[1:3]
    figure = empty_figure(width, len(rows) * (width - 1.2) / n * high / wide + 0.3)
    axes = figure.subplots(len(rows), n, squeeze=False)
    for row, (title, images) in zip(axes, rows, strict=True):
        for axis, image in zip(row, images, strict=False):
            show_image(axis, image / 255)
        row[0].set_ylabel(title, rotation=0, ha="right", va="center", labelpad=8, color=MUTED)
    return figure


def pictured_shifts(shifts: Sequence[LatentShift]) -> list[LatentShift]:
    """The models whose images are drawn, under the attack that moves the latent of the first of them furthest."""
    of_first = [shift for shift in shifts if shift.name == shifts[0].name]
    attack = max(of_first, key=lambda shift: shift.relative(shift.eps()[-1])).attack
    return [shift for shift in shifts if shift.attack == attack][:MOST]


def informative_eps(shifts: Sequence[LatentShift]) -> float:
    """The smallest size at which some model's latent is moved by half of the distance of two, or the largest."""
    moved = [eps for shift in shifts for eps in shift.eps() if shift.relative(eps) >= 0.5]
    return min(moved, default=max(eps for shift in shifts for eps in shift.eps()))


def _numbers(shift: LatentShift, eps: float) -> dict[str, Any]:
    """A line of the .csv."""
    moved, apart, error = (shift.at(eps, column) for column in ("shift", "apart", "error"))
    changed = (shift.at(eps, "before") != shift.at(eps, "after")).astype(float)
    line: dict[str, Any] = {"attack": shift.attack, "model": shift.name, "eps": eps}
    line |= {"networks": shift.rows["repeat"].nunique(), "n": shift.rows["index"].nunique()}
    line |= {"median_shift": moved.median(), "median_apart": apart.median(), "share": shift.relative(eps)}
    means = {"shift": moved, "error": error, "clean_error": shift.clean(), "changed": changed}
    for name, values in means.items():
        line |= interval_columns(name, mean_interval(values))
    return line


def _sentence(shifts: Sequence[LatentShift]) -> str:
    """What an attack does to the first model at the largest size all have, and to each other, paired by input."""
    base, *others = shifts
    eps = max(set.intersection(*({*shift.eps()} for shift in shifts)))
    errors = [shift.at(eps, "error") for shift in shifts]
    changes = [change_text(error, errors[0], comparisons=len(others), decimals=None) for error in errors[1:]]
    return WORDING.sentence(base, list(zip(others, changes, strict=True)), eps)
