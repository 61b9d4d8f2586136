"""What attacks take in time relative to MEAN, beside the published times."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas import DataFrame
from scipy.special import bdtr

from unshaken.evaluation.statistics import Interval
from unshaken.report.accuracy import Panel
from unshaken.report.condition_rows import distinguishing_title
from unshaken.report.drawing import (
    COLOURS,
    INK,
    MUTED,
    OTHERS,
    SCHEMES,
    facets,
    legend,
    log_axis,
    row_ticks,
    split_label,
    styled,
)
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.sections.columns import column_table
from unshaken.report.sections.comparison import published_note
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import if_known, increase_text, listed, significant_digits, times_text
from unshaken.runs.record import RunRecord

NAN = float("nan")


class Timing(NamedTuple):
    """One analysis of one model.

    `table` has a row for each attack: rounds, seconds (median), ratio to the base within rounds (median) with low and
    high, and the published increase over MEAN (NaN where there is none).
    """

    title: str
    model: str
    base: str
    table: DataFrame


def timing_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Time per batch of every attack relative to MEAN; None where it was not measured."""
    timings = measure_timings(run)
    if not timings:
        return None
    published = any(timing.table.published.notna().any() for timing in timings)
    drawing = Drawing(
        "attack_time",
        lambda narrow: timing_figure(timings, narrow=narrow),
        "Time of every attack relative to MEAN; the numbers are in the table below",
        f"Time for one batch divided by that of {timings[0].base} in the same round, the median over rounds with its "
        "95 % interval, on a logarithmic axis." + " Hollow circles are the published times." * published,
    )
    table = timing_table(timings, run.record)
    return Section("time", "What an attack takes", list(map(_sentence, timings)), [drawing], [table])


def measure_timings(run: StoredRun) -> list[Timing]:
    """Every analysis of every model, attacks in the order of the recipe."""
    rows, timings = run.analyses.get("attack_time"), []
    if rows is None or len(rows) == 0:
        return []
    published = run.record.paper.time.get(run.record.data.name, {})
    for (model, analysis), rounds in rows.groupby(["model", "analysis"], sort=False):
        seconds = rounds.pivot(index="round", columns="attack", values="seconds")[list(rounds.attack.unique())]
        base, values = _base(list(seconds), run.record), []
        for attack, column in seconds.items():
            ratio = Interval(1, 1, 1) if attack == base else median_interval((column / seconds[base]).tolist())
            values.append((attack, len(column), column.median(), *ratio, published.get(attack, NAN)))
        names = ["attack", "rounds", "seconds", "ratio", "low", "high", "published"]
        title = distinguishing_title({"model": model, "analysis": analysis}, rows)
        timings.append(Timing(title, model, base, pd.DataFrame(values, columns=names)))
    return timings


def median_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """The median with the narrowest pair of order statistics x_(k), x_(n+1−k) around it that has the level.

    The number of values below the true median is binomial (n, 1/2); with fewer than six values no pair has 95 %, and
    low and high are NaN.
    """
    ordered = sorted(values)
    n, tail = len(ordered), (1 - level) / 2
    below = [k for k in range(1, n // 2 + 1) if bdtr(k - 1, n, 0.5) <= tail]
    middle = float(np.median(ordered))
    return Interval(middle, ordered[below[-1] - 1], ordered[n - below[-1]]) if below else Interval(middle, NAN, NAN)


def timing_table(timings: Sequence[Timing], record: RunRecord) -> Table:
    """Seconds per batch, ratio to MEAN, increase, and the published increase where there is one."""
    tables = [timing.table.assign(title=timing.title, model=timing.model) for timing in timings]
    order = ["title", "model", "attack", "rounds", "seconds", "ratio", "low", "high", "increase", "published"]
    data = pd.concat(tables, ignore_index=True).eval("increase = ratio - 1")[order]
    published, rounds = bool(data.published.notna().any()), data.rounds.max()
    intervals = [f" [{row.low:.2f}, {row.high:.2f}]" if row.low < row.high else "" for row in data.itertuples()]
    increases = ["" if row.ratio == row.low == 1 else increase_text(row.increase) for row in data.itertuples()]
    columns = {
        "model": data.title if len(timings) > 1 else None,
        "attack": data.attack,
        "ms per batch": map(significant_digits, 1000 * data.seconds),
        f"time ÷ {timings[0].base}": data.ratio.map("{:.2f}".format) + intervals,
        "increase": increases,
        "published": [if_known(value, increase_text) for value in data.published] if published else None,
    }
    note = f"Medians over {rounds:,} rounds, in which the attacks take turns"
    note += ", with the 95 % interval of a median." if rounds >= 6 else "; an interval needs six."
    return column_table("attack_time", data, columns, note=note + published_note(record) * published)


@styled()
def timing_figure(timings: Sequence[Timing], *, narrow: bool = False) -> Figure:
    """Time relative to MEAN on a log axis: one line for each attack, one set of axes for each model."""
    height = 0.21 * max(len(timing.table) for timing in timings) + 0.8
    figure, axes = facets(len(timings), narrow=narrow, height=height, more=0.35)
    handles: dict[str, Any] = {}
    ratios = [ratio for timing in timings for ratio in (*timing.table.ratio, *(1 + timing.table.published))]
    hollow: dict[str, Any] = {"marker": "o", "ms": 8, "mfc": "none", "mec": INK, "mew": 0.9, "ls": ""}
    for axis, timing in zip(axes, timings, strict=True):
        for index, row in enumerate(timing.table.itertuples()):
            kind, draws, _ = split_label(row.attack)
            colour = SCHEMES.get(draws) or SCHEMES.get(kind) or COLOURS.get(kind, OTHERS[0])
            if row.low == row.low:
                axis.plot([row.low, row.high], [index, index], color=colour, lw=1.6)
            axis.plot(row.ratio, index, "o", ms=5.5, color=colour)
        published = timing.table.published.dropna()
        if len(published):
            (handles["this run"],) = axis.plot([], [], "o", ms=5.5, color=INK)
            (handles["published"],) = axis.plot(1 + published, published.index, **hollow)
        axis.axvline(1, color=MUTED, lw=0.8, ls=(0, (4, 3)))
        row_ticks(axis, list(timing.table.attack))
        axis.grid(True, axis="both")
        axis.set(title=timing.title, xlabel=f"time ÷ {timing.base}")
        log_axis(axis, ratios)
    if handles:
        legend(figure, handles, below=True)
    return figure


def _base(attacks: Sequence[str], record: RunRecord) -> str:
    """The attack that times are relative to: the first on the average network, otherwise the first."""
    kinds = {attack.label: attack.settings.kind for attack in record.recipe.attacks}
    means = [label for label in attacks if kinds.get(label, label.lower()) == "mean"]
    return (means or [label for label in attacks if label.startswith("MEAN")] or list(attacks))[0]


def _sentence(timing: Timing) -> str:
    """The time of one batch, and the factors of the other attacks from the least to the most."""
    table = timing.table.set_index("attack")
    seconds, ratios = table.seconds[timing.base], table.ratio.drop(timing.base)
    duration = f"{significant_digits(1000 * seconds)} ms" if seconds < 1 else f"{significant_digits(seconds)} s"
    start = f"{f'On {timing.title}, one' if timing.title else 'One'} batch takes {timing.base} {duration}"
    if len(ratios) == 0:
        return f"{start}."
    named = [label for label in ("MOMENTS", "FGSM-10") if label in ratios]
    first, *others = dict.fromkeys([*named, ratios.idxmax()])
    longer = [f"{first} takes {times_text(ratios[first])} as long"]
    longer += [f"{label} {times_text(ratios[label])}" for label in others]
    return f"{start}; {listed(longer)}."
