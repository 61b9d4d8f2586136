"""Conditions of robustness beside what happened: the linear and the smooth one, and accuracy, against eps."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import mean_interval
from unshaken.report.condition_rows import distinguishing_title, main_inference_draws, true_share, values_by_input
from unshaken.report.drawing import attack_colours, eps_lines, facet_figure, styled
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table, interval_cells, interval_columns
from unshaken.report.sections.comparison import analysis_setting, eps_curve, of_representatives, shared_level
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text
from unshaken.runs.record import RunRecord

WORDING = Wording("conditions")
MOST = 6  # with more pairs of model and attack than this, the strongest attack on each model is drawn
ACCURACY, LINEAR, FAILS = "accuracy", "linear condition", ", fails"
STYLES: list[dict[str, Any]] = [  # the linear condition, then each smooth one
    {"color": "#d55e00", "lw": 1.4, "marker": "D", "ms": 4.2, "mfc": "none", "ls": "-"},
    {"color": "#c78500", "lw": 1.4, "marker": "v", "ms": 4.6, "ls": (0, (5, 1.5))},
    {"color": "#6a51a3", "lw": 1.4, "marker": "^", "ms": 4.6, "ls": (0, (2, 1))},
    {"color": "#8c8c8c", "lw": 1.4, "marker": "s", "ms": 4.0, "ls": (0, (5, 1, 1, 1))},
]


class Conditions(NamedTuple):
    """One attack on one model over several sizes: its rows, and those of the analysis of each smooth condition."""

    title: str
    model: str
    attack: str
    inference_draws: int
    rows: DataFrame
    smooth: dict[str, DataFrame]

    def eps(self) -> list[float]:
        return sorted(float(eps) for eps in self.rows.eps.unique())

    def at(self, eps: float) -> DataFrame:
        return self.rows[self.rows.eps == eps]

    def curves(self) -> dict[str, DataFrame]:
        """Accuracy, and the share of inputs with each condition, by name: eps, accuracy, low, high."""
        columns = {ACCURACY: (self.rows, "survived"), LINEAR: (self.rows, "linear")}
        columns |= {name: (rows, "smooth") for name, rows in self.smooth.items()}
        return {
            name: eps_curve({eps: true_share(group, column) for eps, group in rows.groupby("eps")})
            for name, (rows, column) in columns.items()
        }


def conditions_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The conditions beside accuracy; None where they were not measured, or at one size only."""
    conditions = measured_conditions(source)
    if not conditions:
        return None
    drawn = drawn_conditions(conditions, source.record)
    drawing = WORDING.drawing("conditions", lambda narrow: conditions_figure(drawn, narrow=narrow), conditions, drawn)
    strongest = _strongest(conditions)
    sentences = [_sentence(case, several=len(strongest) > 1) for case in of_representatives(source.record, strongest)]
    return Section("conditions", WORDING.title(), sentences, [drawing], [conditions_table(conditions)])


def measured_conditions(source: StoredRun) -> list[Conditions]:
    """Every attack on every model that was run at several sizes, under the largest number of inference draws."""
    rows = source.analyses.get("conditions")
    if rows is None:
        return []
    # the linear condition agrees where it says what happened to an input that was right
    rows = rows.assign(agrees=rows.linear.astype(bool) == (rows.survived.astype(bool) & rows.correct.astype(bool)))
    names, conditions = _smooth_names(rows, source.record), []
    for (model, attack), attacked in rows.groupby(["model", "attack"], sort=False):
        draws = main_inference_draws(attacked, "eps")
        attacked = attacked[attacked.inference_draws == draws]
        by_analysis = dict(iter(attacked.groupby("analysis", sort=False)))
        first = max(by_analysis.values(), key=lambda group: group.eps.nunique())
        if first.eps.nunique() > 1:
            title = distinguishing_title({"model": model, "attack": attack}, rows)
            computed = {label: group[group.smooth.notna()] for label, group in by_analysis.items() if label in names}
            smooth = {names[label]: group for label, group in computed.items() if len(group)}
            conditions.append(Conditions(title, model, attack, draws, first, smooth))
    return conditions


def drawn_conditions(conditions: Sequence[Conditions], record: RunRecord) -> list[Conditions]:
    """All if they are few; otherwise the strongest attack on each model, of each group of models the first."""
    return list(conditions) if len(conditions) <= MOST else of_representatives(record, _strongest(conditions))


def conditions_table(conditions: Sequence[Conditions]) -> Table:
    """Accuracy, the share with each condition, how often the linear one agrees, and where a smooth one is violated."""
    data = pd.DataFrame([_shares(case, eps) for case in conditions for eps in case.eps()])
    names = list(dict.fromkeys(name for case in conditions for name in case.smooth))
    heads = {"accuracy": "accuracy", "linear": "linear", "agreement": "linear agrees"}
    heads |= {text: head for name in names for text, head in ((name, name), (name + FAILS, "fails"))}
    columns = [
        ("model", data.title if len(conditions) > 1 else None),
        ("eps", data.eps.map(eps_text(data.eps))),
        *((head, interval_cells(data, text)) for text, head in heads.items()),
    ]
    return column_table("conditions", data, columns, note=WORDING.note(names))


@styled()
def conditions_figure(conditions: Sequence[Conditions], *, narrow: bool = False) -> Figure:
    """Accuracy and the share with each condition against eps, one set of axes for each model and attack."""
    curves = [case.curves() for case in conditions]
    names = list(dict.fromkeys(name for lines in curves for name in lines))
    styles = dict(zip(names[1:], STYLES * len(names), strict=False))
    colours = attack_colours([case.attack for case in conditions])

    def draw(axis: Axes, content: tuple[Conditions, dict[str, DataFrame]]) -> dict[str, Any]:
        case, lines = content
        broad = {"color": colours[case.attack], "lw": 3.2, "marker": "o", "ms": 5.5, "ls": "-", "zorder": 1.9}
        return eps_lines(axis, lines, styles | {ACCURACY: broad}, title=case.title)

    contents, ylabel, height = list(zip(conditions, curves, strict=True)), "share of inputs", (3.2, 2.7, 2.3)
    return facet_figure(contents, draw, narrow=narrow, height=height, ylabel=ylabel, labels=names, sharey=True)


def _smooth_names(rows: DataFrame, record: RunRecord) -> dict[str, str]:
    """The smooth condition of each analysis that has one, named by the smoothness that it assumes."""
    labels = rows[rows.smooth.notna()].analysis.unique() if "smooth" in rows else []
    names = {}
    for label in labels:
        smoothness = analysis_setting(record, label, "smoothness")
        assumption = f"{smoothness} L" if isinstance(smoothness, str) else label if len(labels) > 1 else ""
        assumption = f"L = {smoothness:g}" if isinstance(smoothness, int | float) else assumption
        names[str(label)] = "smooth condition" + f" ({assumption})" * bool(assumption)
    return names


def _shares(case: Conditions, eps: float) -> dict[str, Any]:
    """A line of the .csv; a smooth condition that was not computed at this size is left out."""
    rows = case.at(eps)
    line: dict[str, Any] = {name: getattr(case, name) for name in ("title", "model", "attack", "inference_draws")}
    line |= {"eps": eps, "n": rows["index"].nunique()}
    for name, column in (("accuracy", "survived"), ("linear", "linear"), ("agreement", "agrees")):
        line |= interval_columns(name, true_share(rows, column))
    for name, smooth in case.smooth.items():
        rows = smooth[smooth.eps == eps]
        if len(rows):
            rows = rows.assign(violated=rows.smooth.astype(bool) & ~rows.survived.astype(bool))
            line |= interval_columns(name, true_share(rows, "smooth"))
            line |= interval_columns(name + FAILS, true_share(rows, "violated"))
    return line


def _strongest(conditions: Sequence[Conditions]) -> list[Conditions]:
    """Of each model the attack with the lowest accuracy on average."""
    by_model = {case.model: [other for other in conditions if other.model == case.model] for case in conditions}
    return [min(cases, key=lambda case: case.rows.survived.mean()) for cases in by_model.values()]


def _sentence(case: Conditions, *, several: bool) -> str:
    """How often the linear condition agrees, where it is furthest from accuracy, and what the smooth ones promise."""
    agrees = case.rows.groupby(["index", "repeat"], as_index=False).agrees.mean()
    gaps = {}
    for eps in case.eps():
        change = values_by_input(case.at(eps), "linear") - values_by_input(case.at(eps), "survived")
        gaps[eps] = mean_interval(change, level=shared_level(len(case.eps())))
    furthest = max(gaps, key=lambda eps: abs(gaps[eps].value))
    return WORDING.sentence(case, several, true_share(agrees, "agrees"), furthest, gaps[furthest])
