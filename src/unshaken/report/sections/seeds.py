"""Networks of one setting trained from several seeds: what is the setting's, and what the luck of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unshaken.evaluation.statistics import mean
from unshaken.report.accuracy import NORMS, SERIES, Panel, accuracy_table, grid, grid_eps, point_at, rows_behind
from unshaken.report.accuracy import panels as panels_of
from unshaken.report.drawing import (
    eps_axis,
    facets,
    legend,
    legend_height,
    line_styles,
    named_styles,
    sideways_offset,
    styled,
)
from unshaken.report.groups import groups
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.sections.models import place_of, shared
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text, significance_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

THIN = {"lw": 1.4, "ms": 4.5, "zorder": 2.0}
"""Lines that do not hide the marks of the networks."""


def seeds_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Groups of networks; None where no setting was trained from two seeds and attacked."""
    rows = grouped(source)
    found = [panel for panel in panels_of(accuracy_table(rows)) if rows_in(panel, rows).repeat.nunique() > 1]
    if not found:
        return None
    drawing = Drawing(
        "seeds",
        lambda narrow: seeds_figure(found, rows, narrow=narrow),
        "Accuracy against eps of every network and on average over networks; the numbers are in the table below",
        "Lines are means over networks that were trained from different seeds, thin marks the single networks, set "
        "side by side to be legible. Accuracy at eps 0 is that without an attack.",
    )
    swept = any(len(panel.eps()) > 1 for panel in found)
    table = seeds_table(found, rows)
    place = place_of([panel.model for panel in panels])
    return Section(
        "seeds", "What the luck of training does", _sentences(found, rows), [drawing] * swept, [table], place
    )


def grouped(source: StoredRun) -> DataFrame:
    """Sweep rows of the networks of each group, under its name: a network is a repeat, its repeats are averaged."""
    import pandas as pd

    rows, parts = source.rows[source.rows.role == "sweep"], []
    for group, members in groups(source.about).items():
        for seed, label in members.items():
            parts.append(rows[rows.model == label].assign(model=group, repeat=seed))
    if not parts:
        return rows.head(0)
    keys = [*SERIES, "eps", "role", "repeat", "index"]
    told = pd.concat(parts, ignore_index=True)
    return told.groupby(keys, sort=False, as_index=False).correct.mean()


def rows_in(panel: Panel, rows: DataFrame) -> DataFrame:
    """The rows of the networks of a panel."""
    return rows[rows.model == panel.model]


def networks(panel: Panel, label: str, eps: float, rows: DataFrame) -> Series:
    """Accuracy of every network under one attack at one size, by seed; the "no attack" of `grid` is the clean one."""
    if label in panel.curves:
        chosen = rows_behind(panel.curves[label], eps, rows)
    else:
        draws = next(iter(panel.curves.values())).inference_draws.iloc[0]
        clean = (rows.model == panel.model) & (rows.attack == "none") & (rows.inference_draws == draws)
        chosen = rows[clean]
    found: Series = chosen.groupby("repeat").correct.mean()
    return found


def seeds_table(found: Sequence[Panel], rows: DataFrame) -> Table:
    """Mean, standard deviation and best over networks of the accuracy, for every group, attack and size."""
    import pandas as pd

    values, body, titled = [], [], len(found) > 1
    texts = eps_text([0.0, *(eps for panel in found for eps in panel.eps())])
    for panel in found:
        above = [panel.title] * titled
        for label, cells in grid(panel):
            for eps, point in zip(grid_eps(panel), cells, strict=True):
                if point is not None:
                    single = networks(panel, label, eps, rows)
                    told = (single.max(), single.idxmax(), single.min())
                    values.append((panel.title, panel.model, panel.norm, label, eps, len(single), *point, *told))
                    best = f"{single.max():.3f}"
                    body.append([*above, label, texts[eps], str(len(single)), point.in_full(), best])
    names = ["title", "group", "norm", "attack", "eps", "networks", "accuracy", "low", "high", "spread"]
    data = pd.DataFrame(values, columns=[*names, "best", "best_seed", "worst"])
    head = ["networks of"] * titled + ["attack", "eps", "networks", "accuracy", "best"]
    note = "Mean over networks ± their standard deviation, and its 95 % interval, which covers the choice of inputs "
    note += "and the luck of training. The repeats of the draws of each network are averaged first."
    return Table("seeds", data, head, body, note=note)


@styled()
def seeds_figure(found: Sequence[Panel], rows: DataFrame, *, narrow: bool = False) -> Figure:
    """Accuracy against eps, means as lines and networks as marks.

    One set of axes for each attack and a colour for each group, where there are more groups than attacks; otherwise one
    for each group and a colour for each attack.
    """
    parts, groups = _by_attack(found), {panel.model: panel for panel in found}
    of_attacks = 0 < len(parts) < len(groups)
    if of_attacks:
        styles = named_styles(list(groups))
    else:
        styles = line_styles(found)
        parts = {panel.title: {label: (panel, label) for label in panel.curves} for panel in found}
    labels = list(dict.fromkeys(label for part in parts.values() for label in part))
    below = narrow or len(labels) > 18 or len(parts) > 1
    more = legend_height(3.7 if narrow else 7.6, labels) if below and len(labels) > 1 else 0.0
    height = 2.4 if narrow else 3.1 if len(parts) > 1 else 3.7
    figure, axes = facets(len(parts), narrow=narrow, height=height, more=more, sharey=True)
    handles: dict[str, Any] = {}
    for place, (axis, (title, part)) in enumerate(zip(axes, parts.items(), strict=True)):
        handles |= _draw(axis, part, styles, rows)
        panel, _ = next(iter(part.values()))
        axis.set(title=f"under {title}" if of_attacks else title)
        axis.set(xlabel=f"eps ({NORMS.get(panel.norm, panel.norm)} norm)")
        axis.set_ylabel("" if place % 2 and not narrow else "accuracy")
    if len(labels) > 1:
        legend(figure, {label: handles[label] for label in labels}, below=below)
    return figure


def _by_attack(found: Sequence[Panel]) -> dict[str, dict[str, tuple[Panel, str]]]:
    """Every attack with the groups that it was run on; without those whose only size says nothing of them."""
    several = len({(panel.norm, label) for panel in found for label in panel.curves}) > len(
        {label for panel in found for label in panel.curves}
    )
    parts: dict[str, dict[str, tuple[Panel, str]]] = {}
    for panel in found:
        for label in panel.curves if not panel.apart else ():
            title = f"{label}, {NORMS.get(panel.norm, panel.norm)}" if several else label
            parts.setdefault(title, {})[panel.model] = (panel, label)
    return parts


def _draw(
    axis: Axes, part: Mapping[str, tuple[Panel, str]], styles: Mapping[str, Any], rows: DataFrame
) -> dict[str, Any]:
    """Lines of means, from the accuracy without an attack on, and a thin mark for each network; label -> line."""
    handles, reached = {}, set()
    for place, (label, (panel, attack)) in enumerate(part.items()):
        single = {0.0: networks(panel, "", 0.0, rows)} if panel.clean is not None else {}
        sizes = [float(eps) for eps in panel.curves[attack].eps if eps > 0 or not single]
        single |= {eps: networks(panel, attack, eps, rows) for eps in sizes}
        (handles[label],) = axis.plot(
            list(single), [values.mean() for values in single.values()], **styles[label] | THIN
        )
        marks = [(eps, value) for eps, values in single.items() for value in values]
        axis.plot(
            *zip(*marks, strict=True),
            ls="",
            marker="_",
            ms=6,
            mew=0.9,
            color=styles[label]["color"],
            transform=sideways_offset(axis, place, len(part)),
            zorder=2.2,
        )
        reached |= {*single}
    eps_axis(axis, sorted(reached))
    return handles


def _sentences(found: Sequence[Panel], rows: DataFrame) -> list[str]:
    """The strongest attack on each group, and how groups differ from the first, paired by seed."""
    attacks = shared(found)
    if not attacks:
        return [_alone(panel, rows) for panel in found]
    strongest = min(attacks, key=lambda attack: (attack.apart, attack.mean()))
    eps = strongest.informative()
    by_group = {
        group: rows_behind(curve, eps, rows).groupby("repeat").correct.mean()
        for group, curve in strongest.curves.items()
    }
    (first, base), *others = by_group.items()
    told = f"Under {strongest.label} at eps {eps_text(strongest.eps())[eps]} accuracy is {_spread(base)} over "
    told += f"{len(base)} networks of {first}"
    said = []
    for group, values in others:
        seeds = values.index.intersection(base.index)
        change = f"{_spread(values)} over {len(values)} of {group}"
        if len(seeds) > 1:
            gap = mean(np.array([values[seeds] - base[seeds]]), level=1 - 0.05 / len(others))
            change += f": {significance_text(gap)}, paired by {len(seeds)} seeds"
        said.append(change)
    return [f"{told} and {'; '.join(said)}."]


def _alone(panel: Panel, rows: DataFrame) -> str:
    """The strongest attack on one group of networks."""
    label = panel.strongest()
    eps = panel.informative(label)
    single, point = networks(panel, label, eps, rows), point_at(panel.curves[label], eps)
    return (
        f"Over {len(single)} networks of {panel.model}, accuracy under {label} at eps {eps_text(panel.eps())[eps]} is "
        f"{point.in_full()}; the best has {single.max():.3f}."
    )


def _spread(values: Series) -> str:
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"
