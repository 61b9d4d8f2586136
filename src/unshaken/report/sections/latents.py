"""Auto-encoders under attack: how far the latent is moved, what the decoder makes of it, and images of both."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.evaluation.statistics import Interval
from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import mean_interval
from unshaken.report.drawing import (
    MUTED,
    empty_figure,
    eps_axis,
    facets,
    legend,
    legend_height,
    named_styles,
    sideways_offset,
    styled,
)
from unshaken.report.figures import show_image
from unshaken.report.groups import group_of, groups
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import decimals_for, eps_text, interval_text, percent, significance_text

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

MOST = 4
"""Models, at most, whose images are shown."""


class Shifted(NamedTuple):
    """One model, or the networks of a group, under one attack: rows of `latent_shift` with the seed as `repeat`."""

    name: str
    attack: str
    rows: DataFrame

    def eps(self) -> list[float]:
        return sorted(float(eps) for eps in self.rows.eps.unique())

    def at(self, eps: float, column: str) -> Series:
        """A column at one size by input and network."""
        found: Series = self.rows[self.rows.eps == eps].set_index(["index", "repeat"])[column].astype(float)
        return found

    def clean(self) -> Series:
        """The error of the reconstruction of the clean inputs."""
        return self.at(self.eps()[0], "clean_error")

    def share(self, eps: float) -> float:
        """The median shift in distances between the latents of two inputs."""
        return float(self.at(eps, "shift").median() / self.at(eps, "apart").median())


def latents_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """What attacks do to an auto-encoder; None where it was not measured."""
    found = measured(source)
    if not found:
        return None
    attacks = list(dict.fromkeys(part.attack for part in found))
    drawings = [
        Drawing(
            "latents",
            lambda narrow: latents_figure(found, narrow=narrow),
            "Shift of the latent and error of the reconstruction against eps; the numbers are in the table below",
            "Left, how far the latent is moved; right, the mean squared error per pixel of the reconstruction of the "
            "attacked image, compared with the clean one (at eps 0 that of the clean image itself). Means over images "
            "with 95 % intervals.",
        )
    ]
    kept, eps = shown(found), informative(found)
    if any(_images(part, eps) is not None for part in kept):
        drawings.append(
            Drawing(
                "latent_pictures",
                lambda narrow: pictures_figure(kept, eps, narrow=narrow),
                "Clean images, their reconstructions, attacked images and their reconstructions",
                f"{kept[0].attack} at eps {eps_text(kept[0].eps())[eps]}: images, and what the decoder makes of the "
                "mean of their latents before and after the attack.",
            )
        )
    said = [_sentence([part for part in found if part.attack == attack]) for attack in attacks]
    return Section("latents", "What attacks do to the latent", said, drawings, [latents_table(found)])


def measured(source: StoredRun) -> list[Shifted]:
    """Every attack on every model or group, in the order of the recipe."""
    rows = source.analyses.get("latent_shift")
    if rows is None or len(rows) == 0:
        return []
    group = group_of(source.about, rows.model.unique())
    seeds = {label: seed for members in groups(source.about).values() for seed, label in members.items()}
    rows = rows.assign(group=rows.model.map(group), repeat=[seeds.get(model, 0) for model in rows.model])
    return [
        Shifted(str(name), str(attack), part)
        for attack, under in rows.groupby("attack", sort=False)
        for name, part in under.groupby("group", sort=False)
    ]


def latents_table(found: Sequence[Shifted]) -> Table:
    """Shift of the latent, error of the reconstruction and changed labels of every model, attack and size."""
    import pandas as pd

    values, body = [], []
    texts = eps_text(eps for part in found for eps in part.eps())
    digits = decimals_for(float(part.at(eps, "error").mean()) for part in found for eps in part.eps())
    titled = [len({part[place] for part in found}) > 1 for place in (1, 0)]
    for part in found:
        for eps in part.eps():
            line, cells = _numbers(part, eps, digits)
            values.append({"attack": part.attack, "model": part.name, "eps": eps, **line})
            body.append([part.attack] * titled[0] + [part.name] * titled[1] + [texts[eps], *cells])
    head = ["attack"] * titled[0] + ["model"] * titled[1]
    head += ["eps", "median shift", "of the distance", "mean shift", "error", "error of clean", "label changed"]
    note = (
        f"Over {max(line['n'] for line in values):,} images. Shift: the Euclidean distance of the latents of the "
        "attacked and the clean image; beside it the median as a share of the median distance of the latents of two "
        "images, for a model that codes all images alike has small shifts too. Error: the mean squared error per pixel "
        "of the reconstruction of the attacked image, compared with the clean one. Numbers in brackets are 95 % "
        "intervals of means."
    )
    return Table("latents", pd.DataFrame(values), head, body, note=note)


@styled()
def latents_figure(found: Sequence[Shifted], *, narrow: bool = False) -> Figure:
    """Shift, and error of the reconstruction, against eps: a line for each model, a row of axes for each attack."""
    attacks = list(dict.fromkeys(part.attack for part in found))
    names = list(dict.fromkeys(part.name for part in found))
    more = legend_height(3.7 if narrow else 7.6, names)
    figure, axes = facets(2 * len(attacks), narrow=narrow, height=2.4, more=more)
    styles, handles = named_styles(names), dict[str, Any]()
    for place, axis in enumerate(axes):
        attack, column = attacks[place // 2], ("shift", "error")[place % 2]
        parts = [part for part in found if part.attack == attack]
        handles |= _lines(axis, parts, column, styles)
        title = attack if len(attacks) > 1 else ""
        axis.set(xlabel="eps", ylabel=("shift of the latent", "error per pixel")[place % 2], title=title)
    legend(figure, handles, below=True)
    return figure


@styled()
def pictures_figure(found: Sequence[Shifted], eps: float, *, narrow: bool = False) -> Figure:
    """Images in columns; below a clean one, for every model: reconstruction, attacked image, its reconstruction."""
    kept = [(part.name, images) for part in found if (images := _images(part, eps)) is not None]
    n = min(len(kept[0][1]), 4 if narrow else 8)
    rows: list[tuple[str, Any]] = [("clean", kept[0][1][:, 0])]
    for name, images in kept:
        own = f"{name}\n" * (len(kept) > 1)
        texts = (f"{own}reconstructed", "attacked", "reconstructed")
        rows += [(text, images[:, place]) for place, text in enumerate(texts, 1)]
    width, (high, wide) = 3.7 if narrow else 7.6, rows[0][1].shape[1:3]
    figure = empty_figure(width, len(rows) * (width - 1.2) / n * high / wide + 0.3)
    axes = figure.subplots(len(rows), n, squeeze=False)
    for line, (told, images) in zip(axes, rows, strict=True):
        for axis, image in zip(line, images, strict=False):
            show_image(axis, image / 255)
        line[0].set_ylabel(told, rotation=0, ha="right", va="center", labelpad=8, color=MUTED)
    return figure


def shown(found: Sequence[Shifted]) -> list[Shifted]:
    """The models whose images are shown, under the attack that moves the latent of the first of them furthest."""
    first = [part for part in found if part.name == found[0].name]
    attack = max(first, key=lambda part: part.share(part.eps()[-1])).attack
    return [part for part in found if part.attack == attack][:MOST]


def informative(found: Sequence[Shifted]) -> float:
    """The smallest size at which some model's latent is moved by half of the distance of two, or the largest."""
    moved = [eps for part in found for eps in part.eps() if part.share(eps) >= 0.5]
    return min(moved, default=max(eps for part in found for eps in part.eps()))


def _images(part: Shifted, eps: float) -> np.ndarray | None:
    """The images of the first network at one size, (n, 4, H, W, C) in uint8; None where there are none."""
    import numpy as np

    here = part.rows[(part.rows.eps == eps) & (part.rows.repeat == part.rows.repeat.iloc[0])].sort_values("index")
    stored = [np.load(io.BytesIO(picture), allow_pickle=False) for picture in here.picture if picture]
    return np.stack(stored) if stored else None


def _lines(axis: Axes, parts: Sequence[Shifted], column: str, styles: dict[str, Any]) -> dict[str, Any]:
    """Means with bars of their intervals, from eps 0 on."""
    handles = {}
    for place, part in enumerate(parts):
        sizes = [eps for eps in part.eps() if eps > 0]
        start = Interval(0.0, 0.0, 0.0) if column == "shift" else mean_interval(part.clean())
        means = [start, *(mean_interval(part.at(eps, column)) for eps in sizes)]
        at, values = [0.0, *sizes], [mean.value for mean in means]
        bars = [[mean.value - mean.low for mean in means], [mean.high - mean.value for mean in means]]
        style: dict[str, Any] = {
            "ecolor": styles[part.name]["color"],
            "transform": sideways_offset(axis, place, len(parts)),
        }
        axis.errorbar(at, values, bars, fmt="none", elinewidth=1, **style)
        (handles[part.name],) = axis.plot(at, values, **styles[part.name])
    eps_axis(axis, sorted({0.0, *(eps for part in parts for eps in part.eps())}))
    axis.autoscale(axis="y")
    axis.set_ylim(bottom=0)
    return handles


def _numbers(part: Shifted, eps: float, digits: int) -> tuple[dict[str, Any], list[str]]:
    """A line of the .csv, and its cells."""
    shift, error, clean = part.at(eps, "shift"), part.at(eps, "error"), part.clean()
    changed = (part.at(eps, "before") != part.at(eps, "after")).astype(float)
    line: dict[str, Any] = {"networks": part.rows["repeat"].nunique(), "n": part.rows["index"].nunique()}
    line |= {"median_shift": shift.median(), "median_apart": part.at(eps, "apart").median(), "share": part.share(eps)}
    told = []
    for name, values in (("shift", shift), ("error", error), ("clean_error", clean), ("changed", changed)):
        mean = mean_interval(values)
        line |= dict(zip((name, f"{name}_low", f"{name}_high"), mean, strict=True))
        bounded = Interval(mean.value, max(mean.low, 0.0), min(mean.high, 1.0)) if name == "changed" else mean
        told.append(interval_text(bounded, digits if "error" in name else 3))
    return line, [f"{line['median_shift']:.3f}", f"{line['share']:.2f}", *told]


def _sentence(parts: Sequence[Shifted]) -> str:
    """What an attack does to the first model at the largest size all have, and to each other, paired by input."""
    base, *others = parts
    eps = max(set.intersection(*({*part.eps()} for part in parts)))
    on = f" on {base.name}" * bool(others)
    told = (
        f"At eps {eps_text(base.eps())[eps]}, {base.attack} moves the latent of an image by "
        f"{percent(base.share(eps))} of the distance between two images{on} (medians), and the error of its "
        f"reconstruction goes from {_mean(base.clean())} to {_mean(base.at(eps, 'error'))}"
    )
    compared = []
    for part in others:
        gap = mean_interval(part.at(eps, "error") - base.at(eps, "error"), level=1 - 0.05 / len(others))
        compared.append(
            f"on {part.name} by {percent(part.share(eps))}, from {_mean(part.clean())} to "
            f"{_mean(part.at(eps, 'error'))}: {significance_text(gap, decimals_for([gap.value]))}"
        )
    return "; ".join([told, *compared]) + "."


def _mean(values: Series) -> str:
    mean = float(values.mean())
    return f"{mean:.{decimals_for([mean])}f}"
