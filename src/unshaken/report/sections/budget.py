"""What parameters and compute buy: the accuracy of models of several sizes, without an attack and under one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.evaluation.statistics import difference
from unshaken.report.accuracy import Panel, accuracy_table, point_at, rows_behind
from unshaken.report.accuracy import panels as panels_of
from unshaken.report.drawing import facets, legend, legend_height, log_axis, named_styles, sideways_offset, styled
from unshaken.report.groups import groups
from unshaken.report.model_sizes import ModelSize, model_sizes, si_number
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.sections.models import MANY
from unshaken.report.sections.networks import pool_networks
from unshaken.report.sections.shared_attacks import SharedAttack, shared_attacks
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text, listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

SHAPES = {"--": "s", ":": "^"}
"""The marks of models whose lines would be dashed, as there are more of them than hues."""

LABELS = {"parameters": "parameters", "flops": "FLOP for the prediction of one image"}


class Budget(NamedTuple):
    """Models of several sizes under one attack at one eps: `sizes` by model, the fewest parameters first.

    Networks that differ by their seed are one model, and `rows` are those behind its accuracy.
    """

    attack: SharedAttack
    eps: float
    sizes: dict[str, ModelSize]
    rows: dict[str, DataFrame]

    @property
    def where(self) -> str:
        return f"{self.attack.label}, eps {eps_text(self.attack.eps())[self.eps]}"


def budget_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Accuracy beside size; None where no two models that met the same attack differ in their parameters."""
    found = budget(source, panels)
    if found is None:
        return None
    drawing = Drawing(
        "budget",
        lambda narrow: budget_figure(found, narrow=narrow),
        "Accuracy of every model against its parameters and its operations; the numbers are in the table below",
        f"Further up is better, further left cheaper. Filled marks are accuracy under {found.where}, hollow ones "
        "accuracy without an attack. Bars are 95 % intervals.",
    )
    return Section("budget", "What parameters and compute buy", [_sentence(found)], [drawing], [budget_table(found)])


def budget(source: StoredRun, panels: Sequence[Panel]) -> Budget | None:
    """The strongest of the attacks that were run on the most models, at its informative eps."""
    known = {model: size for model, size in model_sizes(source.about).items() if size.parameters}
    members = {label for seeds in groups(source.about).values() for label in seeds.values()}
    together = pool_networks(source)
    alone = [panel for panel in panels if panel.model not in members]
    attacks = shared_attacks([p for p in [*panels_of(accuracy_table(together)), *alone] if p.model in known])
    most = max((len(attack.curves) for attack in attacks), default=0)
    if most == 0:
        return None
    attack = min((a for a in attacks if len(a.curves) == most), key=lambda a: (a.apart, a.mean()))
    models = {model: known[model] for model in sorted(attack.curves, key=lambda model: known[model].parameters or 0)}
    if len({size.parameters for size in models.values()}) < 2:
        return None
    eps, own = attack.informative(), set(together.model)
    rows = {m: rows_behind(attack.curves[m], eps, together if m in own else source.rows) for m in models}
    return Budget(attack, eps, models, rows)


def budget_table(found: Budget) -> Table:
    """Clean accuracy and accuracy under the attack of every model, the smallest first."""
    import pandas as pd

    values, body = [], []
    for model in found.sizes:
        clean, left = found.attack.clean.get(model), point_at(found.attack.curves[model], found.eps)
        values.append((model, *(clean or (None,) * 4)[:3], found.attack.label, found.eps, *left[:3]))
        cells = ["" if clean is None else clean.in_full(), left.in_full()]
        body.append([model, *cells])
    names = ["model", "clean", "clean_low", "clean_high", "attack", "eps", "accuracy", "low", "high"]
    data = pd.DataFrame(values, columns=names)
    note = (
        "Parameters: learnt numbers that a prediction uses, those of all networks of the model together. FLOP: "
        "operations of convolutions and matrix products in the prediction of one image with all its draws, a "
        "multiply-add counted as two. Accuracy with its 95 % interval."
    )
    return Table("budget", data, ["model", "no attack", found.where], body, note=note)


@styled()
def budget_figure(found: Budget, *, narrow: bool = False) -> Figure:
    """Accuracy against parameters and against operations on log axes: two marks for each model, joined by a line."""
    models = list(found.sizes)
    measures = {
        word: [getattr(size, word) for size in found.sizes.values()]
        for word in LABELS
        if all(getattr(size, word) for size in found.sizes.values())
    }
    more = legend_height(3.7 if narrow else 7.6, models)
    figure, axes = facets(len(measures), narrow=narrow, height=2.7 if narrow else 3.2, more=more, sharey=True)
    styles, handles = named_styles(models), dict[str, Any]()
    for place, (axis, (word, values)) in enumerate(zip(axes, measures.items(), strict=True)):
        _size_axis(axis, values)
        for model, value in zip(models, values, strict=True):
            same = [other for other, equal in zip(models, values, strict=True) if equal == value]
            moved = sideways_offset(axis, same.index(model), len(same))
            handles[model] = _mark(axis, found, model, value, styles[model], moved)
        axis.set(xlabel=LABELS[word], ylabel="" if place and not narrow else "accuracy", ylim=(-0.02, 1.02))
    legend(figure, handles, below=True)
    return figure


def _mark(axis: Axes, found: Budget, model: str, value: float, style: dict[str, Any], moved: Any) -> Any:
    """The accuracy of one model with and without the attack, at one place; returns the mark for the legend."""
    left, colour = point_at(found.attack.curves[model], found.eps), style["color"]
    ends = {"none": found.attack.clean.get(model), colour: left}
    told = {fill: point for fill, point in ends.items() if point is not None}
    heights = [point.value for point in told.values()]
    axis.plot([value] * len(told), heights, color=colour, lw=0.8, alpha=0.5, transform=moved)
    for fill, point in told.items():
        bars = [[point.value - point.low], [point.high - point.value]]
        put: dict[str, Any] = {"color": colour, "transform": moved, "clip_on": False}
        axis.errorbar(value, point.value, bars, fmt="none", elinewidth=1, **put)
        marker = SHAPES.get(style["ls"], style["marker"])
        (handle,) = axis.plot(value, point.value, ls="", marker=marker, ms=5.5, mfc=fill, **put)
    return handle


def _size_axis(axis: Axes, values: Sequence[float]) -> None:
    """A log axis of large numbers; where no round one is near, the ticks are at the ends."""
    log_axis(axis, values, most=5)
    ticks = [*axis.get_xticks()]
    ticks = ticks if len(ticks) > 1 else sorted({min(values), max(values)})
    axis.set_xticks(ticks, [si_number(tick).replace(".00", "").replace(".0", "") for tick in ticks])
    axis.grid(True, axis="both")


def _sentence(found: Budget) -> str:
    """Which models none beats that has no more parameters, and who beats the others."""
    beaten = _beaten(found)
    best = [model for model in found.sizes if model not in beaten]
    under = f"Under {found.attack.label} at eps {eps_text(found.attack.eps())[found.eps]}"
    if not beaten:
        return f"{under} no model is beyond chance more robust than one that has as many parameters or more."
    told = f"{under} no model with as many parameters or fewer is beyond chance more robust than "
    told += listed([_named(found, model) for model in best])
    if len(beaten) > MANY:
        return f"{told}; for each of the other {len(beaten)} models there is one."
    for winner in dict.fromkeys(beaten.values()):
        losers = [_named(found, model) for model, by in beaten.items() if by == winner]
        told += f"; {listed(losers)} {'is' if len(losers) == 1 else 'are'} less robust than {winner}"
    return f"{told}."


def _named(found: Budget, model: str) -> str:
    accuracy = point_at(found.attack.curves[model], found.eps).value
    return f"{model} ({si_number(found.sizes[model].parameters or 0)} parameters, {accuracy:.3f})"


def _beaten(found: Budget) -> dict[str, str]:
    """Models less robust than one that has no more parameters, each with the most accurate of those.

    Differences are paired by input, and by repeat or seed, at a level shared out over all pairs.
    """
    pairs = [
        (model, other)
        for model, other in itertools.permutations(found.sizes, 2)
        if (found.sizes[other].parameters or 0) <= (found.sizes[model].parameters or 0)
        and set(found.rows[model].repeat) & set(found.rows[other].repeat)
    ]
    level = 1 - 0.05 / max(len(pairs), 1)
    better: dict[str, list[str]] = {}
    for model, other in pairs:
        if difference(found.rows[other], found.rows[model], level=level).low > 0:
            better.setdefault(model, []).append(other)
    return {
        m: max(others, key=lambda o: point_at(found.attack.curves[o], found.eps).value) for m, others in better.items()
    }
