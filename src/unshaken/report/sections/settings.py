"""Accuracy against a setting: copies of noise, its size, dropout, the weight of a term of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from unshaken.evaluation.statistics import Interval, difference, mean
from unshaken.report.accuracy import NORMS, Panel
from unshaken.report.drawing import (
    CLEAN,
    DASHES,
    INK,
    draw_lines,
    facets,
    legend,
    legend_height,
    line_styles,
    sideways_offset,
    styled,
)
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.sections.seeds import THIN
from unshaken.report.stored_run import StoredRun
from unshaken.report.sweep import Family, Setting, Sweep, measure_sweep, swept_setting
from unshaken.report.wording import difference_text, eps_text, listed, significance_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 30
"""Values that span more than this factor are drawn on a log axis."""


def settings_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Accuracy against the setting that orders the models; None where no attacked ones differ in a number alone."""
    setting = swept_setting(source.about)
    swept = None if setting is None else measure_sweep(setting, source, panels)
    if swept is None:
        return None
    how = "Bars are 95 % intervals, set side by side to be legible."
    if swept.several:
        how = "Lines are means over networks, thin marks the single networks, set side by side to be legible."
    drawing = Drawing(
        "settings",
        lambda narrow: settings_figure(swept, narrow=narrow),
        f"Accuracy against {swept.setting.path} under every attack; the numbers are in the table below",
        f"Accuracy of models that differ in {swept.setting.path} alone, under attacks at {_sizes(swept)}. {how}",
    )
    return Section(
        "settings",
        f"Accuracy against {swept.setting.name}",
        _sentences(swept),
        [drawing],
        [settings_table(swept, source.about.get("paper") or {})],
    )


def settings_table(swept: Sweep, paper: dict[str, Any]) -> Table:
    """A column for each value, a line for each attack, as such tables are published; the .csv has every eps.

    Published accuracies of the same model, attack and eps, from [[paper.accuracy]], are a line below.
    """

    setting, texts, body, source = swept.setting, eps_text(swept.setting.values), [], ""
    titled = len(setting.families) > 1
    for family in setting.families:
        for label in swept.labels:
            models = [family.models.get(value) for value in setting.values]
            size = "" if label == CLEAN else swept.eps_text(label)
            body.append([family.name] * titled + [label, size, *(_cell(swept, label, model) for model in models)])
            before = [_published(swept, label, model, paper) for model in models]
            if any(before):
                body.append([family.name] * titled + [f"{label}, published", size, *before])
                source = f" Published in {paper.get('source', '')}."
    head = ["models"] * titled + ["attack", "eps", *(f"{setting.name} {texts[value]}" for value in setting.values)]
    told = "Accuracy with its 95 % interval."
    if swept.several:
        told = "Mean over networks ± their standard deviation, its 95 % interval, and the best network."
    note = f"The models of a line differ in {setting.path} alone. {told}{source}"
    return Table("settings", swept.table(), head, body, note=note)


@styled()
def settings_figure(swept: Sweep, *, narrow: bool = False) -> Figure:
    """Accuracy against the setting: a line for each attack and one without, one set of axes for each family."""
    families = swept.setting.families
    curves = {label: next(iter(attack.curves.values())) for label, attack in swept.attacks.items()}
    styles = _apart(line_styles([Panel("", "", "", None, curves)]))
    styles[CLEAN] = {"color": INK, "lw": 1.6, "ls": "-", "marker": "o", "ms": 4.5, "mfc": "none"}
    below = narrow or len(families) > 1 or len(swept.labels) > 18
    more = legend_height(3.7 if narrow else 7.6, swept.labels) if below else 0.0
    height = 2.4 if narrow else 3.1 if len(families) > 1 else 3.7
    figure, axes = facets(len(families), narrow=narrow, height=height, more=more, sharey=True)
    handles: dict[str, Any] = {}
    for place, (axis, family) in enumerate(zip(axes, families, strict=True)):
        handles |= _draw(axis, swept, family, styles)
        _setting_axis(axis, list(family.models))
        axis.set(title=family.name, xlabel=swept.setting.path, ylabel="" if place % 2 and not narrow else "accuracy")
    legend(figure, handles, below=below)
    return figure


def _draw(axis: Axes, swept: Sweep, family: Family, styles: Mapping[str, Any]) -> dict[str, Any]:
    """Lines with interval bars, or lines of means with a thin mark for each network; label -> line."""
    curves = {label: swept.curve(label, family) for label in swept.labels}
    if not swept.several:
        return draw_lines(
            axis, {label: curve.rename(columns={"value": "eps"}) for label, curve in curves.items()}, styles
        )
    handles = {}
    look: dict[str, Any] = {"ls": "", "marker": "_", "ms": 6, "mew": 0.9, "zorder": 2.2}
    for place, (label, curve) in enumerate(curves.items()):
        (handles[label],) = axis.plot(curve.value, curve.accuracy, **styles[label] | THIN)
        for row in curve.itertuples():
            single = swept.network_accuracies(label, row.model)
            beside = {"transform": sideways_offset(axis, place, len(curves)), "color": styles[label]["color"]}
            axis.plot([row.value] * len(single), single, **look, **beside)
    return handles


def _setting_axis(axis: Axes, values: Sequence[float]) -> None:
    """A tick at every value, on a log axis where they span much; accuracy from 0 to 1."""
    low, high = values[0], values[-1]
    if low > 0 and high / low > WIDE:
        axis.set_xscale("log")
        factor = (high / low) ** 0.06
        axis.set_xlim(low / factor, high * factor)
    else:
        margin = 0.06 * (high - low)
        axis.set_xlim(low - margin, high + margin)
    axis.set_xticks(values, list(eps_text(values).values()))
    axis.set_xticks([], minor=True)
    axis.set_ylim(-0.02, 1.02)


def _apart(styles: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same styles, with other dashes and marks for lines that would look alike, such as PGD of more steps."""
    told = [repr(style) for style in styles.values()]
    alike = [told[:place].count(one) for place, one in enumerate(told)]
    other = [{"ls": DASHES[n % len(DASHES)], "marker": "s^Dvo"[n % 5]} if n else {} for n in alike]
    return {label: style | more for (label, style), more in zip(styles.items(), other, strict=True)}


def _cell(swept: Sweep, label: str, model: str | None) -> str:
    """ "0.464 ± 0.080 [0.380, 0.548], best 0.555"."""
    point = None if model is None else swept.point(label, model)
    if point is None or model is None:
        return ""
    return point.in_full() + (f", best {swept.network_accuracies(label, model).max():.3f}" if swept.several else "")


def _published(swept: Sweep, label: str, model: str | None, paper: dict[str, Any]) -> str:
    """The published accuracy of the same model, attack and eps; "" where there is none."""
    eps = 0.0 if label == CLEAN else swept.eps[label]
    for entry in paper.get("accuracy", []):
        same = (entry.get("model"), entry["attack"]) == (model, label)
        if same and math.isclose(float(entry.get("eps", 0.0)), eps, abs_tol=1e-9):
            return f"{entry['value']:.4g}"
    return ""


def _sizes(swept: Sweep) -> str:
    """ "eps 0.1", or "eps 0.1 (L∞ norm) and 1 (L2 norm)"."""
    told = {(attack.norm, swept.eps_text(label)) for label, attack in swept.attacks.items()}
    if len({size for _, size in told}) == 1:
        return f"eps {next(iter(told))[1]}"
    return "eps " + listed([f"{size} ({NORMS.get(norm, norm)} norm)" for norm, size in sorted(told)])


def _sentences(swept: Sweep) -> list[str]:
    """Whether accuracy under the strongest attack grows from each value to the next; accuracy without an attack."""
    steps = sum(len(family.models) - 1 for family in swept.setting.families)
    return [_sentence(swept, family, 1 - 0.05 / steps) for family in swept.setting.families]


def _sentence(swept: Sweep, family: Family, level: float) -> str:
    under = {label: swept.curve(label, family) for label in swept.attacks}
    strongest = min((label for label in under if len(under[label]) > 1), key=lambda label: under[label].accuracy.mean())
    said, seeds = [], []
    for (before, one), (after, other) in pairwise(under[strongest][["value", "model"]].itertuples(index=False)):
        change, paired = _gap(swept, strongest, one, other, level)
        seeds.append(paired)
        said.append(_step(change, _between(swept.setting, before, after)))
    where = f"On {family.name}, under" if family.name else "Under"
    told = f"{where} {strongest} at eps {swept.eps_text(strongest)} accuracy {listed(said)}"
    told += f", paired by {min(seeds)} seeds" if min(seeds) > 1 else ""
    clean = [f"{value:.3f}" for value in swept.curve(CLEAN, family).accuracy]
    return f"{told}." + (f" Without an attack it is {listed(clean)}." if clean else "")


def _gap(swept: Sweep, label: str, one: str, other: str, level: float) -> tuple[Interval, int]:
    """Accuracy of `other` minus that of `one`, and by how many seeds they are paired: 0 where it is by inputs."""
    before, after = swept.network_accuracies(label, one), swept.network_accuracies(label, other)
    common = before.index.intersection(after.index)
    if swept.several and len(common) > 1:
        return mean(np.array([after[common] - before[common]]), level=level), len(common)
    if len(common) == 0:
        return Interval(after.mean() - before.mean(), math.nan, math.nan), 0
    return difference(swept.rows_of_point(label, other), swept.rows_of_point(label, one), level=level), 0


def _step(change: Interval, where: str) -> str:
    """ "grows from 1 to 5 copies by +0.213 [+0.180, +0.250]"."""
    if change == (0, 0, 0):
        return f"is the same on every input {where}"
    if change.low > 0 or change.high < 0:
        return f"{'grows' if change.low > 0 else 'falls'} {where} by {difference_text(change)}"
    return f"shows {significance_text(change)} {where}"


def _between(setting: Setting, before: float, after: float) -> str:
    """ "from 1 to 5 copies", "from size 0.1 to 0.2"."""
    texts = eps_text(setting.values)
    counted = setting.name.endswith("s") and all(float(value).is_integer() for value in setting.values)
    steps = f"{texts[before]} to {texts[after]}"
    return f"from {steps} {setting.name}" if counted else f"from {setting.name} {steps}"
