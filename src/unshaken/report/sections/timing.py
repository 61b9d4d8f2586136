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
from unshaken.report.drawing import INK, MUTED, attack_colours, facets, legend, log_axis, row_ticks, styled
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import UNKNOWN, if_known, increase_text, significant_digits
from unshaken.runs.record import RunRecord

WORDING = Wording("timing")


class Timing(NamedTuple):
    """One analysis of one model.

    `table` has a row for each attack: rounds, seconds (median), ratio to the base within rounds (median) with low and
    high, the increase over the base and the published one over MEAN (NaN where there is none).
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
    table = timing_table(timings, run.record)
    texts = timings[0].base, bool(table.data.published.notna().any())
    drawing = WORDING.drawing("attack_time", lambda narrow: timing_figure(timings, narrow=narrow), *texts)
    return Section("time", WORDING.title(), list(map(_sentence, timings)), [drawing], [table])


def measure_timings(run: StoredRun) -> list[Timing]:
    """Every analysis of every model, attacks in the order of the recipe."""
    rows, timings = run.analyses.get("attack_time"), []
    if rows is None:
        return []
    for (model, analysis), rounds in rows.groupby(["model", "analysis"], sort=False):
        seconds = rounds.pivot(index="round", columns="attack", values="seconds")[list(rounds.attack.unique())]
        base = _base(list(seconds), run.record)
        title = distinguishing_title({"model": model, "analysis": analysis}, rows)
        ratios = {attack: median_interval(seconds[attack] / seconds[base]) for attack in seconds}
        ratios[base] = Interval(1, 1, 1)  # also of too few rounds for an interval
        table = DataFrame({"title": title, "model": model, "attack": list(seconds), "rounds": len(seconds)})
        table["seconds"] = seconds.median().to_numpy()
        table[["ratio", "low", "high"]] = list(ratios.values())
        table["increase"] = table.ratio - 1
        table["published"] = table.attack.map(run.record.paper.time.get(run.record.data.name, {}))
        timings.append(Timing(title, model, base, table))
    return timings


def median_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """The median with the narrowest pair of order statistics x_(k), x_(n+1−k) around it that has the level.

    The number of values below the true median is binomial (n, 1/2); with fewer than six values no pair has 95 %, and
    low and high are NaN.
    """
    ordered, n = np.sort(values), len(values)
    k = int((bdtr(np.arange(n // 2), n, 0.5) <= (1 - level) / 2).sum())
    median = UNKNOWN._replace(value=float(np.median(ordered)))
    return median._replace(low=float(ordered[k - 1]), high=float(ordered[n - k])) if k else median


def timing_table(timings: Sequence[Timing], record: RunRecord) -> Table:
    """Seconds per batch, ratio to MEAN, increase, and the published increase where there is one."""
    data = pd.concat([timing.table for timing in timings], ignore_index=True)
    published = bool(data.published.notna().any())
    intervals = [f" [{row.low:.2f}, {row.high:.2f}]" if row.low < row.high else "" for row in data.itertuples()]
    columns = {
        "model": data.title if len(timings) > 1 else None,
        "attack": data.attack,
        "ms per batch": map(significant_digits, 1000 * data.seconds),
        f"time ÷ {timings[0].base}": data.ratio.map("{:.2f}".format) + intervals,
        "increase": ["" if row.ratio == row.low == 1 else increase_text(row.increase) for row in data.itertuples()],
        "published": [if_known(value, increase_text) for value in data.published] if published else None,
    }
    note = WORDING.note(data.rounds.max(), record.paper.source if published else "")
    return column_table("attack_time", data, columns, note=note)


@styled()
def timing_figure(timings: Sequence[Timing], *, narrow: bool = False) -> Figure:
    """Time relative to MEAN on a log axis: one line for each attack, one set of axes for each model."""
    height = 0.21 * max(len(timing.table) for timing in timings) + 0.8
    figure, axes = facets(len(timings), narrow=narrow, height=height, more=0.35)
    handles: dict[str, Any] = {}
    ratios = [ratio for timing in timings for ratio in (*timing.table.ratio, *(1 + timing.table.published))]
    hollow: dict[str, Any] = {"marker": "o", "ms": 8, "mfc": "none", "mec": INK, "mew": 0.9, "ls": ""}
    for axis, timing in zip(axes, timings, strict=True):
        for row in timing.table.itertuples():
            colour = attack_colours([row.attack])[row.attack]  # by itself no lighter for fewer draws
            if row.low == row.low:
                axis.plot([row.low, row.high], [row.Index] * 2, color=colour, lw=1.6)
            axis.plot(row.ratio, row.Index, "o", ms=5.5, color=colour)
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
    return [*means, *(label for label in attacks if label.startswith("MEAN")), *attacks][0]


def _sentence(timing: Timing) -> str:
    """The time of one batch, and the factors of MOMENTS, FGSM-10 and the attack that takes longest."""
    table = timing.table.set_index("attack")
    ratios = table.ratio.drop(timing.base)
    labels = [label for label in ("MOMENTS", "FGSM-10") if label in ratios] + list(ratios.nlargest(1).index)
    return WORDING.sentence(timing, table.seconds[timing.base], {label: ratios[label] for label in labels})
