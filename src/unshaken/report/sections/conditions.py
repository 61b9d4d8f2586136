"""Conditions of robustness beside what happened: the linear and the smooth one, and accuracy, against eps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.evaluation.statistics import Interval
from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import mean_interval
from unshaken.report.condition_rows import (
    condition_rows,
    distinguishing_title,
    main_inference_draws,
    true_share,
    values_by_input,
)
from unshaken.report.drawing import attack_colours, draw_lines, eps_axis, facets, legend, legend_height, styled
from unshaken.report.groups import representatives
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text, percent, significance_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MOST = 6
"""With more pairs of model and attack than this, the strongest attack on each model is drawn."""

ACCURACY, LINEAR = "accuracy", "linear condition"
STYLES: list[dict[str, Any]] = [
    {"color": "#d55e00", "lw": 1.4, "marker": "D", "ms": 4.2, "mfc": "none", "ls": "-"},
    {"color": "#c78500", "lw": 1.4, "marker": "v", "ms": 4.6, "ls": (0, (5, 1.5))},
    {"color": "#6a51a3", "lw": 1.4, "marker": "^", "ms": 4.6, "ls": (0, (2, 1))},
    {"color": "#8c8c8c", "lw": 1.4, "marker": "s", "ms": 4.0, "ls": (0, (5, 1, 1, 1))},
]
"""The linear condition, then each smooth one."""


class Smooth(NamedTuple):
    """A smooth condition: its name, and the rows of its analysis for one attack."""

    name: str
    rows: DataFrame


class Conditions(NamedTuple):
    """One attack on one model over several sizes: its rows, and those of each smooth condition."""

    title: str
    model: str
    attack: str
    inference_draws: int
    rows: DataFrame
    smooth: list[Smooth]

    def eps(self) -> list[float]:
        """Every size, in order."""
        return sorted(float(eps) for eps in self.rows.eps.unique())

    def curves(self) -> dict[str, DataFrame]:
        """Accuracy, and the share of inputs with each condition, by name: eps, accuracy, low, high."""
        found = {ACCURACY: _shares(self.rows, "survived"), LINEAR: _shares(self.rows, "linear")}
        return found | {part.name: _shares(part.rows, "smooth") for part in self.smooth}


def conditions_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The conditions beside accuracy; None where they were not measured, or at one size only."""
    found = measured(source)
    if not found:
        return None
    drawn = shown(found, source.about)
    left = " The strongest attack on each model is drawn, and of networks that differ by their seed the first."
    left *= len(drawn) < len(found)
    smooth = (
        " The smooth condition promises survival if the network is as smooth as it assumes, so its line cannot then "
        "lie above the accuracy."
    )
    drawing = Drawing(
        "conditions",
        lambda narrow: conditions_figure(drawn, narrow=narrow),
        "Accuracy under attack and the share of inputs with each condition against eps; the numbers are in the table",
        "The broad line is the accuracy under attack. The linear condition takes the margin to be a plane around each "
        "input: where its line follows the accuracy, the direction of the attack and the margin alone explain who "
        f"survives.{smooth if any(part.smooth for part in found) else ''} Bars are 95 % intervals.{left}",
    )
    kept = {part.model: part for part in _strongest(found)}
    said = [_sentence(kept[model], several=len(kept) > 1) for model in representatives(source.about, kept)]
    return Section(
        "conditions", "What the conditions of robustness foretell", said, [drawing], [conditions_table(found)]
    )


def measured(source: StoredRun) -> list[Conditions]:
    """Every attack on every model that was run at several sizes, under the largest number of inference draws."""
    rows = condition_rows(source)
    if rows is None:
        return []
    names, found = _names(rows, source.about), []
    for (model, attack), part in rows.groupby(["model", "attack"], sort=False):
        draws = main_inference_draws(part, "eps")
        part = part[part.inference_draws == draws]
        by_analysis = {str(analysis): own for analysis, own in part.groupby("analysis", sort=False)}
        first = max(by_analysis.values(), key=lambda own: own.eps.nunique())
        if first.eps.nunique() > 1:
            title = distinguishing_title({"model": model, "attack": attack}, rows)
            found.append(Conditions(title, model, attack, draws, first, _smooth(by_analysis, names)))
    return found


def shown(found: Sequence[Conditions], about: dict[str, Any]) -> list[Conditions]:
    """All if they are few; otherwise the strongest attack on each model, of each group of models the first."""
    if len(found) <= MOST:
        return list(found)
    strongest = _strongest(found)
    kept = representatives(about, [part.model for part in strongest])
    return [part for part in strongest if part.model in kept]


def conditions_table(found: Sequence[Conditions]) -> Table:
    """Accuracy, the share with each condition, how often the linear one agrees, and where a smooth one is violated."""
    import pandas as pd

    names = list(dict.fromkeys(smooth.name for part in found for smooth in part.smooth))
    texts, values, body = eps_text(eps for part in found for eps in part.eps()), [], []
    titled = len(found) > 1
    for part in found:
        for eps in part.eps():
            rows = _agreeing(part.rows[part.rows.eps == eps])
            shares = {name: true_share(rows, name) for name in ("survived", "linear", "agrees")}
            n, draws = rows["index"].nunique(), part.inference_draws
            line: dict[str, Any] = {"title": part.title, "model": part.model, "attack": part.attack}
            line |= {"inference_draws": draws, "eps": eps, "n": n}
            for name, found_share in zip(("accuracy", "linear", "agreement"), shares.values(), strict=True):
                line |= _columns(name, found_share)
            cells = [texts[eps], *map(str, shares.values())]
            for name in names:
                numbers, told = _smooth_cells(name, next((s for s in part.smooth if s.name == name), None), eps)
                line, cells = line | numbers, cells + told
            values.append(line)
            body.append([part.title] * titled + cells)
    head = ["model"] * titled + ["eps", "accuracy", "linear", "linear agrees"]
    head += [text for name in names for text in (name, "fails")]
    note = "Shares of inputs and repeats with their 95 % intervals. The linear condition agrees where it holds for an "
    note += "input that was right before and survived, and where neither is so."
    note += " Fails: how often an input fell for which the smooth condition holds." * bool(names)
    return Table("conditions", pd.DataFrame(values), head, body, note=note)


@styled()
def conditions_figure(found: Sequence[Conditions], *, narrow: bool = False) -> Figure:
    """Accuracy and the share with each condition against eps, one set of axes for each model and attack."""
    curves = [part.curves() for part in found]
    names = list(dict.fromkeys(name for part in curves for name in part))
    height, more = 2.3 if narrow else 2.7 if len(found) > 1 else 3.2, legend_height(3.7 if narrow else 7.6, names)
    figure, axes = facets(len(found), narrow=narrow, height=height, more=more, sharey=True)
    styles = dict(zip(names[1:], STYLES * len(names), strict=False))
    colours = attack_colours([part.attack for part in found])
    handles: dict[str, Any] = {}
    for place, (axis, part, lines) in enumerate(zip(axes, found, curves, strict=True)):
        broad = {"color": colours[part.attack], "lw": 3.2, "marker": "o", "ms": 5.5, "ls": "-", "zorder": 1.9}
        handles = draw_lines(axis, lines, styles | {ACCURACY: broad}) | handles
        eps_axis(axis, part.eps())
        axis.set(title=part.title, xlabel="eps", ylabel="" if place % 2 and not narrow else "share of inputs")
    legend(figure, {name: handles[name] for name in names}, below=True)
    return figure


def _shares(rows: DataFrame, column: str) -> DataFrame:
    """The share with a condition at every eps, as `draw_lines` takes it."""
    import pandas as pd

    values = [(eps, *true_share(part, column)) for eps, part in rows.groupby("eps")]
    return pd.DataFrame(values, columns=["eps", "accuracy", "low", "high"])


def _names(rows: DataFrame, about: dict[str, Any]) -> dict[str, str]:
    """The smooth condition of each analysis that has one, named by the smoothness that it assumes."""
    entries = {entry["label"]: entry for entry in about.get("recipe", {}).get("analyses", [])}
    known = rows[rows.smooth.notna()].analysis.unique() if "smooth" in rows else []
    names = {}
    for label in known:
        smoothness = entries.get(label, {}).get("smoothness")
        told = f"{smoothness} L" if isinstance(smoothness, str) else label if len(known) > 1 else ""
        told = f"L = {smoothness:g}" if isinstance(smoothness, int | float) else told
        names[str(label)] = f"smooth condition ({told})" if told else "smooth condition"
    return names


def _smooth(by_analysis: dict[str, DataFrame], names: dict[str, str]) -> list[Smooth]:
    """The smooth conditions of one attack on one model."""
    known = {label: rows[rows.smooth.notna()] for label, rows in by_analysis.items() if label in names}
    return [Smooth(names[label], rows) for label, rows in known.items() if len(rows)]


def _agreeing(rows: DataFrame) -> DataFrame:
    """With a column for whether the linear condition agrees with what happened to an input that was right."""
    happened = rows.survived.astype(bool) & rows.correct.astype(bool)
    return rows.assign(agrees=rows.linear.astype(bool) == happened)


def _violated(rows: DataFrame) -> DataFrame:
    return rows.assign(violated=rows.smooth.astype(bool) & ~rows.survived.astype(bool))


def _smooth_cells(name: str, smooth: Smooth | None, eps: float) -> tuple[dict[str, float], list[str]]:
    """A smooth condition at one eps: columns of the .csv and cells of the text; empty where it was not computed."""
    rows = None if smooth is None else smooth.rows[smooth.rows.eps == eps]
    if rows is None or len(rows) == 0:
        return {}, ["", ""]
    found, failed = true_share(rows, "smooth"), true_share(_violated(rows), "violated")
    return _columns(name, found) | _columns(f"{name}, fails", failed), [str(found), str(failed)]


def _columns(name: str, found: Interval) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _strongest(found: Sequence[Conditions]) -> list[Conditions]:
    """Of each model the attack that leaves the least accuracy on average."""
    best: dict[str, Conditions] = {}
    for part in found:
        left = part.rows.survived.mean()
        if part.model not in best or left < best[part.model].rows.survived.mean():
            best[part.model] = part
    return list(best.values())


def _sentence(part: Conditions, *, several: bool) -> str:
    """How often the linear condition agrees, where it is furthest from accuracy, and what the smooth ones promise."""
    sizes = part.eps()
    agrees = true_share(_agreeing(part.rows).groupby(["index", "repeat"], as_index=False).agrees.mean(), "agrees")
    gaps = {}
    for eps in sizes:
        rows = part.rows[part.rows.eps == eps]
        change = values_by_input(rows, "linear") - values_by_input(rows, "survived")
        gaps[eps] = mean_interval(change, level=1 - 0.05 / len(sizes))
    furthest = max(gaps, key=lambda eps: abs(gaps[eps].value))
    here = part.rows[part.rows.eps == furthest]
    where = f"On {part.model}, under" if several else "Under"
    told = (
        f"{where} {part.attack}, the linear condition foretells what happens to {agrees} of the inputs over all "
        f"sizes; furthest from the accuracy, at eps {eps_text(sizes)[furthest]}, it holds for {here.linear.mean():.3f} "
        f"where {here.survived.mean():.3f} survive: {significance_text(gaps[furthest])}."
    )
    return " ".join([told, *(_smooth_sentence(smooth) for smooth in part.smooth)])


def _smooth_sentence(smooth: Smooth) -> str:
    """Where a smooth condition holds, and whether its promise is kept."""
    rows = smooth.rows
    held = rows[rows.smooth.astype(bool)]
    if len(held) == 0:
        return f"The {smooth.name} holds for no input at any size."
    means = rows.groupby("eps").smooth.mean().astype(float)
    texts = eps_text(float(eps) for eps in means.index)
    first, last = (f"{means[eps]:.3f} of the inputs at eps {texts[eps]}" for eps in (means.index[0], means.index[-1]))
    broken = int((~held.survived.astype(bool)).sum())
    kept = f"none of the {len(held):,} attacks for which it holds succeeds"
    if broken:
        succeed = f"{broken:,} of the {len(held):,} attacks for which it holds succeed{'s' if broken == 1 else ''}"
        kept = f"{succeed} ({percent(broken / len(held))}), so the network is not as smooth as it assumes"
    return f"The {smooth.name} holds for {first} and {last}; {kept}."
