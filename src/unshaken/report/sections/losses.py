"""Losses compared: the same attack with several, and what saturated predictions leave of each one's gradient."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from unshaken.evaluation.checks import attack_name
from unshaken.evaluation.statistics import difference
from unshaken.report.accuracy import Panel, point_at, rows_behind
from unshaken.report.drawing import (
    DASHES,
    INK,
    MUTED,
    WIDTHS,
    empty_figure,
    eps_lines,
    legend,
    legend_height,
    line_styles,
    row_ticks,
    styled,
)
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table, interval_cells
from unshaken.report.sections.comparison import of_representatives
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import NAIVE, eps_text, if_known, percent

WORDING = Wording("losses")
# climbs what the naive loss climbs, without the rounding: what it wins is what saturation hid
SAME_DIRECTION = "log_error"


class Family(NamedTuple):
    """One attack with several losses: its `curves` by label; by loss their `labels` and shares of `zero` gradients."""

    name: str
    curves: dict[str, DataFrame]
    labels: dict[str, str]
    zero: dict[str, float]


class LossComparison(NamedTuple):
    """The families of a panel, and the share of the clean predictions of single draws that are saturated."""

    panel: Panel
    families: list[Family]
    saturated: float

    @property
    def model(self) -> str:
        return self.panel.model

    def names(self) -> list[str]:
        """Every loss, the naive one last."""
        names = dict.fromkeys(loss for family in self.families for loss in family.labels)
        return sorted(names, key=lambda loss: loss == NAIVE)

    def informative(self, family: Family) -> float:
        """The eps at which the strongest loss of an attack halves accuracy."""
        eps = self.panel.informative(self.panel._replace(curves=family.curves).strongest())
        common = set.intersection(*({float(size) for size in curve.eps} for curve in family.curves.values()))
        return min(common, key=lambda size: abs(size - eps)) if common else eps


def losses_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The same attack with several losses; None where every attack was run with one."""
    comparisons = [one for panel in panels if (one := compare_losses(panel, source.rows)).families]
    if not comparisons:
        return None
    drawn: list[LossComparison] = of_representatives(source.record, comparisons)
    drawing = WORDING.drawing("losses", lambda narrow: losses_figure(drawn, narrow=narrow), drawn != comparisons)
    sentences, table = [_sentence(one, source.rows) for one in drawn], losses_table(comparisons)
    return Section("losses", WORDING.title(), sentences, [drawing], [table])


def compare_losses(panel: Panel, rows: DataFrame) -> LossComparison:
    """The attacks of a panel that were run with two losses or more."""
    by_attack: dict[tuple[Any, ...], Family] = {}
    for label, curve in panel.curves.items():
        first, largest = curve.iloc[0], rows_behind(curve, curve.eps.max(), rows)
        key = first.attack, first.attack_draws, first.steps, first.restarts
        family = by_attack.setdefault(key, Family(attack_name(first.attack, first.attack_draws), {}, {}, {}))
        family.curves[label], family.labels[first.loss] = curve, label
        family.zero[first.loss] = float(pd.to_numeric(largest.zero_gradient).mean())
    families = [family for family in by_attack.values() if len(family.labels) > 1]
    clean = rows[(rows.attack == "none") & (rows.model == panel.model)]
    total = int(clean.inference_draws.sum())
    return LossComparison(panel, families, int(clean.saturated.sum()) / total if total else float("nan"))


def losses_table(comparisons: Sequence[LossComparison]) -> Table:
    """Zero gradients and accuracy of every attack and loss, at the eps that is informative for the strongest loss."""
    values = []
    for one, family in [(comparison, family) for comparison in comparisons for family in comparison.families]:
        eps = one.informative(family)
        for loss, label in family.labels.items():
            shares, accuracy = (family.zero[loss], one.saturated), point_at(family.curves[label], eps)[:3]
            values.append((one.panel.title, one.model, family.name, loss, *shares, eps, *accuracy))
    names = ["title", "model", "attack", "loss", "zero_gradient", "saturated", "eps", "accuracy", "low", "high"]
    data = pd.DataFrame(values, columns=names)
    columns = {
        "model": data.title if len(comparisons) > 1 else None,
        "attack": data.attack,
        "loss": data.loss,
        "zero gradients": [if_known(share, percent) for share in data.zero_gradient],
        "eps": data.eps.map(eps_text(data.eps)),
        "accuracy": interval_cells(data, "accuracy", "low", "high"),
    }
    return column_table("losses", data, columns, note=WORDING.note())


@styled()
def losses_figure(comparisons: Sequence[LossComparison], *, narrow: bool = False) -> Figure:
    """One row of axes for each panel: accuracy against eps by loss, and shares that are zero or saturated."""
    bars = 0.75 + 0.36 * (1 + max(len(one.names()) for one in comparisons))
    ratios = ([2.4, bars] if narrow else [max(2.7, bars)]) * len(comparisons)
    labels = [*comparisons[0].names(), *(family.name for family in comparisons[0].families)]
    figure = empty_figure(WIDTHS[narrow], sum(ratios) + legend_height(WIDTHS[narrow], labels))
    axes = figure.subplots(len(ratios), 1 if narrow else 2, squeeze=False, height_ratios=ratios).flat
    handles: dict[str, Any] = {}
    for one, left, right in zip(comparisons, axes[::2], axes[1::2], strict=True):
        handles |= _draw_curves(left, one)
        _draw_shares(right, one)
        left.set_title(one.panel.title)
    legend(figure, handles, below=True)
    return figure


def _draw_curves(axis: Axes, comparison: LossComparison) -> dict[str, Any]:
    """Accuracy against eps: colours are attacks, dashes losses; returns a mark for each of both."""
    styles = line_styles([comparison.panel])
    dashes = {loss: DASHES[index % len(DASHES)] for index, loss in enumerate(comparison.names())}
    curves, attacks = dict[str, Any](), dict[str, Any]()
    for family in comparison.families:
        curves |= family.curves
        styles |= {label: styles[label] | {"ls": dashes[loss], "ms": 4} for loss, label in family.labels.items()}
        style = styles[next(iter(family.labels.values()))]
        attacks[family.name] = Line2D([], [], color=style["color"], marker=style["marker"], ls="", ms=5)
    eps_lines(axis, curves, styles, ylabel="accuracy under attack")
    return {loss: Line2D([], [], color=INK, lw=1.4, ls=dash) for loss, dash in dashes.items()} | attacks


def _draw_shares(axis: Axes, comparison: LossComparison) -> None:
    """Bars: zero gradients by loss and attack, and the saturated predictions."""
    styles, names, count = line_styles([comparison.panel]), comparison.names(), len(comparison.families)

    def bar(y: float, share: float, height: float, colour: Any) -> None:
        """A bar with its number; one that is not known has no length."""
        length, text = (share, percent(share)) if share == share else (0, "unknown")
        axis.barh(y, length, height=height, color=colour)
        axis.annotate(text, (length, y), xytext=(3, 0), textcoords="offset points", va="center", size=7)

    for index, family in enumerate(comparison.families):
        colour = styles[next(iter(family.labels.values()))]["color"]
        for loss, share in family.zero.items():
            bar(names.index(loss) + (index - (count - 1) / 2) * 0.8 / count, share, 0.72 / count, colour)
    bar(len(names), comparison.saturated, 0.5, MUTED)
    row_ticks(axis, [*(f"zero gradient,\n{loss}" for loss in names), "saturated\npredictions"], labelsize=8)
    axis.set(xlim=(0, 1.12), xlabel="share")
    axis.set_xticks([0, 0.5, 1])


def _sentence(comparison: LossComparison, rows: DataFrame) -> str:
    """Saturation, and the naive (or else the weakest) loss beside the strongest, for the first attack."""
    family = next((family for family in comparison.families if NAIVE in family.labels), comparison.families[0])
    eps = comparison.informative(family)
    curves = {loss: family.curves[label] for loss, label in family.labels.items()}
    values = {loss: point_at(curve, eps).value for loss, curve in curves.items()}
    weak = NAIVE if NAIVE in values else max(values, key=values.__getitem__)
    best = min((loss for loss in values if loss != weak), key=values.__getitem__)
    if weak == NAIVE and SAME_DIRECTION in values:
        best = SAME_DIRECTION
    change = difference(*(rows_behind(curves[loss], eps, rows) for loss in (weak, best)))
    sentence = WORDING.sentence(comparison, family, eps, values, weak, best, change)
    return sentence[0].upper() + sentence[1:]
