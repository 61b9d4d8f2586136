"""Flatness: how far noise moves the loss of inputs, on every model."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series

from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import draw_boxes, mean_interval
from unshaken.report.drawing import INK, facet_figure, named_styles, styled
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table
from unshaken.report.sections.comparison import group_rows, shared_level
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import decimals_for, if_known, percent
from unshaken.runs.published import PublishedFlatness

WORDING = Wording("flatness")
LINEAR = 1e-3  # changes of the loss up to this many nats, which are none, are drawn on a linear scale


class NoisyLoss(NamedTuple):
    """One model, or the networks of a group, under one noise: rows of `flatness` with the seed as `repeat`."""

    name: str
    noise: str
    rows: DataFrame

    def by_input(self, values: Series) -> Series:
        """Mean over copies, by input and network."""
        return values.groupby([self.rows["index"], self.rows["repeat"]]).mean()

    def by_network(self, values: Series) -> tuple[Series, Series]:
        """(mean, variance) over inputs and copies, by network."""
        networks = values.groupby(self.rows["repeat"])
        return networks.mean(), networks.var()

    def still_right(self) -> Series:
        """Of the versions of inputs that are right without noise the share that is right with it, by network."""
        return self.rows[self.rows.correct].groupby("repeat").survived.mean()


def flatness_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """How far noise moves the loss; None where it was not measured."""
    measured = group_rows(source, "flatness", ["noise", "size"])
    losses = [NoisyLoss(name, WORDING.noise(noise, size), rows) for noise, size, name, rows in measured]
    if not losses:
        return None
    several = any(loss.rows["repeat"].nunique() > 1 for loss in losses)
    drawing = WORDING.drawing("flatness", lambda narrow: flatness_figure(losses, narrow=narrow), LINEAR, several)
    noises = dict.fromkeys(loss.noise for loss in losses)
    sentences = [_sentence([loss for loss in losses if loss.noise == noise]) for noise in noises]
    return Section("flatness", WORDING.title(), sentences, [drawing], [flatness_table(losses, source)])


def flatness_table(losses: Sequence[NoisyLoss], source: StoredRun) -> Table:
    """Mean and variance of the change of the loss, with its sign and without, and the share of inputs still right.

    Published numbers are under [paper.flatness.MODEL] as mean and variance, of any noise or of that of a `size`.
    """
    data = pd.DataFrame([_numbers(loss, source.record.paper.flatness.get(loss.name)) for loss in losses])
    published, grouped = bool(data.published_mean.notna().any()), bool((data.networks > 1).any())
    decimals = decimals_for([*data.difference, *data.absolute])
    named = data.rename(columns={"low": "difference_low", "high": "difference_high"})

    def numbers(column: str, form: str, form_of_spread: str = "") -> list[str]:
        """Numbers, with their standard deviation over networks and their interval where they have any."""
        values = named.reindex(columns=[column + end for end in ("", "_spread", "_low", "_high")])
        return [
            f"{value:{form}}"
            + if_known(spread, f" ± {{:{form_of_spread or form}}}".format)
            + (f" [{low:{form}}, {high:{form}}]" if low == low else "")
            for value, spread, low, high in values.itertuples(index=False)
        ]

    columns = {
        "noise": data.noise if data.noise.nunique() > 1 else None,
        "model": data.model,
        "networks": data.networks if grouped else None,
        "mean change": numbers("difference", f".{decimals}f"),
        "variance": numbers("variance", ".3g", ".2g"),
        "mean |change|": numbers("absolute", f".{decimals}f"),
        "variance of |change|": numbers("absolute_variance", ".3g", ".2g"),
        "still right": numbers("survived", ".3f"),
    }
    for statistic in ("mean", "variance") if published else ():
        columns[f"published {statistic}"] = [if_known(v, "{:g}".format) for v in data[f"published_{statistic}"]]
    note = WORDING.note(data, grouped, published, source.record.paper.source)
    return column_table("flatness", data, columns, note=note)


@styled()
def flatness_figure(losses: Sequence[NoisyLoss], *, narrow: bool = False) -> Figure:
    """One box for each model, lying on its side, on a symmetric log axis; one set of axes for each noise."""
    names, noises = (list(dict.fromkeys(getattr(loss, key) for loss in losses)) for key in ("name", "noise"))
    styles, height = named_styles(names), 0.9 + 0.42 * max(len(names), 2)

    def draw(axis: Axes, noise: str) -> None:
        """Boxes over all networks of a group, with a small mark at the mean of each."""
        drawn = {loss.name: loss for loss in losses if loss.noise == noise}
        changes = {name: loss.rows.difference for name, loss in drawn.items()}
        draw_boxes(axis, changes, [styles[name]["color"] for name in drawn], dashed=0, across=True)
        for row, loss in enumerate(drawn.values()):
            means, _ = loss.by_network(loss.rows.difference)
            if len(means) > 1:
                axis.plot(means, [row] * len(means), ls="", marker="|", ms=9, mew=1, color=INK, zorder=4)
        axis.set_title(f"noise from {noise}")

    figure = facet_figure(noises, draw, narrow=narrow, height=height, columns=1, sharex=True)
    ends = [loss.rows.difference.quantile(q) for loss in losses for q in (0.05, 0.95)]
    means = [loss.rows.difference.mean() for loss in losses]
    _symmetric_axis(figure.axes[0], [*ends, *means], every=2 if narrow else 1)
    figure.axes[-1].set_xlabel("change of the loss")
    return figure


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


def _numbers(loss: NoisyLoss, published: PublishedFlatness | None) -> dict[str, Any]:
    """A line of the .csv: means over networks, with their standard deviation where there are several."""
    rows, change, shares = loss.rows, loss.rows.difference, loss.still_right()
    line: dict[str, Any] = {"model": loss.name, "noise": loss.noise, "size": rows["size"].iloc[0]}
    line |= {"networks": rows["repeat"].nunique(), "n": rows["index"].nunique(), "copies": rows["copy"].nunique()}
    for name, prefix, values in (("difference", "", change), ("absolute", "absolute_", change.abs())):
        means, variances = loss.by_network(values)
        line |= dict(zip((name, f"{prefix}low", f"{prefix}high"), mean_interval(loss.by_input(values)), strict=True))
        line |= {f"{name}_spread": means.std(), f"{prefix}variance": variances.mean()}
        line |= {f"{prefix}variance_spread": variances.std()}
    line["variance_of_means"] = loss.by_input(change).groupby("repeat").var().mean()
    line |= {"survived": shares.mean(), "survived_spread": shares.std()}
    if published is None or published.size not in (None, line["size"]):
        published = PublishedFlatness(math.nan, math.nan)
    return line | {"published_mean": published.mean, "published_variance": published.variance}


def _sentence(losses: Sequence[NoisyLoss]) -> str:
    """How far the loss moves on every model, and whether it is flatter than on the first, paired by input."""
    moved = [loss.by_input(loss.rows.difference.abs()) for loss in losses]
    gaps = [mean_interval(values - moved[0], level=shared_level(len(losses) - 1)) for values in moved]
    shares = [percent(float(loss.still_right().mean())) + f" on {loss.name}" * (len(losses) > 1) for loss in losses]
    return WORDING.sentence(losses, gaps, shares)
