"""Strength against cost: accuracy under every attack beside the time that it takes relative to MEAN."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from unshaken.evaluation.statistics import difference
from unshaken.report.accuracy import Panel, above_chance, rows_behind
from unshaken.report.drawing import COLOURS, MARKERS, OTHERS, facets, legend, log_axis, mark_style, styled
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table, interval_cells
from unshaken.report.sections.comparison import shared_level
from unshaken.report.sections.timing import Timing, measure_timings
from unshaken.report.stored_run import StoredRun, attack_of_row
from unshaken.report.wording import one_eps, significant_digits
from unshaken.runs.record import RunRecord

FEWEST = 3  # with fewer repeats the luck of the draws is hardly known, and attacks are told apart by accident

WORDING = Wording("frontier")


class Frontier(NamedTuple):
    """One panel at one eps: `table` has a row for each attack that was timed.

    Its columns: label, attack, attack_draws, accuracy with low and high, time relative to `base` with its interval.
    """

    panel: Panel
    eps: float
    base: str
    table: DataFrame


def frontier_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """What more time buys; None where attacks were not both timed and run against a model that is above chance."""
    frontiers = panel_frontiers(source, panels)
    if not frontiers:
        return None
    drawing = WORDING.drawing("frontier", lambda narrow: frontier_figure(frontiers, narrow=narrow), frontiers[0].base)
    enough = source.rows.repeat.nunique() >= FEWEST
    sentences = [_sentence(frontier, source.rows) for frontier in frontiers] if enough else []
    return Section("frontier", WORDING.title(), sentences, [drawing], [frontier_table(frontiers)])


def panel_frontiers(source: StoredRun, panels: Sequence[Panel]) -> list[Frontier]:
    """Every panel whose attacks were timed, at its informative eps."""
    timings = {timing.model: timing for timing in reversed(measure_timings(source))}  # the first of each model
    frontiers = []
    for panel in panels:
        if panel.model in timings and above_chance(panel, source.rows):
            timing, eps = timings[panel.model], panel.informative(panel.strongest())
            table = _timed_accuracy(panel, eps, timing, source.record)
            if len(table) > 1:
                frontiers.append(Frontier(panel, eps, timing.base, table))
    return frontiers


def frontier_table(frontiers: Sequence[Frontier]) -> Table:
    """Accuracy and relative time of every point of the figure."""
    data = pd.concat([one.table.assign(title=one.panel.title) for one in frontiers], ignore_index=True)
    columns = {
        "model": data.title if len(frontiers) > 1 else None,
        "attack": data.label,
        "eps": data.eps.map(one_eps),
        "accuracy": interval_cells(data, "accuracy", "low", "high"),
        f"time ÷ {frontiers[0].base}": data.time.map(significant_digits),
    }
    names = "title model label eps accuracy low high time time_low time_high"
    return column_table("frontier", data[names.split()], columns)


@styled()
def frontier_figure(frontiers: Sequence[Frontier], *, narrow: bool = False) -> Figure:
    """Accuracy against relative time on a log axis, attacks of one kind joined by a line, one set of axes per panel."""
    height = 2.8 if narrow else 3.0 if len(frontiers) > 1 else 3.7
    figure, axes = facets(len(frontiers), narrow=narrow, height=height, more=0.5, sharey=True)
    handles: dict[str, Any] = {}
    for axis, frontier in zip(axes, frontiers, strict=True):
        sampled = frontier.table.attack_draws.str.isdigit()
        handles |= _draw_sampled(axis, frontier.table[sampled])
        for row in frontier.table[~sampled].itertuples():
            style = mark_style(row.attack, row.attack_draws)
            _bars(axis, frontier.table.loc[[row.Index]], style["color"])
            (handles[row.label],) = axis.plot(row.time, row.accuracy, **style)
        log_axis(axis, frontier.table.time)
        axis.grid(True, axis="both")
        title = ", ".join(filter(None, [frontier.panel.title, f"eps {one_eps(frontier.eps)}"]))
        axis.set(title=title, xlabel=f"time ÷ {frontier.base}")
    for left in axes[:: 1 if narrow else 2]:
        left.set_ylabel("accuracy under attack")
    legend(figure, handles, below=True)
    return figure


def _timed_accuracy(panel: Panel, eps: float, timing: Timing, record: RunRecord) -> DataFrame:
    """The row of `accuracy_table` at one eps of every attack that was timed, with its label and time."""
    points = pd.concat(panel.curves, names=["label"]).reset_index("label").query("eps == @eps")
    recipe = [attack_of_row(record, point)[1] for _, point in points.iterrows()]
    timed = [attack.label if attack else label for attack, label in zip(recipe, points.label, strict=True)]
    times = timing.table.set_index("attack")[["ratio", "low", "high"]].set_axis(
        ["time", "time_low", "time_high"], axis=1
    )
    return points.assign(timed=timed).join(times, on="timed", how="inner").reset_index(drop=True)


def _draw_sampled(axis: Axes, table: DataFrame) -> dict[str, Any]:
    """A line for each kind of attack through its numbers of draws; returns label -> line for the legend."""
    handles: dict[str, Any] = {}
    for index, (kind, family) in enumerate(table.groupby("attack", sort=False)):
        best = family.sort_values("accuracy").drop_duplicates("attack_draws")  # the strongest loss of each
        line = best.sort_values("attack_draws", key=lambda draws: draws.astype(int))
        colour, marker = COLOURS.get(kind, OTHERS[index % len(OTHERS)]), MARKERS.get(kind, "v")
        _bars(axis, line, colour)
        (handles[f"{kind.upper()}-k"],) = axis.plot(line.time, line.accuracy, lw=1.2, ms=4, color=colour, marker=marker)
        style: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 7.5, "color": colour}
        style |= {"xytext": (0, -5), "va": "top"} if index % 2 else {"xytext": (0, 5), "va": "bottom"}
        for point in line.itertuples():
            axis.annotate(point.attack_draws, (point.time, point.accuracy), **style)
    return handles


def _bars(axis: Axes, points: DataFrame, colour: Any) -> None:
    """Thin bars for the intervals of accuracy, and of time where there is one."""
    across = [points.time - points.time_low.fillna(points.time), points.time_high.fillna(points.time) - points.time]
    upright = [points.accuracy - points.low, points.high - points.accuracy]
    axis.errorbar(points.time, points.accuracy, upright, across, fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.45)


def _sentence(frontier: Frontier, rows: DataFrame) -> str:
    """The cheapest attack that no other beats beyond chance, at a level shared out over the comparisons."""
    curves, table = frontier.panel.curves, frontier.table
    strongest = table.loc[table.accuracy.idxmin()]
    best = rows_behind(curves[strongest.label], frontier.eps, rows)
    for cheapest in table.sort_values("time").itertuples():
        attacked = rows_behind(curves[cheapest.label], frontier.eps, rows)
        change = difference(attacked, best, level=shared_level(len(table) - 1))
        if cheapest.label == strongest.label or change.low <= 0:
            break
    return WORDING.sentence(frontier, strongest, cheapest)
