"""Accuracy for each number of inference draws, without an attack and under one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame

from unshaken.report.accuracy import Panel
from unshaken.report.condition_rows import (
    attacked_rows,
    fewer_draws_text,
    most_swept_attack,
    reported_eps,
    true_share,
    values_by_input,
)
from unshaken.report.drawing import CLEAN, eps_lines, facet_figure, inference_styles, styled
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table
from unshaken.report.sections.comparison import eps_curve, of_representatives
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import draws_text, one_eps
from unshaken.runs.record import RunRecord

WORDING = Wording("inference")


class DrawSweep(NamedTuple):
    """One model under several numbers of inference draws: all its rows, and the attack that is drawn."""

    model: str
    attack: str
    rows: DataFrame

    def by_draws(self) -> dict[int, DataFrame]:
        """The rows of the attack for each number of inference draws."""
        rows = self.rows[self.rows.attack == self.attack]
        return {int(draws): group for draws, group in rows.groupby("inference_draws")}

    def curves(self) -> dict[str, DataFrame]:
        """Accuracy against eps, from that without an attack on, for each number of inference draws in words."""
        return {
            draws_text(draws): eps_curve(
                {0.0: true_share(_clean_rows(rows), "correct")}
                | {eps: true_share(group, "survived") for eps, group in rows[rows.eps > 0].groupby("eps")}
            )
            for draws, rows in self.by_draws().items()
        }


def inference_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Accuracy by number of inference draws; None where no model was run with two of them."""
    sweeps = draw_sweeps(source)
    if not sweeps:
        return None
    eps = reported_eps(sweeps[0].rows, source)
    first: list[DrawSweep] = of_representatives(source.record, sweeps)
    drawn = [sweep for sweep in first if sweep.rows[sweep.rows.attack == sweep.attack].eps.nunique() > 1]
    drawing = WORDING.drawing("inference_draws", lambda narrow: inference_figure(drawn, narrow=narrow), drawn)
    sentences = [_sentence(sweep, eps, several=len(sweeps) > 1) for sweep in first]
    table = inference_table(sweeps, eps, source.record)
    return Section("inference", WORDING.title(), sentences, [drawing] if drawn else [], [table])


def draw_sweeps(source: StoredRun) -> list[DrawSweep]:
    """Every model with its rows, and the first attack that was run with the most numbers of inference draws."""
    rows = attacked_rows(source)
    if rows is None:
        return []
    several = rows[rows.groupby(["model", "attack"]).inference_draws.transform("nunique") > 1]
    by_model = several.groupby("model", sort=False)
    return [DrawSweep(str(model), most_swept_attack(group), group) for model, group in by_model]


def inference_table(sweeps: Sequence[DrawSweep], eps: float, record: RunRecord) -> Table:
    """Accuracy without an attack and under each one; the .csv at every eps, the text at one.

    Published accuracies without an attack are under [paper.inference.MODEL] as {number of draws: accuracy}.
    """
    values, points = [], {}
    for sweep in sweeps:
        for draws, rows in sweep.rows.groupby("inference_draws"):
            shares = {(CLEAN, 0.0): true_share(_clean_rows(rows), "correct")}
            shares |= {key: true_share(group, "survived") for key, group in rows.groupby(["attack", "eps"], sort=False)}
            values += [(sweep.model, draws, *key, rows["index"].nunique(), *share) for key, share in shares.items()]
            points[sweep.model, int(draws)] = shares
    with_published = any(sweep.model in record.paper.inference for sweep in sweeps)
    published = [record.paper.inference.get(model, {}).get(draws) for model, draws in points]
    columns: dict[str, Any] = {
        "model": [model for model, _ in points] if len(sweeps) > 1 else None,
        "inference draws": [draws for _, draws in points],
        CLEAN: [shares[CLEAN, 0.0] for shares in points.values()],
        "published": ["" if share is None else f"{share:.4f}" for share in published] if with_published else None,
    }
    for attack in dict.fromkeys(attack for sweep in sweeps for attack in sweep.rows.attack):
        columns[f"{attack}, eps {one_eps(eps)}"] = [shares.get((attack, eps), "") for shares in points.values()]
    names = ["model", "inference_draws", "attack", "eps", "n", "accuracy", "low", "high"]
    note = WORDING.note(record.paper.source if with_published else "")
    return column_table("inference_draws", pd.DataFrame(values, columns=names), columns, note=note)


@styled()
def inference_figure(sweeps: Sequence[DrawSweep], *, narrow: bool = False) -> Figure:
    """Accuracy against eps, one line for each number of inference draws, one set of axes for each model."""
    counts = sorted({draws for sweep in sweeps for draws in sweep.by_draws()})
    styles = {draws_text(draws): style for draws, style in inference_styles(counts).items()}

    def draw(axis: Axes, sweep: DrawSweep) -> dict[str, Any]:
        title, ylabel = sweep.model if len(sweeps) > 1 else "", f"accuracy under {sweep.attack}"
        return eps_lines(axis, sweep.curves(), styles, title=title, ylabel=ylabel)

    return facet_figure(sweeps, draw, narrow=narrow, height=(3.4, 2.9, 2.4), labels=list(styles), sharey=True)


def _clean_rows(rows: DataFrame) -> DataFrame:
    """The rows of the first attack at its first eps: the prediction of the clean input is the same in all."""
    first = rows.iloc[0]
    return rows[(rows.attack == first.attack) & (rows.eps == first.eps)]


def _sentence(sweep: DrawSweep, eps: float, *, several: bool) -> str:
    """The fewest inference draws, and the next, beside the most: without an attack, and under one."""
    by_draws = sweep.by_draws()
    clean = {draws: values_by_input(_clean_rows(rows), "correct") for draws, rows in by_draws.items()}
    robust = {draws: values_by_input(rows[rows.eps == eps], "survived") for draws, rows in by_draws.items()}
    return WORDING.sentence(sweep, fewer_draws_text(clean), fewer_draws_text(robust), eps, several)
