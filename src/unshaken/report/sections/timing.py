"""What attacks take in time relative to MEAN, beside the published times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.evaluation.statistics import Interval
from unshaken.report.accuracy import Panel
from unshaken.report.drawing import COLOURS, INK, MUTED, OTHERS, SCHEMES, empty_figure, legend, log_axis, styled
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import increase_text, listed, significant_digits, times_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

NONE = float("nan")


class Timing(NamedTuple):
    """One analysis of one model.

    `table` has a row for each attack: rounds, seconds (median), ratio to the base within rounds (median) with low and
    high, and the published increase over MEAN (NaN where there is none).
    """

    title: str
    model: str
    base: str
    table: DataFrame


def timing_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Time per batch of every attack relative to MEAN; None where it was not measured."""
    found = measured(source)
    if not found:
        return None
    published = any(part.table.published.notna().any() for part in found)
    beside = " Hollow circles are the published times." if published else ""
    drawing = Drawing(
        "attack_time",
        lambda narrow: timing_figure(found, narrow=narrow),
        "Time of every attack relative to MEAN; the numbers are in the table below",
        f"Time for one batch divided by that of {found[0].base} in the same round, the median over rounds with its "
        f"95 % interval, on a logarithmic axis.{beside}",
    )
    return Section(
        "time",
        "What an attack takes",
        [_sentence(part) for part in found],
        [drawing],
        [timing_table(found, source.about)],
    )


def measured(source: StoredRun) -> list[Timing]:
    """Every analysis of every model, attacks in the order of the recipe."""
    import pandas as pd

    rows = source.analyses.get("attack_time")
    if rows is None or len(rows) == 0:
        return []
    data = (source.about.get("data") or {}).get("name", "")
    published = (source.about.get("paper") or {}).get("time", {}).get(data, {})
    keys, found = ["model", "analysis"], []
    for names, part in rows.groupby(keys, sort=False):
        title = ", ".join(name for key, name in zip(keys, names, strict=True) if rows[key].nunique() > 1)
        seconds = part.pivot(index="round", columns="attack", values="seconds")[list(part.attack.unique())]
        base = _base(list(seconds), source.about)
        values = []
        for attack, column in seconds.items():
            ratio = Interval(1, 1, 1) if attack == base else median_interval((column / seconds[base]).tolist())
            values.append((attack, len(column), column.median(), *ratio, published.get(attack, NONE)))
        names_of = ["attack", "rounds", "seconds", "ratio", "low", "high", "published"]
        found.append(Timing(title, names[0], base, pd.DataFrame(values, columns=names_of)))
    return found


def median_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """The median with the narrowest pair of order statistics x_(k), x_(n+1−k) around it that has the level.

    The number of values below the true median is binomial (n, 1/2); with fewer than six values no pair has 95 %, and
    low and high are NaN.
    """
    import numpy as np
    from scipy.special import bdtr

    ordered = sorted(values)
    n, tail = len(ordered), (1 - level) / 2
    below = [k for k in range(1, n // 2 + 1) if bdtr(k - 1, n, 0.5) <= tail]
    middle = float(np.median(ordered))
    return Interval(middle, ordered[below[-1] - 1], ordered[n - below[-1]]) if below else Interval(middle, NONE, NONE)


def timing_table(found: Sequence[Timing], about: dict[str, Any]) -> Table:
    """Seconds per batch, ratio to MEAN, increase, and the published increase where there is one."""
    import pandas as pd

    data = pd.concat([part.table.assign(title=part.title, model=part.model) for part in found], ignore_index=True)
    data = data.assign(increase=data.ratio - 1)[
        ["title", "model", "attack", "rounds", "seconds", "ratio", "low", "high", "increase", "published"]
    ]
    published, titled = bool(data.published.notna().any()), len(found) > 1
    body = []
    for row in data.itertuples():
        known = row.low == row.low and row.low < row.high
        ratio = f"{row.ratio:.2f} [{row.low:.2f}, {row.high:.2f}]" if known else f"{row.ratio:.2f}"
        cells = [str(row.attack), significant_digits(1000 * row.seconds), ratio]
        cells += ["" if row.ratio == 1 and row.low == 1 else increase_text(row.increase)]
        cells += ["" if row.published != row.published else increase_text(row.published)] * published
        body.append([str(row.title)] * titled + cells)
    head = ["attack", "ms per batch", f"time ÷ {found[0].base}", "increase"] + ["published"] * published
    rounds = f"Medians over {data.rounds.max():,} rounds, in which the attacks take turns"
    interval = ", with the 95 % interval of a median." if data.rounds.max() >= 6 else "; an interval needs six."
    source = (about.get("paper") or {}).get("source", "")
    note = rounds + interval + (f" Published in {source}." if published and source else "")
    return Table("attack_time", data, ["model"] * titled + head, body, note=note)


@styled()
def timing_figure(found: Sequence[Timing], *, narrow: bool = False) -> Figure:
    """Time relative to MEAN on a log axis: one line for each attack, one set of axes for each model."""
    columns = 1 if narrow else min(len(found), 2)
    rows = -(-len(found) // columns)
    most = max(len(part.table) for part in found)
    figure = empty_figure(3.7 if narrow else 7.6, (0.21 * most + 0.8) * rows + 0.35)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    handles: dict[str, Any] = {}
    reach = [value for part in found for value in (*part.table.ratio, *(1 + part.table.published))]
    for place, part in enumerate(found):
        handles |= _draw(axes[place], part)
        log_axis(axes[place], reach)
        axes[place].set_title(part.title)
    for empty in axes[len(found) :]:
        empty.set_visible(False)
    if len(handles) > 1:
        legend(figure, handles, below=True)
    return figure


def attack_colour(label: str) -> str:
    """The colour of an attack by its name: that of its scheme, or of its kind."""
    kind, _, draws = label.partition(" (")[0].lower().partition("-")
    return SCHEMES.get(draws) or SCHEMES.get(kind) or COLOURS.get(kind, OTHERS[0])


def _draw(axis: Axes, part: Timing) -> dict[str, Any]:
    """One model; returns label -> mark for the legend."""
    handles: dict[str, Any] = {}
    for place, row in enumerate(part.table.itertuples()):
        if row.low == row.low:
            axis.plot([row.low, row.high], [place, place], color=attack_colour(row.attack), lw=1.6)
        axis.plot(row.ratio, place, "o", ms=5.5, color=attack_colour(row.attack))
    known = part.table[part.table.published.notna()]
    if len(known):
        (handles["this run"],) = axis.plot([], [], "o", ms=5.5, color=INK)
        (handles["published"],) = axis.plot(
            1 + known.published, known.index, "o", ms=8, mfc="none", mec=INK, mew=0.9, ls=""
        )
    axis.axvline(1, color=MUTED, lw=0.8, ls=(0, (4, 3)))
    axis.set_yticks(range(len(part.table)), part.table.attack)
    axis.set_ylim(len(part.table) - 0.4, -0.6)
    axis.grid(True, axis="both")
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(f"time ÷ {part.base}")
    return handles


def _base(attacks: Sequence[str], about: dict[str, Any]) -> str:
    """The attack that times are relative to: the first on the average network, otherwise the first."""
    entries = {entry["label"]: entry for entry in about.get("recipe", {}).get("attacks", []) if "label" in entry}
    means = [label for label in attacks if entries.get(label, {}).get("kind", label.lower()) == "mean"]
    return (means or [label for label in attacks if label.startswith("MEAN")] or list(attacks))[0]


def _sentence(part: Timing) -> str:
    """The time of one batch, and the factors of the other attacks from the least to the most."""
    told = part.table.set_index("attack")
    base = told.seconds[part.base]
    unit = f"{significant_digits(1000 * base)} ms" if base < 1 else f"{significant_digits(base)} s"
    where = f"On {part.title}, one" if part.title else "One"
    ratios = told.ratio.drop(part.base)
    if len(ratios) == 0:
        return f"{where} batch takes {part.base} {unit}."
    chosen = [label for label in ("MOMENTS", "FGSM-10") if label in ratios]
    chosen += [label for label in (ratios.idxmax(),) if label not in chosen]
    first, *others = [f"{times_text(ratios[label])}" for label in chosen]
    longer = [f"{chosen[0]} takes {first} as long", *(f"{c} {t}" for c, t in zip(chosen[1:], others, strict=True))]
    return f"{where} batch takes {part.base} {unit}; {listed(longer)}."
