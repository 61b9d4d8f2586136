"""How far cheap gradients agree with a well-sampled one: box plots, a table, and MEAN beside ten draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.report.drawing import COLOURS, INK, MUTED, SCHEMES, blank, shade, styled
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.source import Source
from unshaken.report.tables import Panel
from unshaken.report.wording import judged, signed
from unshaken.statistics import Interval, mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

BESIDE = "10"
"""The number of draws that MEAN is set beside, where it was measured."""


class Agreement(NamedTuple):
    """One analysis of one model: `table` has a column for each entry of `draws`, a row for each input and repeat.

    `reference` is the number of draws of the gradient that the others are compared with, None where it is not known.
    """

    title: str
    model: str
    reference: int | None
    table: DataFrame


def agreement_section(source: Source, panels: Sequence[Panel]) -> Section | None:
    """The share of entries of a gradient with the sign of the reference; None where it was not measured."""
    found = measured(source)
    if not found:
        return None
    return Section(
        "agreement",
        "How far a cheap gradient agrees with many draws",
        [sentence for part in found if (sentence := _sentence(part))],
        [
            Drawing(
                "gradient_agreement",
                lambda narrow: agreement_figure(found, narrow=narrow),
                "Box plots of the share of gradient entries with the sign of the reference, for every number of draws",
                "Of every input, the share of the entries of its gradient that have the sign of the reference gradient,"
                " which is taken over other draws. A box holds the middle half of the inputs, its line is the median, "
                "the dot the mean; whiskers reach as far as 1.5 times the box, circles are inputs beyond. The dashed "
                "line is what random signs would give.",
            )
        ],
        [agreement_table(found)],
    )


def measured(source: Source) -> list[Agreement]:
    """Every analysis of every model, in the order of the recipe."""
    rows = source.analyses.get("gradient_agreement")
    if rows is None or len(rows) == 0:
        return []
    entries = {entry["label"]: entry for entry in source.about.get("recipe", {}).get("analyses", [])}
    keys, found = ["model", "analysis"], []
    for (model, analysis), part in rows.groupby(keys, sort=False):
        title = ", ".join(name for key, name in zip(keys, (model, analysis), strict=True) if rows[key].nunique() > 1)
        table = part.pivot(index=["index", "repeat"], columns="draws", values="agreement")[list(part.draws.unique())]
        found.append(Agreement(title, model, entries.get(analysis, {}).get("reference"), table))
    return found


def mean_interval(values: Series, *, level: float = 0.95) -> Interval:
    """Mean over inputs and repeats with both sources of variance; an input without a value in a repeat is left out."""
    table = values.unstack("repeat").dropna()
    if len(table) < 2:
        return Interval(float(table.mean(axis=None)), float("nan"), float("nan"))
    return mean(table.to_numpy(), level=level)


def agreement_table(found: Sequence[Agreement]) -> Table:
    """Mean with its interval, quartiles and n for every entry of `draws`; what MEAN has more, paired by input."""
    import pandas as pd

    values = []
    for part in found:
        for draws, column in part.table.items():
            average, known = mean_interval(column), column.dropna()
            more = [float("nan")] * 3
            if draws != "mean" and "mean" in part.table:
                more = list(mean_interval(part.table["mean"] - column))
            quartiles = known.quantile([0.25, 0.5, 0.75]).tolist()
            values.append(
                (
                    part.title,
                    part.model,
                    draws,
                    known.index.get_level_values("index").nunique(),
                    *average,
                    *quartiles,
                    *more,
                )
            )
    names = ["title", "model", "draws", "n", "agreement", "low", "high", "lower_quartile", "median", "upper_quartile"]
    data = pd.DataFrame(values, columns=[*names, "mean_more", "mean_more_low", "mean_more_high"])
    compared = bool(data.mean_more.notna().any())
    shown = ["gradient of", "mean", "median", "quartiles", "n"] + ["MEAN has more by"] * compared
    titled = len(found) > 1
    body = []
    for row in data.itertuples():
        cells = [
            name(str(row.draws)),
            str(Interval(row.agreement, row.low, row.high)),
            f"{row.median:.3f}",
            f"{row.lower_quartile:.3f} – {row.upper_quartile:.3f}",
            f"{row.n:,}",
        ]
        gap = Interval(row.mean_more, row.mean_more_low, row.mean_more_high)
        cells += ["" if gap.value != gap.value else signed(gap)] * compared
        body.append([str(row.title)] * titled + cells)
    return Table(
        "gradient_agreement",
        data,
        ["model"] * titled + shown,
        body,
        note="The mean over inputs and repeats of the draws with its 95 % interval."
        + " The last column is paired by input and repeat." * compared,
    )


@styled()
def agreement_figure(found: Sequence[Agreement], *, narrow: bool = False) -> Figure:
    """Box plots of the agreement, one box for each entry of `draws`, one set of axes for each model."""
    columns = 1 if narrow else min(len(found), 2)
    rows = -(-len(found) // columns)
    figure = blank(3.7 if narrow else 7.6, (2.6 if columns == 2 or narrow else 3.2) * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for place, part in enumerate(found):
        _boxes(axes[place], part.table, narrow=narrow)
        against = f" of {part.reference} draws" if part.reference else ""
        axes[place].set(title=part.title, xlabel="draws in the gradient")
        axes[place].set_ylabel(f"agreement with the signs\nof the gradient{against}" if place % columns == 0 else "")
    for empty in axes[len(found) :]:
        empty.set_visible(False)
    return figure


def name(draws: str) -> str:
    """ "10 draws", "one draw", "MEAN"."""
    return f"{draws} draws" if draws.isdigit() and draws != "1" else "one draw" if draws == "1" else draws.upper()


def _boxes(axis: Axes, table: DataFrame, *, narrow: bool) -> None:
    """A box for each column: whiskers to 1.5 times its height, the inputs beyond as faint circles."""
    from matplotlib.cbook import boxplot_stats

    counts = sorted(int(draws) for draws in table if draws.isdigit())
    for place, (draws, column) in enumerate(table.items()):
        stats = boxplot_stats(column.dropna().to_numpy(), labels=[str(draws).upper()])
        colour = SCHEMES.get(str(draws)) or shade(COLOURS["fgsm"], counts, int(str(draws)))
        style: dict[str, Any] = {"color": colour, "linewidth": 1.2}
        dot = {"marker": "o", "markersize": 4.5, "markerfacecolor": INK, "markeredgecolor": "none"}
        beyond = {"marker": "o", "markersize": 2.5, "markeredgecolor": colour, "alpha": 0.35, "markeredgewidth": 0.6}
        axis.bxp(
            stats,
            positions=[place],
            widths=0.55,
            showmeans=True,
            boxprops=style,
            whiskerprops=style,
            capprops=style,
            medianprops={"color": colour, "linewidth": 2.6},
            meanprops=dot,
            flierprops=beyond,
        )
    lower = "\n" * narrow  # on a phone there is no room for MOMENTS beside MEAN
    axis.set_xticks(range(table.shape[1]), [lower * (draws == "moments") + str(draws).upper() for draws in table])
    axis.set_xlim(-0.6, table.shape[1] - 0.4)
    axis.axhline(0.5, color=MUTED, lw=0.8, ls=(0, (4, 3)))


def _sentence(part: Agreement) -> str:
    """MEAN and MOMENTS beside ten draws, or the most there are, paired by input."""
    sampled = [draws for draws in part.table if draws.isdigit()]
    cheap = [draws for draws in part.table if draws in SCHEMES]
    if not sampled or not cheap:
        return ""
    beside = BESIDE if BESIDE in sampled else max(sampled, key=int)
    against = f"{part.reference} draws" if part.reference else "many draws"
    first, *rest = cheap
    more = mean_interval(part.table[first] - part.table[beside])
    told = (
        f"{f'On {part.title}, ' if part.title else ''}{first.upper()} agrees with the gradient of {against} in "
        f"{part.table[first].mean():.2f} of the entries, {name(beside)} in {part.table[beside].mean():.2f}: "
        f"{judged(more)}."
    )
    for other in rest:
        more = mean_interval(part.table[other] - part.table[beside])
        told += f" {other.upper()} agrees in {part.table[other].mean():.2f}: {judged(more)}."
    return told
