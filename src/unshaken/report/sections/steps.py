"""Accuracy against the steps of an attack: from how many on more of them no longer help it."""

from collections.abc import Sequence
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
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.budget import SHAPES
from unshaken.report.sections.columns import column_table
from unshaken.report.sections.models import MANY
from unshaken.report.stored_run import StoredRun
from unshaken.report.sweep import MIN_VALUES
from unshaken.report.wording import eps_text

WORDING = Wording("steps")
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

    def enough(self, model: str) -> int:
        """The fewest steps above all that leave a model of `weaker` surely more than the most steps do."""
        return next(n for n in self.steps if n > max(self.weaker[model], default=0))


def steps_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Accuracy against steps; None where no attack was run with at least three numbers of them on one model."""
    families = step_families(run, panels)
    if not families:
        return None
    drawing = WORDING.drawing(
        "steps", lambda narrow: steps_figure(families, narrow=narrow), any(family.groups for family in families)
    )
    sentences = [_sentence(family) for family in families if family.weaker]
    return Section("steps", WORDING.title(), sentences, [drawing], [steps_table(families)])


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
    lines = [(family, model, by_steps) for family in families for model, by_steps in family.curves.items()]
    names = ["attack", "norm", "model", "steps", "eps", "networks", "accuracy", "low", "high", "spread"]
    curves = [
        curve.assign(attack=family.label, networks=networks)[names]
        for family, model, by_steps in lines
        for n, curve in by_steps.items()
        for networks in [family.rows[model, n].repeat.nunique() if model in family.groups else 1]
    ]
    settled = [model in family.weaker and family.enough(model) < family.steps[-1] for family, model, _ in lines]
    columns: dict[str, list[str] | None] = {
        "attack": [family.label for family, *_ in lines] if len(families) > 1 else None,
        "model": [model for _, model, _ in lines],
        "eps": [family.eps_text for family, *_ in lines],
    }
    for n in sorted({n for family in families for n in family.steps}):
        points = [point_at(curves[n], family.eps).in_full() if n in curves else "" for family, _, curves in lines]
        columns[counted("steps", n)] = points
    columns["no further fall from"] = [
        str(family.enough(model)) if fewer else "" for (family, model, _), fewer in zip(lines, settled, strict=True)
    ]
    note = WORDING.note(any(family.groups for family in families))
    return column_table("steps", pd.concat(curves), columns, note=note)


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
        log_axis(axis, family.steps)
        # ticks at the steps that were run, left out where they would touch
        gap, ticks = (family.steps[-1] / family.steps[0]) ** 0.07, family.steps[:1]
        for number in family.steps[1:]:
            ticks += [number] * (number >= gap * ticks[-1])
        axis.set_xticks(ticks, list(map(str, ticks)))
        title = f"under {family.label}, eps {family.eps_text}"
        axis.set(title=title, xlabel="steps of the attack", ylim=(-0.02, 1.02))
        return handles

    # one attack has room for its legend beside it, where labels are short
    below = narrow or len(families) > 1 or legend_columns(WIDTHS[narrow], models) < 3
    options: dict[str, Any] = {"ylabel": "accuracy", "labels": models if len(models) > 1 else [], "sharey": True}
    return facet_figure(families, draw, narrow=narrow, height=2.7 if narrow else 3.4, below=below, **options)


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
    names = [attack_name(attack, draws) for attack, _, _, draws, *_ in keys]
    settings = [
        (f"{NORMS.get(norm, norm)} norm", loss, counted("restarts", restarts), f"{draws} inference draws")
        for _, norm, loss, _, restarts, draws in keys
    ]
    labels = []
    for name, setting in zip(names, settings, strict=True):
        same = [other for label, other in zip(names, settings, strict=True) if label == name]
        labels.append(named(name, *(text for text, *others in zip(setting, *same, strict=True) if len({*others}) > 1)))
    return labels


def _rows(rows: DataFrame, key: tuple[Any, ...], eps: float) -> dict[tuple[str, int], DataFrame]:
    """The rows of an attack at one eps, by model and steps."""
    chosen = (rows.role == "sweep") & (rows.eps == eps) & (rows[SAME] == pd.Series(key, SAME)).all(axis=1)
    return dict(iter(rows[chosen].groupby(["model", "steps"])))


def _sentence(family: Family) -> str:
    """On which models accuracy falls, from how many steps on no further, and of which nearly nothing is left."""
    weaker, last = family.weaker, family.steps[-1]
    settled: dict[int, list[str]] = {}
    for model in sorted(filter(weaker.get, weaker), key=family.enough):
        settled.setdefault(family.enough(model), []).append(model)
    falling = settled.pop(last, [])
    fallen = [model for model, steps in weaker.items() if family.steps[0] in steps]
    points = {model: point_at(family.curves[model][last], family.eps) for model in weaker}
    empty = [f"{model} ({point.value:.3f})" for model, point in points.items() if point.high < NOTHING]
    return WORDING.sentence(family, fallen, falling, settled, empty, NOTHING, MANY)
