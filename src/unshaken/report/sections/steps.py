"""Accuracy against the steps of an attack: from how many on more of them no longer help it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series

from unshaken.evaluation.checks import attack_name, counted, named
from unshaken.evaluation.statistics import differences
from unshaken.report.accuracy import NORMS, SERIES, Panel, SharedAttack, point_at
from unshaken.report.drawing import WIDTHS, draw_lines, facet_figure, legend_columns, log_axis, named_styles, styled
from unshaken.report.groups import THIN, draw_networks, groups, network_accuracy, pooled_panels
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.sections.budget import SHAPES
from unshaken.report.sections.models import MANY
from unshaken.report.stored_run import StoredRun
from unshaken.report.sweep import MIN_VALUES
from unshaken.report.wording import eps_text, listed

# what attacks have in common that differ in their steps alone
SAME = [column for column in SERIES if column not in ("model", "steps")]
NOTHING = 0.05  # a model whose accuracy is surely below this has nearly none left


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
    def eps_text(self) -> str:
        sizes = {float(eps) for by_steps in self.curves.values() for curve in by_steps.values() for eps in curve.eps}
        return eps_text(sorted(sizes))[self.eps]

    def line(self, model: str) -> DataFrame:
        """Accuracy of a model against steps, as `draw_lines` takes it against eps."""
        points = [(steps, *point_at(curve, self.eps)[:3]) for steps, curve in self.curves[model].items()]
        return pd.DataFrame(points, columns=["eps", "accuracy", "low", "high"])

    def networks(self, model: str) -> dict[int, Series]:
        """Accuracy of every network of a group, by seed, for each number of steps."""
        return {steps: network_accuracy(self.rows[model, steps]) for steps in self.curves[model]}

    @cached_property
    def weaker(self) -> dict[str, list[int]]:
        """For each model that met every number of steps: those that leave it surely more than the most steps do.

        Differences are paired by input, and by repeat or seed, at a level shared out over the pairs of the family.
        """
        *fewer, most = self.steps
        models = [m for m, by_steps in self.curves.items() if [*by_steps] == self.steps]
        # in a run that was stopped there may be no repeat with every number of steps
        models = [m for m in models if set.intersection(*({*self.rows[m, n].repeat} for n in self.steps))]
        pairs = [(m, n) for m in models for n in fewer]
        changes = differences((self.rows[m, n], self.rows[m, most]) for m, n in pairs)
        more = {pair for pair, change in zip(pairs, changes, strict=True) if change.low > 0}
        return {m: [n for n in fewer if (m, n) in more] for m in models}

    def enough(self, weaker: Sequence[int]) -> int:
        """The fewest steps above all these."""
        return next(n for n in self.steps if not weaker or n > weaker[-1])


def steps_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Accuracy against steps; None where no attack was run with at least three numbers of them on one model."""
    families = step_families(run, panels)
    if not families:
        return None
    how = "Bars are 95 % intervals, set side by side to be legible."
    if any(family.groups for family in families):
        how += " Lines are means over networks where there are several of a model, thin marks the single networks."
    drawing = Drawing(
        "steps",
        lambda narrow: steps_figure(families, narrow=narrow),
        "Accuracy of every model against the number of steps of the attack; the numbers are in the table below",
        f"Each line is one model under the same attack with more and more steps; lower is a stronger attack. {how}",
    )
    sentences = [sentence for family in families if (sentence := _sentence(family))]
    return Section("steps", "How many steps the attack needs", sentences, [drawing], [steps_table(families)])


def step_families(run: StoredRun, panels: Sequence[Panel]) -> list[Family]:
    """Every attack with at least three numbers of steps on a model, at the eps informative at the most steps."""
    pooled, compared = pooled_panels(run, panels)
    clean = {panel.model: panel.clean for panel in compared if panel.clean is not None}
    by_attack, families = _curves_by_attack(compared), []
    for (key, curves), label in zip(by_attack.items(), _labels(list(by_attack)), strict=True):
        common = set.intersection(*({*curve.eps} for by_steps in curves.values() for curve in by_steps.values()))
        if not common:
            continue
        longest = {model: by_steps[max(by_steps)] for model, by_steps in curves.items()}
        longest = {model: curve[curve.eps.isin(common)] for model, curve in longest.items()}
        norm, points = key[SAME.index("norm")], {model: point for model, point in clean.items() if model in longest}
        eps = SharedAttack(label, norm, longest, points).informative()
        rows = _rows(pooled, key, eps) | _rows(run.rows, key, eps)
        families.append(Family(label, norm, eps, curves, rows, {*groups(run.record)} & {*curves}))
    return families


def steps_table(families: Sequence[Family]) -> Table:
    """A line for each model, a column for each number of steps; the .csv has every eps."""
    steps, several = sorted({n for family in families for n in family.steps}), len(families) > 1
    body = []
    for family in families:
        enough = {model: family.enough(weaker) for model, weaker in family.weaker.items()}
        for model, by_steps in family.curves.items():
            points = [point_at(by_steps[n], family.eps).in_full() if n in by_steps else "" for n in steps]
            settled = str(enough[model]) if enough.get(model, family.steps[-1]) < family.steps[-1] else ""
            body.append([family.label] * several + [model, family.eps_text, *points, settled])
    head = ["attack"] * several + ["model", "eps", *(counted("steps", n) for n in steps), "no further fall from"]
    note = "Accuracy with its 95 % interval. No further fall: the fewest steps from which on no number of them leaves "
    note += "surely more than the most steps do, paired by input."
    if any(family.groups for family in families):
        note += " Of several networks of a model: their mean ± their standard deviation."
    data = [
        (family.label, family.norm, model, n, eps, count, *point_at(curve, eps))
        for family in families
        for model, by_steps in family.curves.items()
        for n, curve in by_steps.items()
        for count in [family.rows[model, n].repeat.nunique() if model in family.groups else 1]
        for eps in curve.eps
    ]
    names = ["attack", "norm", "model", "steps", "eps", "networks", "accuracy", "low", "high", "spread"]
    return Table("steps", pd.DataFrame(data, columns=names), head, body, note=note)


@styled()
def steps_figure(families: Sequence[Family], *, narrow: bool = False) -> Figure:
    """Accuracy against steps on a log axis: a line for each model, one set of axes for each attack."""
    models = list(dict.fromkeys(model for family in families for model in family.curves))
    styles = {m: s | {"marker": SHAPES.get(s["ls"], s["marker"])} | THIN for m, s in named_styles(models).items()}

    def draw(axis: Axes, family: Family) -> dict[str, Any]:
        for index, model in enumerate(family.curves):
            if model in family.groups:
                draw_networks(axis, family.networks(model), styles[model]["color"], index, len(family.curves))
        handles = draw_lines(axis, {model: family.line(model) for model in family.curves}, styles)
        _steps_axis(axis, family.steps)
        title = f"under {family.label}, eps {family.eps_text}"
        axis.set(title=title, xlabel="steps of the attack", ylim=(-0.02, 1.02))
        return handles

    # one attack has room for its legend beside it, where labels are short
    below = narrow or len(families) > 1 or legend_columns(WIDTHS[narrow], models) < 3
    options: dict[str, Any] = {"ylabel": "accuracy", "labels": models if len(models) > 1 else [], "sharey": True}
    return facet_figure(families, draw, narrow=narrow, height=2.7 if narrow else 3.4, below=below, **options)


def _steps_axis(axis: Axes, steps: Sequence[int]) -> None:
    """A log axis with ticks at the steps that were run, left out where they would touch."""
    log_axis(axis, steps)
    gap, ticks = (steps[-1] / steps[0]) ** 0.07, [steps[0]]
    for number in steps[1:]:
        ticks += [number] * (number >= gap * ticks[-1])
    axis.set_xticks(ticks, [str(number) for number in ticks])


def _curves_by_attack(compared: Sequence[Panel]) -> dict[tuple[Any, ...], dict[str, dict[int, DataFrame]]]:
    """By the columns of SAME, model and steps: the curves of attacks with enough numbers of steps."""
    by_steps: dict[tuple[Any, ...], dict[int, DataFrame]] = {}
    for panel in compared:
        for curve in panel.curves.values():
            first = curve.iloc[0]
            by_steps.setdefault((tuple(first[SAME]), panel.model), {})[int(first.steps)] = curve
    by_attack: dict[tuple[Any, ...], dict[str, dict[int, DataFrame]]] = {}
    for (key, model), curves in by_steps.items():
        if len(curves) >= MIN_VALUES:
            by_attack.setdefault(key, {})[model] = dict(sorted(curves.items()))
    return by_attack


def _labels(keys: Sequence[tuple[Any, ...]]) -> list[str]:
    """ "PGD-10 (cw)": the attack, with what tells it from the others of its name."""
    attacks = [dict(zip(SAME, key, strict=True)) for key in keys]
    names = [attack_name(attack["attack"], attack["attack_draws"]) for attack in attacks]
    settings = []
    for attack in attacks:
        norm, restarts = f"{NORMS.get(attack['norm'], attack['norm'])} norm", counted("restarts", attack["restarts"])
        settings.append((norm, attack["loss"], restarts, f"{attack['inference_draws']} inference draws"))
    labels = []
    for name, setting in zip(names, settings, strict=True):
        same = [other for label, other in zip(names, settings, strict=True) if label == name]
        labels.append(named(name, *(text for text, *others in zip(setting, *same, strict=True) if len({*others}) > 1)))
    return labels


def _rows(rows: DataFrame, key: tuple[Any, ...], eps: float) -> dict[tuple[str, int], DataFrame]:
    """The rows of an attack at one eps, by model and steps."""
    chosen = (rows.role == "sweep") & (rows.eps == eps)
    for column, value in zip(SAME, key, strict=True):
        chosen &= rows[column] == value
    return dict(iter(rows[chosen].groupby(["model", "steps"])))


def _sentence(family: Family) -> str:
    """On which models accuracy falls, from how many steps on no further, and of which nearly nothing is left."""
    weaker, first, last = family.weaker, family.steps[0], family.steps[-1]
    if not weaker:
        return ""
    fallen = [model for model, steps in weaker.items() if first in steps]
    falls = f"shows no fall beyond chance from {first} to {last} steps" + " on any model" * (len(weaker) > 1)
    if fallen:
        falls = f"falls beyond chance from {first} to {last} steps on {_names(fallen, len(weaker))}"
    clauses = [f"Under {family.label} at eps {family.eps_text} accuracy {falls}", *_plateaus(family, weaker)]
    points = {model: point_at(family.curves[model][last], family.eps) for model in weaker}
    empty = [f"{model} ({point.value:.3f})" for model, point in points.items() if point.high < NOTHING]
    clauses += [f"surely less than {NOTHING} is left of {listed(empty)}"] if empty else []
    return f"{'; '.join(clauses)}."


def _plateaus(family: Family, weaker: Mapping[str, Sequence[int]]) -> list[str]:
    """ "it falls no further from 10 steps on for A and from 50 for B", "it still falls from 200 to 500 on C"."""
    *_, before, last = family.steps
    settled: dict[int, list[str]] = {}
    for model in sorted(filter(weaker.get, weaker), key=lambda model: weaker[model][-1]):
        settled.setdefault(family.enough(weaker[model]), []).append(model)
    falling = settled.pop(last, [])
    clauses = [f"it still falls from {before} to {last} on {_names(falling, len(weaker))}"] if falling else []
    if not settled:
        return clauses
    starts = [f"from {number} for {listed(models)}" for number, models in settled.items()]
    starts[0] = starts[0].replace(" for ", " steps on for ", 1)
    if len(settled) == 1:
        starts = [f"from {min(settled)} steps on" + " for the others" * bool(falling)]
    elif sum(map(len, settled.values())) > MANY:
        starts = [f"from {min(settled)} to {max(settled)} steps on, depending on the model"]
    return [*clauses, f"it falls no further beyond chance {listed(starts)}"]


def _names(models: Sequence[str], of: int) -> str:
    """Names of a few models, or how many of all."""
    if len(models) == of > 1:
        return "both models" if of == 2 else f"all {of} models"
    return listed(models) if len(models) <= MANY else f"{len(models)} of {of} models"
