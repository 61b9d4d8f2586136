"""Strength against cost: accuracy under every attack beside the time that it takes relative to MEAN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.evaluation.statistics import difference
from unshaken.report.accuracy import Panel, above_chance, point_at, rows_behind
from unshaken.report.drawing import (
    BROAD_STYLES,
    COLOURS,
    HOLLOW_STYLE,
    MARKERS,
    OTHERS,
    SCHEMES,
    empty_figure,
    legend,
    log_axis,
    styled,
)
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.sections.timing import Timing, measured
from unshaken.report.stored_run import StoredRun, attack_entry
from unshaken.report.wording import eps_text, significant_digits, times_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


FEWEST = 3
"""With fewer repeats the luck of the draws is hardly known, and attacks are told apart by accident."""


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
    found = frontiers(source, panels)
    if not found:
        return None
    drawing = Drawing(
        "frontier",
        lambda narrow: frontier_figure(found, narrow=narrow),
        "Accuracy under attack against the time of the attack; the numbers are in tables/frontier.csv",
        f"Lower is a stronger attack, further left a cheaper one. Time is relative to {found[0].base}; the number at a "
        "point is the draws in each gradient. Bars are 95 % intervals.",
    )
    return Section(
        "frontier",
        "What more time buys",
        [_sentence(part, source.rows) for part in found] if source.rows.repeat.nunique() >= FEWEST else [],
        [drawing],
        [frontier_table(found)],
    )


def frontiers(source: StoredRun, panels: Sequence[Panel]) -> list[Frontier]:
    """Every panel whose attacks were timed, at its informative eps."""
    timings: dict[str, Timing] = {}
    for timing in measured(source):
        timings.setdefault(timing.model, timing)
    found = []
    for panel in panels:
        if panel.model not in timings or not above_chance(panel, source.rows):
            continue
        timing, eps = timings[panel.model], panel.informative(panel.strongest())
        table = _joined(panel, eps, timing, source.about)
        if len(table) > 1:
            found.append(Frontier(panel, eps, timing.base, table))
    return found


def frontier_table(found: Sequence[Frontier]) -> Table:
    """Accuracy and relative time of every point of the figure."""
    import pandas as pd

    titles = [part.panel.title for part in found]
    parts = [part.table.assign(title=part.panel.title, model=part.panel.model, eps=part.eps) for part in found]
    data = pd.concat(parts, ignore_index=True)
    data = data[["title", "model", "label", "eps", "accuracy", "low", "high", "time", "time_low", "time_high"]]
    body = [
        [
            *([row.title] if len(titles) > 1 else []),
            row.label,
            eps_text([row.eps])[row.eps],
            f"{row.accuracy:.3f} [{row.low:.3f}, {row.high:.3f}]",
            significant_digits(row.time),
        ]
        for row in data.itertuples()
    ]
    head = ["model"] * (len(titles) > 1) + ["attack", "eps", "accuracy", f"time ÷ {found[0].base}"]
    return Table("frontier", data, head, body)


@styled()
def frontier_figure(found: Sequence[Frontier], *, narrow: bool = False) -> Figure:
    """Accuracy against relative time on a log axis, attacks of one kind joined by a line, one set of axes per panel."""
    columns = 1 if narrow else min(len(found), 2)
    rows = -(-len(found) // columns)
    figure = empty_figure(3.7 if narrow else 7.6, (2.8 if narrow else 3.0 if columns > 1 else 3.7) * rows + 0.5)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    handles: dict[str, Any] = {}
    for place, part in enumerate(found):
        handles |= _draw(axes[place], part)
        told = f"eps {eps_text([part.eps])[part.eps]}"
        axes[place].set_title(f"{part.panel.title}, {told}" if part.panel.title else told)
        axes[place].set_ylabel("accuracy under attack" if place % columns == 0 else "")
    for empty in axes[len(found) :]:
        empty.set_visible(False)
    legend(figure, handles, below=True)
    return figure


def _joined(panel: Panel, eps: float, timing: Timing, about: dict[str, Any]) -> DataFrame:
    """Accuracy at one eps and time of every attack that has both."""
    import pandas as pd

    times_of, values = timing.table.set_index("attack"), []
    for label, curve in panel.curves.items():
        first = curve.iloc[0]
        timed = attack_entry(about, first)[1].get("label", label)
        if timed in times_of.index and eps in curve.eps.to_numpy():
            point, time = point_at(curve, eps), times_of.loc[timed]
            values.append((label, first.attack, first.attack_draws, *point[:3], time.ratio, time.low, time.high))
    names = ["label", "attack", "attack_draws", "accuracy", "low", "high", "time", "time_low", "time_high"]
    return pd.DataFrame(values, columns=names)


def _draw(axis: Axes, part: Frontier) -> dict[str, Any]:
    """One panel; returns label -> mark for the legend."""
    handles: dict[str, Any] = {}
    sampled = part.table[part.table.attack_draws.str.isdigit()]
    for place, (kind, family) in enumerate(sampled.groupby("attack", sort=False)):
        best = family.sort_values("accuracy").drop_duplicates("attack_draws")  # the strongest loss of each
        path = best.sort_values("attack_draws", key=lambda draws: draws.astype(int))
        style: dict[str, Any] = {
            "color": COLOURS.get(kind, OTHERS[place % len(OTHERS)]),
            "marker": MARKERS.get(kind, "v"),
        }
        _bars(axis, path, style["color"])
        (handles[f"{kind.upper()}-k"],) = axis.plot(path.time, path.accuracy, lw=1.2, ms=4, **style)
        for point in path.itertuples():
            axis.annotate(
                point.attack_draws,
                (point.time, point.accuracy),
                xytext=(0, 5 if place % 2 == 0 else -5),
                textcoords="offset points",
                ha="center",
                va="bottom" if place % 2 == 0 else "top",
                fontsize=7.5,
                color=style["color"],
            )
    for row in part.table[~part.table.attack_draws.str.isdigit()].itertuples():
        scheme = row.attack_draws if row.attack_draws in SCHEMES else row.attack
        colour, marker = SCHEMES.get(scheme, OTHERS[0]), MARKERS.get(row.attack, "v")
        mark: dict[str, Any] = (
            {"ms": 1.15 * BROAD_STYLES[row.attack]["ms"]} if row.attack in BROAD_STYLES else HOLLOW_STYLE
        )
        _bars(axis, part.table[part.table.label == row.label], colour)
        (handles[row.label],) = axis.plot(
            row.time, row.accuracy, ls="", marker=marker, color=colour, zorder=2.5, **mark
        )
    log_axis(axis, part.table.time)
    axis.grid(True, axis="both")
    axis.set_xlabel(f"time ÷ {part.base}")
    return handles


def _bars(axis: Axes, points: DataFrame, colour: Any) -> None:
    """Thin bars for the intervals of accuracy, and of time where there is one."""
    across = [points.time - points.time_low.fillna(points.time), points.time_high.fillna(points.time) - points.time]
    upright = [points.accuracy - points.low, points.high - points.accuracy]
    axis.errorbar(points.time, points.accuracy, upright, across, fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.45)


def _sentence(part: Frontier, rows: DataFrame) -> str:
    """The cheapest attack that no other beats beyond chance, at a level shared out over the comparisons."""
    strongest = part.table.loc[part.table.accuracy.idxmin()]
    level = 1 - 0.05 / max(len(part.table) - 1, 1)
    best = rows_behind(part.panel.curves[strongest.label], part.eps, rows)
    cheapest = strongest
    for _, row in part.table.sort_values("time").iterrows():
        change = difference(rows_behind(part.panel.curves[row.label], part.eps, rows), best, level=level)
        if row.label == strongest.label or change.low <= 0:
            cheapest = row
            break
    where = f"On {part.panel.title}, at" if part.panel.title else "At"
    told = f"{where} eps {eps_text([part.eps])[part.eps]} the strongest attack is {strongest.label}"
    told += f" ({strongest.accuracy:.3f}, {times_text(strongest.time)} the time of {part.base})"
    if cheapest.label == strongest.label:
        return f"{told}; every cheaper one is weaker beyond chance."
    return (
        f"{told}; the cheapest one not told apart from it is {cheapest.label} "
        f"({cheapest.accuracy:.3f}, {times_text(cheapest.time)})."
    )
