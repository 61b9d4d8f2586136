"""What parameters and compute buy: the accuracy of models of several sizes, without an attack and under one."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from unshaken.evaluation.statistics import difference
from unshaken.report.accuracy import Panel, Point, SharedAttack, point_at, rows_behind, shared_attacks
from unshaken.report.drawing import facet_figure, log_axis, named_styles, sideways_offset, styled
from unshaken.report.groups import pooled_panels
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table
from unshaken.report.sections.comparison import shared_level
from unshaken.report.sections.models import MANY
from unshaken.report.stored_run import StoredRun
from unshaken.report.tables import ModelSize, model_sizes, si_number

SHAPES = {"--": "s", ":": "^"}  # the marks of models whose lines would be dashed, as there are more of them than hues

WORDING = Wording("budget")


class Budget(NamedTuple):
    """Models of several sizes under one attack at one eps: `sizes` by model, the fewest parameters first.

    Networks that differ by their seed are one model, and `rows` are those behind its accuracy.
    """

    attack: SharedAttack
    eps: float
    sizes: dict[str, ModelSize]
    rows: dict[str, DataFrame]

    @property
    def title(self) -> str:
        return f"{self.attack.label}, eps {self.attack.eps_text(self.eps)}"

    def point(self, model: str) -> Point:
        """Accuracy of a model under the attack."""
        return point_at(self.attack.curves[model], self.eps)

    def parameters(self, model: str) -> int:
        return self.sizes[model].parameters or 0


def budget_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Accuracy beside size; None where no two models that met the same attack differ in their parameters."""
    budget = model_budget(source, panels)
    if budget is None:
        return None
    drawing = WORDING.drawing("budget", lambda narrow: budget_figure(budget, narrow=narrow), budget)
    return Section("budget", WORDING.title(), [_sentence(budget)], [drawing], [budget_table(budget)])


def model_budget(source: StoredRun, panels: Sequence[Panel]) -> Budget | None:
    """The strongest of the attacks that were run on the most models, at its informative eps."""
    sizes = {model: size for model, size in model_sizes(source.record).items() if size.parameters}
    pooled, panels = pooled_panels(source, panels)
    attacks = shared_attacks([panel for panel in panels if panel.model in sizes])
    if not attacks:
        return None
    attack = min(attacks, key=lambda attack: (-len(attack.curves), attack.apart, attack.mean()))
    models = {model: sizes[model] for model in sorted(attack.curves, key=lambda model: sizes[model].parameters or 0)}
    if len({size.parameters for size in models.values()}) < 2:
        return None
    eps, in_groups = attack.informative(), set(pooled.model)
    rows = {m: rows_behind(attack.curves[m], eps, pooled if m in in_groups else source.rows) for m in models}
    return Budget(attack, eps, models, rows)


def budget_table(budget: Budget) -> Table:
    """Clean accuracy and accuracy under the attack of every model, the smallest first."""
    attack, points = budget.attack, {model: budget.point(model) for model in budget.sizes}
    clean = {model: attack.clean.get(model) for model in budget.sizes}
    values = [(m, *(clean[m] or (None,) * 4)[:3], attack.label, budget.eps, *points[m][:3]) for m in points]
    names = ["model", "clean", "clean_low", "clean_high", "attack", "eps", "accuracy", "low", "high"]
    columns = {
        "model": points,
        "no attack": ["" if point is None else point.in_full() for point in clean.values()],
        budget.title: [point.in_full() for point in points.values()],
    }
    return column_table("budget", pd.DataFrame(values, columns=names), columns, note=WORDING.note())


@styled()
def budget_figure(budget: Budget, *, narrow: bool = False) -> Figure:
    """Accuracy against parameters and against operations on log axes: two marks for each model, joined by a line."""
    labels = {"parameters": "parameters", "flops": "FLOP for the prediction of one image"}
    models, styles = list(budget.sizes), named_styles(list(budget.sizes))

    def draw(axis: Axes, measure: str) -> dict[str, Any]:
        values, handles = [getattr(size, measure) for size in budget.sizes.values()], {}
        log_axis(axis, values, most=5)
        # where no round number is near, the ticks are at the ends
        ticks = axis.get_xticks() if len(axis.get_xticks()) > 1 else sorted({min(values), max(values)})
        axis.set_xticks(ticks, [si_number(tick).replace(".00", "").replace(".0", "") for tick in ticks])
        axis.grid(True, axis="both")
        for model, value in zip(models, values, strict=True):
            same = [other for other, equal in zip(models, values, strict=True) if equal == value]
            offset = sideways_offset(axis, same.index(model), len(same))
            handles[model] = _draw_model(axis, budget, model, value, styles[model], offset)
        axis.set(xlabel=labels[measure], ylim=(-0.02, 1.02))
        return handles

    measures = [measure for measure in labels if all(getattr(size, measure) for size in budget.sizes.values())]
    height = (3.2, 3.2, 2.7)
    return facet_figure(measures, draw, narrow=narrow, height=height, ylabel="accuracy", labels=models, sharey=True)


def _draw_model(axis: Axes, budget: Budget, model: str, size: float, style: dict[str, Any], offset: Any) -> Any:
    """The accuracy of one model with and without the attack, above its size; returns the mark for the legend."""
    colour = style["color"]
    ends = {"none": budget.attack.clean.get(model), colour: budget.point(model)}
    points = {fill: point for fill, point in ends.items() if point is not None}
    values = [point.value for point in points.values()]
    axis.plot([size] * len(points), values, color=colour, lw=0.8, alpha=0.5, transform=offset)
    options: dict[str, Any] = {"color": colour, "transform": offset, "clip_on": False}
    marker = SHAPES.get(style["ls"], style["marker"])
    for fill, point in points.items():
        bars = [[point.value - point.low], [point.high - point.value]]
        axis.errorbar(size, point.value, bars, fmt="none", elinewidth=1, **options)
        (handle,) = axis.plot(size, point.value, ls="", marker=marker, ms=5.5, mfc=fill, **options)
    return handle


def _sentence(budget: Budget) -> str:
    """Which models none beats that has no more parameters, and who beats the others."""
    beaten = _beaten(budget)
    names = {
        model: f"{model} ({si_number(budget.parameters(model))} parameters, {budget.point(model).value:.3f})"
        for model in budget.sizes
    }
    best = [name for model, name in names.items() if model not in beaten]
    losers: dict[str, list[str]] = {}
    for model, winner in beaten.items():
        losers.setdefault(winner, []).append(names[model])
    return WORDING.sentence(budget, best, losers, len(beaten) if len(beaten) > MANY else 0)


def _beaten(budget: Budget) -> dict[str, str]:
    """Models less robust than one that has no more parameters, each with the most accurate of those.

    Differences are paired by input, and by repeat or seed, at a level shared out over all pairs.
    """
    pairs = [
        (model, other)
        for model, other in itertools.permutations(budget.sizes, 2)
        if budget.parameters(other) <= budget.parameters(model)
        and set(budget.rows[model].repeat) & set(budget.rows[other].repeat)
    ]
    best: dict[str, str] = {}
    for model, other in pairs:
        if difference(budget.rows[other], budget.rows[model], level=shared_level(len(pairs))).low > 0:
            best[model] = max(best.get(model, other), other, key=lambda label: budget.point(label).value)
    return best
