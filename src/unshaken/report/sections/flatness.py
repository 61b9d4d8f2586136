"""Flatness: how far noise moves the loss of inputs, on every model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from unshaken.evaluation.statistics import Interval
from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import BOX_CAPTION, draw_boxes, mean_interval
from unshaken.report.drawing import INK, MUTED, RULE, facets, named_styles, styled
from unshaken.report.groups import group_of, groups
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import decimals_for, eps_text, interval_text, listed, percent, significance_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

LINEAR = 1e-3
"""Changes of the loss up to this many nats, which are none, are drawn on a linear scale, larger ones on a log scale."""


class Flat(NamedTuple):
    """One model, or the networks of a group, under one noise: rows of `flatness` with the seed as `repeat`."""

    name: str
    noise: str
    rows: DataFrame

    def by_input(self, values: Series) -> Series:
        """Mean over copies, by input and network."""
        found: Series = values.groupby([self.rows["index"], self.rows["repeat"]]).mean()
        return found

    def by_network(self, values: Series) -> tuple[Series, Series]:
        """(mean, variance) over inputs and copies, by network."""
        grouped = values.groupby(self.rows["repeat"])
        return grouped.mean(), grouped.var()

    def still(self) -> Series:
        """Of the versions of inputs that are right without noise the share that is right with it, by network."""
        found: Series = self.rows[self.rows.correct].groupby("repeat").survived.mean()
        return found


def flatness_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """How far noise moves the loss; None where it was not measured."""
    found = measured(source)
    if not found:
        return None
    several = any(part.rows["repeat"].nunique() > 1 for part in found)
    drawing = Drawing(
        "flatness",
        lambda narrow: flatness_figure(found, narrow=narrow),
        "Box plots of the change of the loss under noise, for every model; the numbers are in the table below",
        "Loss of an input with noise minus its loss without, for every input and noise: the narrower around 0, the "
        f"flatter is the loss. The axis is linear up to {LINEAR} on either side and logarithmic beyond. {BOX_CAPTION}"
        + " Small marks are the means of single networks."
        * several,
    )
    noises = dict.fromkeys(part.noise for part in found)
    said = [_sentence([part for part in found if part.noise == noise]) for noise in noises]
    return Section("flatness", "How flat the loss is around inputs", said, [drawing], [flatness_table(found, source)])


def measured(source: StoredRun) -> list[Flat]:
    """Every model or group under every noise, in the order of the recipe."""
    rows = source.analyses.get("flatness")
    if rows is None or len(rows) == 0:
        return []
    group = group_of(source.about, rows.model.unique())
    seeds = {label: seed for members in groups(source.about).values() for seed, label in members.items()}
    rows = rows.assign(group=rows.model.map(group), repeat=[seeds.get(model, 0) for model in rows.model])
    noises = rows.groupby(["noise", "size"], sort=False)
    return [
        Flat(str(name), _noise(str(noise), float(size)), part)
        for (noise, size), under in noises
        for name, part in under.groupby("group", sort=False)
    ]


def flatness_table(found: Sequence[Flat], source: StoredRun) -> Table:
    """Mean and variance of the change of the loss, with its sign and without, and the share of inputs still right.

    Published numbers are under [paper.flatness.MODEL] as mean and variance, of any noise or of that of a `size`.
    """
    import pandas as pd

    paper = source.about.get("paper") or {}
    data = pd.DataFrame([_numbers(part, paper.get("flatness", {}).get(part.name, {})) for part in found])
    published, grouped = bool(data.published_mean.notna().any()), bool((data.networks > 1).any())
    titled, body = data.noise.nunique() > 1, []
    decimals = decimals_for([*data.difference, *data.absolute])
    for row in data.itertuples():
        change = interval_text(Interval(row.difference, row.low, row.high), decimals)
        moved = interval_text(Interval(row.absolute, row.absolute_low, row.absolute_high), decimals)
        cells = [
            *[row.model, *[str(row.networks)] * grouped],
            _with(change, row.difference_spread, f".{decimals}f"),
            _with(f"{row.variance:.3g}", row.variance_spread, ".2g"),
            _with(moved, row.absolute_spread, f".{decimals}f"),
            _with(f"{row.absolute_variance:.3g}", row.absolute_variance_spread, ".2g"),
            _with(f"{row.survived:.3f}", row.survived_spread, ".3f"),
        ]
        known = row.published_mean == row.published_mean
        told = [f"{row.published_mean:g}", f"{row.published_variance:g}"] if known else ["", ""]
        body.append([row.noise] * titled + cells + told * published)
    head = ["noise"] * titled + ["model"] + ["networks"] * grouped
    head += ["mean change", "variance", "mean |change|", "variance of |change|", "still right"]
    head += ["published mean", "published variance"] * published
    return Table("flatness", data, head, body, note=_note(data, published, grouped, paper.get("source", "")))


@styled()
def flatness_figure(found: Sequence[Flat], *, narrow: bool = False) -> Figure:
    """One box for each model, lying on its side, on a symmetric log axis; one set of axes for each noise."""
    noises = list(dict.fromkeys(part.noise for part in found))
    names = list(dict.fromkeys(part.name for part in found))
    figure, axes = facets(len(noises), narrow=narrow, height=0.9 + 0.42 * max(len(names), 2), columns=1, sharex=True)
    styles = named_styles(names)
    for axis, noise in zip(axes, noises, strict=True):
        parts = [part for part in found if part.noise == noise]
        _draw(axis, parts, [styles[part.name]["color"] for part in parts])
        axis.set_title(f"noise from {noise}")
    ends = [part.rows.difference.quantile(q) for part in found for q in (0.05, 0.95)]
    _symmetric_axis(axes[0], [*ends, *(part.rows.difference.mean() for part in found)], every=2 if narrow else 1)
    axes[-1].set_xlabel("change of the loss")
    return figure


def _draw(axis: Axes, parts: Sequence[Flat], colours: Sequence[str]) -> None:
    """Boxes over all networks of a group, with a small mark at the mean of each."""
    draw_boxes(axis, {part.name: part.rows.difference for part in parts}, colours, across=True)
    for place, part in enumerate(parts):
        means, _ = part.by_network(part.rows.difference)
        if len(means) > 1:
            axis.plot(means, [place] * len(means), ls="", marker="|", ms=9, mew=1, color=INK, zorder=4)
    axis.axvline(0, color=MUTED, lw=0.8, ls=(0, (4, 3)))
    axis.set_yticks(range(len(parts)), [part.name for part in parts])
    axis.set_ylim(len(parts) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.grid(True, axis="x", color=RULE)
    axis.grid(False, axis="y")


def _symmetric_axis(axis: Axes, values: Sequence[float], *, every: int) -> None:
    """Linear around 0, logarithmic beyond, with ticks at some powers of ten."""
    low, high = min(*values, -LINEAR) * 1.5, max(*values, LINEAR) * 1.5
    powers = range(round(math.log10(LINEAR)), math.ceil(math.log10(max(-low, high))) + 1)
    sizes = [10.0**power for power in powers][every - 1 :: every]
    ticks = [tick for tick in [*(-size for size in reversed(sizes)), 0.0, *sizes] if low <= tick <= high]
    axis.set_xscale("symlog", linthresh=LINEAR, linscale=0.5)
    axis.set_xticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlim(low, high)


def _numbers(part: Flat, known: dict[str, float]) -> dict[str, object]:
    """A line of the .csv: means over networks, with their standard deviation where there are several."""
    rows, change = part.rows, part.rows.difference
    told: dict[str, object] = {"model": part.name, "noise": part.noise, "size": rows["size"].iloc[0]}
    told |= {"networks": rows["repeat"].nunique(), "n": rows["index"].nunique(), "copies": rows["copy"].nunique()}
    for name, values in (("difference", change), ("absolute", change.abs())):
        means, variances = part.by_network(values)
        prefix = "" if name == "difference" else "absolute_"
        told |= dict(zip((name, f"{prefix}low", f"{prefix}high"), mean_interval(part.by_input(values)), strict=True))
        told |= {f"{name}_spread": means.std(), f"{prefix}variance": variances.mean()}
        told |= {f"{prefix}variance_spread": variances.std()}
    told["variance_of_means"] = part.by_input(change).groupby("repeat").var().mean()
    told |= {"survived": part.still().mean(), "survived_spread": part.still().std()}
    here = known.get("size", told["size"]) == told["size"]
    return told | {
        f"published_{word}": known.get(word, math.nan) if here else math.nan for word in ("mean", "variance")
    }


def _with(cell: str, spread: float, form: str) -> str:
    """A cell with the standard deviation over networks, if there are several, behind its first number."""
    value, opened, interval = cell.partition(" [")
    return cell if spread != spread else f"{value} ± {spread:{form}}{opened}{interval}"


def _note(data: DataFrame, published: bool, grouped: bool, source: str) -> str:
    note = "Loss with noise minus loss without, in nats, over "
    note += (
        f"{data.n.max():,} inputs and {data.copies.max()} noises of each: mean with its 95 % interval, and variance. "
    )
    note += "|change| is the same without its sign. Still right: of the versions of inputs that are right without "
    note += "noise, the share that is right with it."
    note += " Numbers after ± are standard deviations over networks." * grouped
    note += " The published numbers are taken to be of the change with its sign" * published
    return note + (f"; their source is {source}." if published and source else "." * published)


def _noise(kind: str, size: float) -> str:
    """ "U(−16/255, 16/255)", "N(0, 0.3²)"."""
    text = eps_text([size])[size]
    squared = f"({text})²" if "/" in text else f"{text}²"
    known = {"uniform": f"U(−{text}, {text})", "gaussian": f"N(0, {squared})"}
    return known.get(kind, f"{kind} noise of size {text}")


def _sentence(parts: Sequence[Flat]) -> str:
    """How far the loss moves on the first model and on each other one, paired by input and network; who stays right.

    The flatter loss is the one that moves less, whichever way.
    """
    base, *others = parts
    moved = {part.name: part.by_input(part.rows.difference.abs()) for part in parts}
    on = f"on {base.name} " * bool(others)
    told = (
        f"Noise from {base.noise} moves the loss of an input by {_moved(base)} on average {on}({_change(base, True)})"
    )
    compared = []
    for part in others:
        gap = mean_interval(moved[part.name] - moved[base.name], level=1 - 0.05 / len(others))
        verdict = ", which is flatter" * (gap.high < 0) + ", which is less flat" * (gap.low > 0)
        by = f"by {_moved(part)} on {part.name} ({_change(part, False)})"
        compared.append(f"{by}{verdict}: {significance_text(gap, decimals_for([gap.value]))}")
    told += f" and {'; '.join(compared)}" * bool(others)
    shares = [percent(float(part.still().mean())) for part in parts]
    right = [f"{share} on {part.name}" if others else share for share, part in zip(shares, parts, strict=True)]
    return f"{told}. Of the predictions that are right without it {listed(right)} stay right."


def _moved(part: Flat) -> str:
    mean = float(part.rows.difference.abs().mean())
    return f"{mean:.{decimals_for([mean])}f}"


def _change(part: Flat, named: bool) -> str:
    """Mean and variance of the change with its sign; in full where they are named."""
    means, variances = part.by_network(part.rows.difference)
    mean, variance = f"{means.mean():+.{decimals_for([means.mean()])}f}", f"{variances.mean():.3g}"
    return f"mean change {mean}, variance {variance}" if named else f"{mean}, {variance}"
