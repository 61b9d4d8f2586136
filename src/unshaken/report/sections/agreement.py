"""How far cheap gradients agree with a well-sampled one: box plots, a table, and MEAN beside ten draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from unshaken.evaluation.statistics import Interval
from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import BOX_COLUMNS, box_cells, box_numbers, box_ticks, draw_boxes, mean_interval
from unshaken.report.drawing import COLOURS, MUTED, SCHEMES, facets, shade, styled
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import difference_text, draws_text, significance_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

BESIDE = "10"
"""The number of draws that MEAN is set beside, where it was measured."""

MORE = ["mean_more", "mean_more_low", "mean_more_high"]


class Agreement(NamedTuple):
    """One analysis of one model: `table` has a column for each entry of `draws`, a row for each input and repeat.

    `reference` is the number of draws of the gradient that the others are compared with, None where it is not known.
    """

    title: str
    model: str
    reference: int | None
    table: DataFrame


def agreement_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
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


def measured(source: StoredRun) -> list[Agreement]:
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


def agreement_table(found: Sequence[Agreement]) -> Table:
    """Mean with its interval, quartiles and n for every entry of `draws`; what MEAN has more, paired by input."""
    import pandas as pd

    tables = []
    for part in found:
        numbers = box_numbers(dict(part.table.items())).rename_axis("draws").reset_index()
        more = pd.DataFrame([_mean_more(part.table, draws) for draws in numbers.draws], columns=MORE)
        tables.append(pd.concat([numbers.assign(title=part.title, model=part.model), more], axis=1))
    data = pd.concat(tables, ignore_index=True)[["title", "model", "draws", *BOX_COLUMNS, *MORE]]
    compared, titled = bool(data.mean_more.notna().any()), len(found) > 1
    shown = ["gradient of", "mean", "median", "quartiles", "n"] + ["MEAN has more by"] * compared
    body = []
    for row in data.itertuples():
        cells = [draws_text(row.draws), *box_cells(row)]
        gap = Interval(row.mean_more, row.mean_more_low, row.mean_more_high)
        cells += ["" if gap.value != gap.value else difference_text(gap)] * compared
        body.append([str(row.title)] * titled + cells)
    return Table(
        "gradient_agreement",
        data.rename(columns={"mean": "agreement"}),
        ["model"] * titled + shown,
        body,
        note="The mean over inputs and repeats of the draws with its 95 % interval."
        + " The last column is paired by input and repeat." * compared,
    )


@styled()
def agreement_figure(found: Sequence[Agreement], *, narrow: bool = False) -> Figure:
    """Box plots of the agreement, one box for each entry of `draws`, one set of axes for each model."""
    one = narrow or len(found) == 1
    figure, axes = facets(len(found), narrow=narrow, height=2.6 if narrow or not one else 3.2, sharey=True)
    for place, (axis, part) in enumerate(zip(axes, found, strict=True)):
        counts = sorted(int(draws) for draws in part.table if draws.isdigit())
        blue = {str(count): shade(COLOURS["fgsm"], counts, count) for count in counts}
        columns = dict(part.table.items())
        draw_boxes(axis, columns, [SCHEMES.get(str(k)) or blue[str(k)] for k in columns], whiskers=1.5)
        lower = "\n" * narrow  # on a phone there is no room for MOMENTS beside MEAN
        box_ticks(axis, [lower * (draws == "moments") + str(draws).upper() for draws in columns])
        axis.axhline(0.5, color=MUTED, lw=0.8, ls=(0, (4, 3)))
        against = f" of {part.reference} draws" if part.reference else ""
        axis.set(title=part.title, xlabel="draws in the gradient")
        axis.set_ylabel(f"agreement with the signs\nof the gradient{against}" if one or place % 2 == 0 else "")
    return figure


def _mean_more(table: DataFrame, draws: str) -> Sequence[float]:
    """What MEAN has more than another entry, with its interval."""
    if draws == "mean" or "mean" not in table:
        return [float("nan")] * 3
    return mean_interval(table["mean"] - table[draws])


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
        f"{part.table[first].mean():.2f} of the entries, {draws_text(beside)} in {part.table[beside].mean():.2f}: "
        f"{significance_text(more)}."
    )
    for other in rest:
        more = mean_interval(part.table[other] - part.table[beside])
        told += f" {other.upper()} agrees in {part.table[other].mean():.2f}: {significance_text(more)}."
    return told
