"""Accuracy during training, clean and under attack: at every step that was evaluated, and at the selected one."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame, Series

from unshaken.report.accuracy import Panel
from unshaken.report.drawing import CLEAN, facet_figure, named_styles, styled
from unshaken.report.groups import group_of
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text, listed
from unshaken.runs.settings import CurvesConfig

WORDING = Wording("curves")
LAST = 10  # evaluations at the end of a training that are averaged
MANY = 4  # models of which a sentence tells each; of more it tells the least and the most


def curves_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Accuracy at every step that was evaluated; None where no training was."""
    settings = source.record.recipe.curves
    if settings is None or (rows := scores(source, settings)).empty:
        return None
    drawing = WORDING.drawing(
        "scores", lambda narrow: curves_figure(rows, settings.smooth, narrow=narrow), rows, settings
    )
    tables, sentences = [last_table(rows)], []
    if rows.selected.any():
        tables.append(selected_table(rows, settings))
        sentences.append(_sentence(rows, settings))
    return Section("scores", WORDING.title(), sentences, [drawing], tables)


def scores(source: StoredRun, settings: CurvesConfig) -> DataFrame:
    """One row for each network, evaluation and attack: what share of the images was right."""
    sizes = {attack.label: attack.eps[0] for attack in settings.attacks}
    texts = eps_text(sizes.values())
    titles = {label: f"{label}, eps {texts[eps]}" for label, eps in sizes.items()}
    values = [
        (model, titles.get(label, CLEAN), label, sizes.get(label, 0.0), score.step, score.images, right, score.selected)
        for model, epochs in source.histories.items()
        for epoch in epochs
        for score in epoch.scores
        for label, right in score.right.items()
    ]
    columns = ["model", "title", "attack", "eps", "step", "images", "right", "selected"]
    rows = pd.DataFrame(values, columns=columns)
    rows.insert(0, "group", rows.model.map(group_of(source.record, source.histories)))
    rows.insert(8, "accuracy", rows.right / rows.images)
    return rows


def last_evaluations(rows: DataFrame) -> DataFrame:
    """The rows of the last evaluations of each network."""
    return rows[rows.groupby(["model", "title"]).step.rank(ascending=False) <= LAST]


def last_table(rows: DataFrame) -> Table:
    """Mean of the last evaluations of each model under each attack; the .csv has every evaluation of every network."""
    title, note = WORDING.last_title(LAST), WORDING.last_note(LAST, rows)
    columns = _group_columns(_network_means(last_evaluations(rows)))
    return column_table("scores", rows.drop(columns="title"), columns, title=title, note=note)


def selected_table(rows: DataFrame, settings: CurvesConfig) -> Table:
    """Accuracy of each model at the step whose weights it kept, and how much more that is than at the end."""
    selected = rows[rows.selected]
    means, gaps = _network_means(selected), above_last(rows, settings)
    groups, models = means.index.get_level_values("group"), means.index.get_level_values("model")
    steps = selected.groupby("model").step.first()[models].map("{:,}".format)
    columns = {"model": None, "step": steps.groupby(groups, sort=False).agg(", ".join), **_group_columns(means)}
    columns["above the last ten"] = gaps[models].groupby(groups, sort=False).agg(_mean_text, "+")
    data = selected.drop(columns=["title", "selected"]).assign(above_last=selected.model.map(gaps))
    title, note = WORDING.selected_title(), WORDING.selected_note(LAST, rows, settings)
    return column_table("scores_selected", data, columns, title=title, note=note)


def above_last(rows: DataFrame, settings: CurvesConfig) -> Series:
    """Accuracy of each network at its selected step less the mean of its last evaluations, under what selected it."""
    rows = rows[rows.attack == settings.select]
    best = rows[rows.selected].set_index("model").accuracy
    return best - last_evaluations(rows).groupby("model").accuracy.mean()[best.index]


@styled()
def curves_figure(rows: DataFrame, smooth: int, *, narrow: bool = False) -> Figure:
    """Accuracy against the step, one set of axes for each attack and a line for each model: the mean over networks.

    Marks are single evaluations of single networks. With `smooth` above 1 a running median of the mean lies over it.
    """
    styles = named_styles(list(dict.fromkeys(rows.group)))

    def draw(axis: Axes, title: str) -> dict[str, Any]:
        by_group = rows[rows.title == title].groupby("group", sort=False)
        handles = {str(group): _draw_group(axis, scored, styles[group], smooth) for group, scored in by_group}
        axis.set(title=title if title == CLEAN else f"under {title}", xlabel="step of training")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return handles

    titles, labels = list(dict.fromkeys(rows.title)), list(styles) if len(styles) > 1 else []
    return facet_figure(titles, draw, narrow=narrow, height=2.4 if narrow else 3.0, ylabel="accuracy", labels=labels)


def _draw_group(axis: Axes, rows: DataFrame, style: dict[str, Any], smooth: int) -> Any:
    """One model under one attack; returns its line."""
    options = {"color": style["color"], "ls": style["ls"]}
    axis.plot(rows.step, rows.accuracy, ".", color=style["color"], ms=4.5, mew=0, alpha=0.6, zorder=2)
    mean = rows.groupby("step").accuracy.mean()
    (line,) = axis.plot(mean.index, mean, lw=0.7 if smooth > 1 else 1.4, alpha=0.5 if smooth > 1 else 1, **options)
    if smooth > 1:
        (line,) = axis.plot(mean.index, mean.rolling(smooth, center=True).median(), lw=1.8, **options)
    kept = rows[rows.selected]
    axis.plot(kept.step, kept.accuracy, "o", color=style["color"], ms=6, mfc="none", mew=1.2, zorder=3)
    return line


def _network_means(rows: DataFrame) -> DataFrame:
    """Mean accuracy of each network under each attack, as columns in their order."""
    means = rows.groupby(["group", "model", "title"], sort=False).accuracy.mean().unstack()
    return means[list(dict.fromkeys(rows.title))]


def _group_columns(means: DataFrame) -> dict[str, Iterable[Any]]:
    """Such accuracies of the networks of each group as columns of text."""
    texts = means.groupby(level="group", sort=False).agg(_mean_text)
    return {"model": texts.index, **texts}


def _mean_text(values: Series, sign: str = "") -> str:
    """Mean over networks, with their standard deviation where there are several."""
    spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
    return f"{values.mean():{sign}.3f}{spread}"


def _sentence(rows: DataFrame, settings: CurvesConfig) -> str:
    """How far the selected accuracy is above the others, in which the luck of choosing is contained."""
    gaps = above_last(rows, settings)
    by_group = gaps.groupby(rows.groupby("model").group.first(), sort=False).mean()
    gap = f"{by_group.min():.3f} to {by_group.max():.3f}"
    if len(by_group) <= MANY:
        gap = listed([f"{value:.3f}" + f" for {group}" * (len(by_group) > 1) for group, value in by_group.items()])
    return WORDING.sentence(LAST, rows, settings, gap, len(gaps) > len(by_group))
