"""Losses compared: the same attack with several, and what saturated predictions leave of each one's gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.evaluation.checks import attack_name
from unshaken.evaluation.statistics import difference
from unshaken.report.accuracy import Panel, point_at, rows_behind
from unshaken.report.drawing import (
    DASHES,
    INK,
    MUTED,
    draw_lines,
    empty_figure,
    eps_axis,
    legend,
    legend_height,
    line_styles,
    styled,
)
from unshaken.report.groups import representatives
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import NAIVE, eps_text, percent, significance_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


SAME_DIRECTION = "log_error"
"""The loss that climbs what the naive one climbs, without the rounding: what it wins is what saturation hid."""


class Family(NamedTuple):
    """One attack with several losses: `labels` of its curves and `zero`, the share of zero gradients, by loss."""

    name: str
    labels: dict[str, str]
    zero: dict[str, float]


class Losses(NamedTuple):
    """The families of a panel, and the share of the clean predictions of single draws that are saturated."""

    panel: Panel
    families: list[Family]
    saturated: float

    def names(self) -> list[str]:
        """Every loss, the naive one last."""
        found = dict.fromkeys(loss for family in self.families for loss in family.labels)
        return sorted(found, key=lambda loss: loss == NAIVE)


def losses_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The same attack with several losses; None where every attack was run with one."""
    found = [part for panel in panels if (part := losses(panel, source.rows)).families]
    if not found:
        return None
    kept = representatives(source.about, [part.panel.model for part in found])
    told = [part for part in found if part.panel.model in kept]
    drawing = Drawing(
        "losses",
        lambda narrow: losses_figure(told, narrow=narrow),
        "Accuracy against eps for every loss, and the shares of zero gradients and of saturated predictions",
        "Left: the same attack with several losses; lower is stronger. Right: the share of inputs whose gradient is "
        "exactly zero under each loss, so that they are not attacked, and the share of the clean predictions of single "
        "draws whose probability is rounded to one." + (" One network of each setting." if told != found else ""),
    )
    sentences = [_sentence(part, source.rows) for part in told]
    return Section("losses", "What the loss of the attack does", sentences, [drawing], [losses_table(found)])


def losses(panel: Panel, rows: DataFrame) -> Losses:
    """The attacks of a panel that were run with two losses or more."""
    import pandas as pd

    together: dict[tuple[Any, ...], dict[str, str]] = {}
    for label, curve in panel.curves.items():
        first = curve.iloc[0]
        together.setdefault((first.attack, first.attack_draws, first.steps, first.restarts), {})[first.loss] = label
    families = []
    for (attack, draws, *_), labels in together.items():
        if len(labels) > 1:
            zero = {
                loss: float(pd.to_numeric(rows_behind(curve, curve.eps.max(), rows).zero_gradient).mean())
                for loss, curve in ((loss, panel.curves[label]) for loss, label in labels.items())
            }
            families.append(Family(attack_name(attack, draws), labels, zero))
    clean = rows[(rows.attack == "none") & (rows.model == panel.model)]
    total = int(clean.inference_draws.sum())
    return Losses(panel, families, int(clean.saturated.sum()) / total if total else float("nan"))


def losses_table(found: Sequence[Losses]) -> Table:
    """Zero gradients and accuracy of every attack and loss, at the eps that is informative for the strongest loss."""
    import pandas as pd

    values = []
    for part in found:
        for family in part.families:
            eps = _informative(part, family)
            for loss, label in family.labels.items():
                point = point_at(part.panel.curves[label], eps)
                told = (part.panel.title, part.panel.model, family.name, loss, family.zero[loss], part.saturated)
                values.append((*told, eps, *point[:3]))
    names = ["title", "model", "attack", "loss", "zero_gradient", "saturated", "eps", "accuracy", "low", "high"]
    data, titled = pd.DataFrame(values, columns=names), len(found) > 1
    texts = eps_text(data.eps)
    body = [
        [str(row.title)] * titled
        + [
            str(row.attack),
            str(row.loss),
            "" if row.zero_gradient != row.zero_gradient else percent(row.zero_gradient),
            texts[row.eps],
            f"{row.accuracy:.3f} [{row.low:.3f}, {row.high:.3f}]",
        ]
        for row in data.itertuples()
    ]
    head = ["model"] * titled + ["attack", "loss", "zero gradients", "eps", "accuracy"]
    return Table("losses", data, head, body, note="Zero gradients: share of inputs that an attack cannot move.")


@styled()
def losses_figure(found: Sequence[Losses], *, narrow: bool = False) -> Figure:
    """One row of axes for each panel: accuracy against eps by loss, and shares that are zero or saturated."""
    bars = 0.75 + 0.36 * (1 + max(len(part.names()) for part in found))
    heights = [2.4, bars] * len(found) if narrow else [max(2.7, bars)] * len(found)
    labels = [*found[0].names(), *(family.name for family in found[0].families)]
    width = 3.7 if narrow else 7.6
    figure = empty_figure(width, sum(heights) + legend_height(width, labels))
    axes = figure.subplots(len(heights), 1 if narrow else 2, squeeze=False, height_ratios=heights).flat
    handles: dict[str, Any] = {}
    for place, part in enumerate(found):
        handles |= _draw_curves(axes[2 * place], part)
        _draw_shares(axes[2 * place + 1], part)
        axes[2 * place].set_title(part.panel.title)
    legend(figure, handles, below=True)
    return figure


def _draw_curves(axis: Axes, part: Losses) -> dict[str, Any]:
    """Accuracy against eps: colours are attacks, dashes losses; returns a mark for each of both."""
    from matplotlib.lines import Line2D

    styles, names = line_styles([part.panel]), part.names()
    curves, handles = {}, dict[str, Any]()
    for family in part.families:
        for loss, label in family.labels.items():
            styles[label] = styles[label] | {"ls": DASHES[names.index(loss) % len(DASHES)], "ms": 4}
            curves[label] = part.panel.curves[label]
        style = styles[next(iter(family.labels.values()))]
        handles[family.name] = Line2D([], [], color=style["color"], marker=style["marker"], ls="", ms=5)
    draw_lines(axis, curves, styles)
    eps_axis(axis, sorted({float(eps) for curve in curves.values() for eps in curve.eps}))
    axis.set(xlabel="eps", ylabel="accuracy under attack")
    marks = {loss: Line2D([], [], color=INK, lw=1.4, ls=DASHES[i % len(DASHES)]) for i, loss in enumerate(names)}
    return marks | handles


def _draw_shares(axis: Axes, part: Losses) -> None:
    """Bars: zero gradients by loss and attack, and the saturated predictions."""
    styles, names = line_styles([part.panel]), part.names()
    height = 0.8 / len(part.families)
    for place, family in enumerate(part.families):
        colour = styles[next(iter(family.labels.values()))]["color"]
        for loss, share in family.zero.items():
            y = names.index(loss) + (place - (len(part.families) - 1) / 2) * height
            _bar(axis, y, share, 0.9 * height, colour)
    _bar(axis, len(names), part.saturated, 0.5, MUTED)
    axis.set_yticks(range(len(names) + 1), [f"zero gradient,\n{loss}" for loss in names] + ["saturated\npredictions"])
    axis.set(xlim=(0, 1.12), ylim=(len(names) + 0.6, -0.6), xlabel="share")
    axis.set_xticks([0, 0.5, 1])
    axis.grid(True, axis="x")
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", length=0, labelsize=8)


def _bar(axis: Axes, y: float, share: float, height: float, colour: Any) -> None:
    """A bar with its number; one that is not known has no length."""
    known = share == share
    axis.barh(y, share if known else 0, height=height, color=colour)
    where: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "size": 7}
    axis.annotate(percent(share) if known else "unknown", (share if known else 0, y), **where)


def _informative(part: Losses, family: Family) -> float:
    """The eps at which the strongest loss of an attack halves accuracy."""
    curves = {label: part.panel.curves[label] for label in family.labels.values()}
    strongest = part.panel._replace(curves=curves).strongest()
    shared = set.intersection(*({float(eps) for eps in curve.eps} for curve in curves.values()))
    wanted = part.panel.informative(strongest)
    return min(shared, key=lambda eps: abs(eps - wanted)) if shared else wanted


def _sentence(part: Losses, rows: DataFrame) -> str:
    """Saturation, and the naive (or else the weakest) loss beside the strongest, for the first attack."""
    family = next((f for f in part.families if NAIVE in f.labels), part.families[0])
    eps = _informative(part, family)
    points = {loss: point_at(part.panel.curves[label], eps).value for loss, label in family.labels.items()}
    weak = NAIVE if NAIVE in points else max(points, key=points.__getitem__)
    others = (
        [SAME_DIRECTION] if weak == NAIVE and SAME_DIRECTION in points else [loss for loss in points if loss != weak]
    )
    best = min(others, key=points.__getitem__)
    change = difference(*(rows_behind(part.panel.curves[family.labels[loss]], eps, rows) for loss in (weak, best)))
    where = f"{weak} leaves {points[weak]:.3f} where {best} leaves {points[best]:.3f}"
    start = f"On {part.panel.title}, " if part.panel.title else ""
    said = (
        f"{start}{percent(part.saturated)} of the clean predictions of single draws are saturated; under {family.name} "
        f"at eps {eps_text([eps])[eps]}, {where}: {significance_text(change)}."
    )
    return said[0].upper() + said[1:]
