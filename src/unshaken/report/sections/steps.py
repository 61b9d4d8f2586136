"""Accuracy against the steps of an attack: from how many on more of them no longer help it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from unshaken.evaluation.checks import attack_name, counted, named
from unshaken.evaluation.statistics import difference
from unshaken.report.accuracy import NORMS, SERIES, Panel, accuracy_table, point_at
from unshaken.report.accuracy import panels as panels_of
from unshaken.report.drawing import (
    draw_lines,
    facets,
    legend,
    legend_columns,
    legend_height,
    log_axis,
    named_styles,
    sideways_offset,
    styled,
)
from unshaken.report.groups import groups
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.sections.budget import SHAPES
from unshaken.report.sections.models import MANY
from unshaken.report.sections.networks import THIN, pool_networks
from unshaken.report.sections.shared_attacks import SharedAttack
from unshaken.report.stored_run import StoredRun
from unshaken.report.sweep import MIN_VALUES
from unshaken.report.wording import eps_text, listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

SAME = [column for column in SERIES if column not in ("model", "steps")]
"""What attacks have in common that differ in their steps alone."""

NOTHING = 0.05
"""A model whose accuracy is surely below this has nearly none left."""


@dataclass(frozen=True)
class Family:
    """Attacks that differ in steps alone: `curves` are rows of `accuracy_table` by eps, for each model and steps.

    Networks that differ by their seed are one model, one of `groups`. `rows` are those behind (model, steps) at `eps`.
    """

    label: str
    norm: str
    eps: float
    curves: dict[str, dict[int, DataFrame]]
    rows: dict[tuple[str, int], DataFrame]
    groups: set[str]

    @property
    def steps(self) -> list[int]:
        return sorted({steps for by_steps in self.curves.values() for steps in by_steps})

    @property
    def where(self) -> str:
        sizes = {float(eps) for by_steps in self.curves.values() for curve in by_steps.values() for eps in curve.eps}
        return f"eps {eps_text(sorted(sizes))[self.eps]}"

    def line(self, model: str) -> DataFrame:
        """`steps`, `accuracy`, `low` and `high` of a model."""
        import pandas as pd

        told = [(steps, *point_at(curve, self.eps)[:3]) for steps, curve in self.curves[model].items()]
        return pd.DataFrame(told, columns=["steps", "accuracy", "low", "high"])

    def networks(self, model: str, steps: int) -> Series:
        """Accuracy of every network of a group, by seed."""
        found: Series = self.rows[model, steps].groupby("repeat").correct.mean()
        return found

    @cached_property
    def weaker(self) -> dict[str, list[int]]:
        """For each model that met every number of steps: those that leave it surely more than the most steps do.

        Differences are paired by input, and by repeat or seed, at a level shared out over the pairs of the family.
        """
        *fewer, most = self.steps
        models = [m for m, by_steps in self.curves.items() if [*by_steps] == self.steps and self._paired(m)]
        level = 1 - 0.05 / max(len(models) * len(fewer), 1)
        return {
            m: [n for n in fewer if difference(self.rows[m, n], self.rows[m, most], level=level).low > 0]
            for m in models
        }

    def enough(self, weaker: Sequence[int]) -> int:
        """The fewest steps above all these."""
        return next(n for n in self.steps if not weaker or n > weaker[-1])

    def _paired(self, model: str) -> bool:
        """Whether some repeat was run with every number of steps, as it may not be in a run that was stopped."""
        return bool(set.intersection(*({*self.rows[model, steps].repeat} for steps in self.curves[model])))


def steps_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Accuracy against steps; None where no attack was run with at least three numbers of them on one model."""
    found = families(source, panels)
    if not found:
        return None
    how = "Bars are 95 % intervals, set side by side to be legible."
    if any(family.groups for family in found):
        how += " Lines are means over networks where there are several of a model, thin marks the single networks."
    drawing = Drawing(
        "steps",
        lambda narrow: steps_figure(found, narrow=narrow),
        "Accuracy of every model against the number of steps of the attack; the numbers are in the table below",
        f"Each line is one model under the same attack with more and more steps; lower is a stronger attack. {how}",
    )
    said = [sentence for family in found if (sentence := _sentence(family))]
    return Section("steps", "How many steps the attack needs", said, [drawing], [steps_table(found)])


def families(source: StoredRun, panels: Sequence[Panel]) -> list[Family]:
    """Every attack with at least three numbers of steps on a model, at the eps informative at the most steps."""
    together, told = pool_networks(source), groups(source.about)
    members = {label for seeds in told.values() for label in seeds.values()}
    alone = [panel for panel in panels if panel.model not in members]
    compared = [*panels_of(accuracy_table(together)), *alone]
    clean = {panel.model: panel.clean for panel in compared if panel.clean is not None}
    kept, found = _alike(compared), []
    for (key, curves), label in zip(kept.items(), _labels(list(kept)), strict=True):
        last = {model: by_steps[max(by_steps)] for model, by_steps in curves.items()}
        eps = set.intersection(*({*curve.eps} for by_steps in curves.values() for curve in by_steps.values()))
        if eps:
            norm, last = key[SAME.index("norm")], {model: curve[curve.eps.isin(eps)] for model, curve in last.items()}
            size = SharedAttack(label, norm, last, {m: p for m, p in clean.items() if m in last}).informative()
            parts = [rows for rows in (together, source.rows) if len(rows)]
            behind = {place: rows for part in parts for place, rows in _behind(part, key, size).items()}
            found.append(Family(label, norm, size, curves, behind, {*told} & {*curves}))
    return found


def steps_table(found: Sequence[Family]) -> Table:
    """A line for each model, a column for each number of steps; the .csv has every eps."""
    import pandas as pd

    steps, several = sorted({n for family in found for n in family.steps}), len(found) > 1
    body = []
    for family in found:
        enough = {model: family.enough(weaker) for model, weaker in family.weaker.items()}
        for model, by_steps in family.curves.items():
            points = [point_at(by_steps[n], family.eps).in_full() if n in by_steps else "" for n in steps]
            settled = str(enough[model]) if enough.get(model, family.steps[-1]) < family.steps[-1] else ""
            body.append([family.label] * several + [model, family.where.removeprefix("eps "), *points, settled])
    head = ["attack"] * several + ["model", "eps", *(counted("steps", n) for n in steps), "no further fall from"]
    note = "Accuracy with its 95 % interval. No further fall: the fewest steps from which on no number of them leaves "
    note += "surely more than the most steps do, paired by input."
    if any(family.groups for family in found):
        note += " Of several networks of a model: their mean ± their standard deviation."
    return Table("steps", pd.DataFrame([line for family in found for line in _lines(family)]), head, body, note=note)


@styled()
def steps_figure(found: Sequence[Family], *, narrow: bool = False) -> Figure:
    """Accuracy against steps on a log axis: a line for each model, one set of axes for each attack."""
    models = list(dict.fromkeys(model for family in found for model in family.curves))
    width = 3.7 if narrow else 7.6
    # one attack has room for its legend beside it, where labels are short
    below = narrow or len(found) > 1 or legend_columns(width, models) < 3
    more = legend_height(width, models) if below and len(models) > 1 else 0.0
    figure, axes = facets(len(found), narrow=narrow, height=2.7 if narrow else 3.4, more=more, sharey=True)
    styles = {m: s | {"marker": SHAPES.get(s["ls"], s["marker"])} | THIN for m, s in named_styles(models).items()}
    handles: dict[str, Any] = {}
    for place, (axis, family) in enumerate(zip(axes, found, strict=True)):
        handles |= _draw(axis, family, styles)
        _steps_axis(axis, family.steps)
        axis.set(title=f"under {family.label}, {family.where}", xlabel="steps of the attack", ylim=(-0.02, 1.02))
        axis.set_ylabel("" if place % 2 and not narrow else "accuracy")
    if len(models) > 1:
        legend(figure, handles, below=below)
    return figure


def _draw(axis: Axes, family: Family, styles: Mapping[str, Any]) -> dict[str, Any]:
    """Lines with intervals, and thin marks for the networks of groups; model -> line."""
    lines = {model: family.line(model).rename(columns={"steps": "eps"}) for model in family.curves}
    look: dict[str, Any] = {"ls": "", "marker": "_", "ms": 6, "mew": 0.9, "zorder": 2.2}
    for place, model in enumerate(lines):
        if model in family.groups:
            beside = {"transform": sideways_offset(axis, place, len(lines)), "color": styles[model]["color"]}
            for steps in family.curves[model]:
                single = family.networks(model, steps)
                axis.plot([steps] * len(single), single, **look, **beside)
    return draw_lines(axis, lines, styles)


def _steps_axis(axis: Axes, steps: Sequence[int]) -> None:
    """A log axis with ticks at the steps that were run, left out where they would touch."""
    log_axis(axis, steps)
    gap, shown = (steps[-1] / steps[0]) ** 0.07, [steps[0]]
    for number in steps[1:]:
        if number >= gap * shown[-1]:
            shown.append(number)
    axis.set_xticks(shown, [str(number) for number in shown])


def _alike(compared: Sequence[Panel]) -> dict[tuple[Any, ...], dict[str, dict[int, DataFrame]]]:
    """By the columns of SAME, model and steps: the curves of attacks with enough numbers of steps."""
    together: dict[tuple[Any, ...], dict[str, dict[int, DataFrame]]] = {}
    for panel in compared:
        for curve in panel.curves.values():
            first = curve.iloc[0]
            by_model = together.setdefault(tuple(first[column] for column in SAME), {})
            by_model.setdefault(panel.model, {})[int(first.steps)] = curve
    kept = {
        key: {model: dict(sorted(by_steps.items())) for model, by_steps in part.items() if len(by_steps) >= MIN_VALUES}
        for key, part in together.items()
    }
    return {key: part for key, part in kept.items() if part}


def _labels(keys: Sequence[tuple[Any, ...]]) -> list[str]:
    """ "PGD-10 (cw)": the attack, with what tells it from the others of its name."""
    told = [dict(zip(SAME, key, strict=True)) for key in keys]
    names = [attack_name(one["attack"], one["attack_draws"]) for one in told]
    words = [
        (
            f"{NORMS.get(one['norm'], one['norm'])} norm",
            one["loss"],
            counted("restarts", one["restarts"]),
            f"{one['inference_draws']} inference draws",
        )
        for one in told
    ]
    labels = []
    for name, own in zip(names, words, strict=True):
        same = [other for label, other in zip(names, words, strict=True) if label == name]
        labels.append(named(name, *(word for word, *column in zip(own, *same, strict=True) if len({*column}) > 1)))
    return labels


def _behind(rows: DataFrame, key: tuple[Any, ...], eps: float) -> dict[tuple[str, int], DataFrame]:
    """The rows of an attack at one eps, by model and steps."""
    chosen = (rows.role == "sweep") & (rows.eps == eps)
    for column, value in zip(SAME, key, strict=True):
        chosen &= rows[column] == value
    return {(str(model), int(steps)): part for (model, steps), part in rows[chosen].groupby(["model", "steps"])}


def _lines(family: Family) -> list[dict[str, Any]]:
    """Every model with every number of steps at every eps."""
    found = []
    for model, by_steps in family.curves.items():
        for steps, curve in by_steps.items():
            networks = len(family.networks(model, steps)) if model in family.groups else 1
            for eps in curve.eps:
                told = {"attack": family.label, "norm": family.norm, "model": model, "steps": steps, "eps": eps}
                point = dict(zip(("accuracy", "low", "high", "spread"), point_at(curve, eps), strict=True))
                found.append(told | {"networks": networks} | point)
    return found


def _sentence(family: Family) -> str:
    """On which models accuracy falls, from how many steps on no further, and of which nearly nothing is left."""
    weaker, first, last = family.weaker, family.steps[0], family.steps[-1]
    if not weaker:
        return ""
    fallen = [model for model, steps in weaker.items() if first in steps]
    falls = f"shows no fall beyond chance from {first} to {last} steps" + " on any model" * (len(weaker) > 1)
    if fallen:
        falls = f"falls beyond chance from {first} to {last} steps on {_these(fallen, len(weaker))}"
    told = [f"Under {family.label} at {family.where} accuracy {falls}"]
    told += _plateaus(family, weaker)
    points = {model: point_at(family.curves[model][last], family.eps) for model in weaker}
    empty = [f"{model} ({point.value:.3f})" for model, point in points.items() if point.high < NOTHING]
    told += [f"surely less than {NOTHING} is left of {listed(empty)}"] if empty else []
    return f"{'; '.join(told)}."


def _plateaus(family: Family, weaker: Mapping[str, Sequence[int]]) -> list[str]:
    """ "it falls no further from 10 steps on for A and from 50 for B", "it still falls from 200 to 500 on C"."""
    *_, before, last = family.steps
    by_number: dict[int, list[str]] = {}
    for model, steps in weaker.items():
        by_number.setdefault(family.enough(steps), []).extend([model] * bool(steps))
    still = by_number.pop(last, [])
    parts = [(number, by_number[number]) for number in sorted(by_number) if by_number[number]]
    told = [f"it still falls from {before} to {last} on {_these(still, len(weaker))}"] if still else []
    if not parts:
        return told
    where = [f"from {number} for {listed(models)}" for number, models in parts]
    where[0] = where[0].replace(" for ", " steps on for ", 1)
    if len(parts) == 1:
        where = [f"from {parts[0][0]} steps on" + " for the others" * bool(still)]
    elif sum(len(models) for _, models in parts) > MANY:
        where = [f"from {parts[0][0]} to {parts[-1][0]} steps on, depending on the model"]
    return [*told, f"it falls no further beyond chance {listed(where)}"]


def _these(models: Sequence[str], of: int) -> str:
    """Names of a few models, or how many of all."""
    if len(models) == of > 1:
        return "both models" if of == 2 else f"all {of} models"
    return listed(models) if len(models) <= MANY else f"{len(models)} of {of} models"
