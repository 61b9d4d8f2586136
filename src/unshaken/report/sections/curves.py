"""Accuracy during training, clean and under attack: at every step that was evaluated, and at the selected one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unshaken.report.accuracy import Panel
from unshaken.report.drawing import CLEAN, facets, legend, legend_height, named_styles, styled
from unshaken.report.groups import group_of
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text, listed, number_word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

LAST = 10
"""Evaluations at the end of a training that are averaged."""

MANY = 4
"""Models of which a sentence tells each; of more it tells the least and the most."""


def curves_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Accuracy at every step that was evaluated; None where no training was."""
    rows = scored(source)
    if rows.empty:
        return None
    settings = source.about["recipe"]["curves"]
    drawing = Drawing(
        "scores",
        lambda narrow: curves_figure(rows, settings["smooth"], narrow=narrow),
        "Accuracy against the step of training, clean and under each attack; the numbers are in tables/scores.csv",
        _caption(rows, settings),
    )
    selected = selected_table(rows, settings) if rows.selected.any() else None
    tables = [last_table(rows), *([selected] if selected else [])]
    said = [_sentence(rows, settings)] if selected else []
    return Section("scores", "Accuracy during training", said, [drawing], tables)


def scored(source: StoredRun) -> DataFrame:
    """One row for each network, evaluation and attack: what share of the images was right."""
    import pandas as pd

    curves = source.about.get("recipe", {}).get("curves") or {"attacks": []}
    sizes = {attack["label"]: float(attack["eps"][0]) for attack in curves["attacks"]}
    texts = eps_text(sizes.values())
    names = {label: f"{label}, eps {texts[eps]}" for label, eps in sizes.items()}
    group, found = group_of(source.about, source.histories), []
    for model, epochs in source.histories.items():
        for score in (score for epoch in epochs for score in epoch.get("scores", [])):
            for name, right in score["right"].items():
                told = (names.get(name, CLEAN), name, sizes.get(name, 0.0), score["step"], score["images"], right)
                found.append((group[model], model, *told, right / score["images"], score.get("selected", False)))
    columns = ["group", "model", "title", "attack", "eps", "step", "images", "right", "accuracy", "selected"]
    return pd.DataFrame(found, columns=columns)


def last(rows: DataFrame) -> DataFrame:
    """The rows of the last evaluations of each network."""
    place = rows.groupby(["model", "title"]).step.rank(ascending=False)
    chosen: DataFrame = rows[place <= LAST]
    return chosen


def by_network(rows: DataFrame) -> DataFrame:
    """Mean accuracy of each network under each attack, as columns in their order."""
    found = rows.groupby(["group", "model", "title"], sort=False).accuracy.mean().unstack()
    return found[list(dict.fromkeys(rows.title))]


def last_table(rows: DataFrame) -> Table:
    """Mean of the last evaluations of each model under each attack; the .csv has every evaluation of every network."""
    counts = rows.groupby("model").step.nunique()
    few = min(LAST, int(counts.min()))
    body = _body(by_network(last(rows)))
    head = ["model", *dict.fromkeys(rows.title)]
    note = (
        f"Mean over the last {number_word(LAST)} evaluations of a network"
        if few == LAST
        else "Mean over its evaluations, "
    )
    note += "" if few == LAST else f"the last {number_word(LAST)} at most"
    note += f"; no value is left out or replaced.{_spread(rows)} Every single evaluation is in tables/scores.csv."
    return Table(
        "scores", rows.drop(columns="title"), head, body, f"Mean of the last {number_word(LAST)} evaluations", note
    )


def selected_table(rows: DataFrame, settings: dict[str, Any]) -> Table:
    """Accuracy of each model at the step whose weights it kept, and how much more that is than at the end."""
    chosen = rows[rows.selected]
    gaps = above(rows, settings)
    body = _body(by_network(chosen), [chosen.groupby("model").step.first(), gaps])
    head = ["model", "step", *dict.fromkeys(rows.title), "above the last ten"]
    note = (
        f"Each network has the weights of the step with its highest accuracy {_by(rows, settings)}; the last column is "
    )
    note += (
        f"how much higher that is than the mean of its last {number_word(LAST)} evaluations. Since it was chosen for "
    )
    note += f"being high, part of it is luck.{_spread(rows)}"
    data = chosen.drop(columns=["title", "selected"]).assign(above_last=chosen.model.map(gaps))
    return Table("scores_selected", data, head, body, "At the selected step", note)


def above(rows: DataFrame, settings: dict[str, Any]) -> Any:
    """Accuracy of each network at its selected step less the mean of its last evaluations, under what selected it."""
    own = rows[rows.attack == settings["select"]]
    best = own[own.selected].set_index("model").accuracy
    return best - last(own).groupby("model").accuracy.mean()[best.index]


@styled()
def curves_figure(rows: DataFrame, smooth: int, *, narrow: bool = False) -> Figure:
    """Accuracy against the step, one set of axes for each attack and a line for each model: the mean over networks.

    Marks are single evaluations of single networks. With `smooth` above 1 a running median of the mean lies over it.
    """
    from matplotlib.ticker import MaxNLocator

    titles, styles = list(dict.fromkeys(rows.title)), named_styles(list(dict.fromkeys(rows.group)))
    many = len(styles) > 1
    more = legend_height(3.7 if narrow else 7.6, list(styles)) if many else 0.0
    figure, axes = facets(len(titles), narrow=narrow, height=2.4 if narrow else 3.0, more=more)
    handles: dict[str, Any] = {}
    for place, (axis, title) in enumerate(zip(axes, titles, strict=True)):
        for group, own in rows[rows.title == title].groupby("group", sort=False):
            handles[group] = _draw(axis, own, styles[group]["color"], styles[group]["ls"], smooth)
        axis.set(title=title if title == CLEAN else f"under {title}", xlabel="step of training")
        axis.set_ylabel("" if place % 2 and not narrow else "accuracy")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if many:
        legend(figure, handles, below=True)
    return figure


def _draw(axis: Axes, rows: DataFrame, colour: Any, dashes: Any, smooth: int) -> Any:
    """One model under one attack; returns its line."""
    axis.plot(rows.step, rows.accuracy, ls="", marker=".", ms=4.5, mew=0, alpha=0.6, color=colour, zorder=2)
    mean = rows.groupby("step").accuracy.mean()
    style = {"color": colour, "ls": dashes}
    (line,) = axis.plot(mean.index, mean, lw=0.7 if smooth > 1 else 1.4, alpha=0.5 if smooth > 1 else 1, **style)
    if smooth > 1:
        (line,) = axis.plot(mean.index, mean.rolling(smooth, center=True).median(), lw=1.8, **style)
    chosen = rows[rows.selected]
    axis.plot(chosen.step, chosen.accuracy, ls="", marker="o", ms=6, mfc="none", mew=1.2, color=colour, zorder=3)
    return line


def _body(found: DataFrame, more: Sequence[Any] = ()) -> list[list[str]]:
    """A line for each group: accuracies, between what else is known of each network, a step and a gap."""
    step, gap = more or (None, None)
    lines = []
    for group, own in found.groupby(level="group", sort=False):
        models = own.index.get_level_values("model")
        cells = [told(own[title]) for title in found.columns]
        steps = [] if step is None else [", ".join(f"{int(step[model]):,}" for model in models)]
        lines.append([str(group), *steps, *cells, *([] if gap is None else [told(gap[models], "+")])])
    return lines


def told(values: Any, sign: str = "") -> str:
    """Mean over networks, with their standard deviation where there are several."""
    spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
    return f"{values.mean():{sign}.3f}{spread}"


def _by(rows: DataFrame, settings: dict[str, Any]) -> str:
    """What selected the weights, in words."""
    title = rows.title[rows.attack == settings["select"]].iloc[0]
    return f"{'without an attack' if title == CLEAN else f'under {title}'} on the {_images(settings)}"


def _images(settings: dict[str, Any]) -> str:
    return f"{settings['split']} images"


def _spread(rows: DataFrame) -> str:
    return " ± is the standard deviation over networks." if (rows.group != rows.model).any() else ""


def _caption(rows: DataFrame, settings: dict[str, Any]) -> str:
    """What is drawn, and on which images."""
    several = bool((rows.group != rows.model).any())
    said = f"On {rows.images.max():,} {_images(settings)}. "
    said += "Dots are single evaluations of single networks, lines their mean" if several else "Dots are evaluations"
    if settings["smooth"] > 1:
        said += f"; the broad line is the running median over {settings['smooth']} evaluations"
    return said + ("; a ring is the step whose weights were kept." if rows.selected.any() else ".")


def _sentence(rows: DataFrame, settings: dict[str, Any]) -> str:
    """How far the selected accuracy is above the others, in which the luck of choosing is contained."""
    gaps = above(rows, settings)
    by_group = gaps.groupby(rows.groupby("model").group.first(), sort=False).mean()
    gap = listed([f"{value:.3f} for {group}" for group, value in by_group.items()])
    if len(by_group) > MANY:
        gap = f"{by_group.min():.3f} to {by_group.max():.3f}"
    if len(by_group) == 1:
        gap = f"{by_group.item():.3f}"
    over = ", on average over networks," if len(gaps) > len(by_group) else ""
    return (
        f"Weights are those of the step with the highest accuracy {_by(rows, settings)}; it is there{over} {gap} above "
        f"the mean of the last {number_word(LAST)} evaluations, part of which is the luck of choosing."
    )
