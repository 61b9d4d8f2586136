"""Lengths of attacks beside the length that is allowed, and how often nothing was moved at all."""

import math
from collections.abc import Sequence

import pandas as pd
from pandas import DataFrame

from unshaken.evaluation.statistics import accuracy
from unshaken.report.accuracy import Panel, rows_behind
from unshaken.report.box_plots import mean_interval
from unshaken.report.condition_rows import (
    attacked_rows,
    main_inference_draws,
    reported_eps,
    sampled_family,
    values_by_input,
)
from unshaken.report.groups import representatives
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table, interval_cells
from unshaken.report.sections.comparison import change_text
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text, if_known
from unshaken.runs.published import PublishedLengths

WORDING = Wording("lengths")


def lengths_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The mean length of every attack; None where it was not measured."""
    rows = length_rows(source, panels)
    if rows is None:
        return None
    eps = reported_eps(rows, source)
    models = representatives(source.record, rows.model)
    sentences = [_sentence(rows[(rows.model == model) & (rows.eps == eps)], eps, len(models) > 1) for model in models]
    return Section("lengths", WORDING.title(), [*filter(None, sentences)], [], [lengths_table(rows, source)], "tables")


def length_rows(source: StoredRun, panels: Sequence[Panel]) -> DataFrame | None:
    """Rows with the L2 length of every perturbation: those of the conditions, or else of the attacks in the L2 norm."""
    rows = attacked_rows(source)
    if rows is not None:
        return rows
    behind = [
        rows_behind(curve, eps, source.rows).assign(attack=label)
        for panel in panels
        if panel.norm == "l2"
        for label, curve in panel.curves.items()
        for eps in curve.eps
    ]
    return pd.concat(behind).rename(columns={"size": "length"}) if behind else None


def lengths_table(rows: DataFrame, source: StoredRun) -> Table:
    """Mean L2 length and share of zero lengths of every attack; the .csv at every eps, the text at the usual one, or at
    the largest of an attack that was not run there.

    Published lengths are under [paper.length.MODEL] as {label of the attack: length}, and their `eps` beside them; by
    default it is that of [paper].
    """
    usual, values = reported_eps(rows, source), []
    for (model, attack, eps), attacked in rows.groupby(["model", "attack", "eps"], sort=False):
        attacked = attacked[attacked.inference_draws == attacked.inference_draws.iloc[0]]
        zero = accuracy(attacked.assign(correct=attacked.length == 0))
        paper = source.record.paper.length.get(model, PublishedLengths({}))
        at_eps = eps == (usual if paper.eps is None else paper.eps)
        published = paper.lengths.get(attack, math.nan) if at_eps else math.nan
        length = mean_interval(values_by_input(attacked, "length"))
        values.append((model, attack, eps, attacked["index"].nunique(), *length, *zero, published))
    names = ["model", "attack", "eps", "n", "length", "low", "high", "zero", "zero_low", "zero_high", "published"]
    data = pd.DataFrame(values, columns=names)
    largest = data.groupby(["model", "attack"]).eps.transform("max")
    at_usual = (data.eps == usual).groupby([data.model, data.attack]).transform("any")
    selected = data[data.eps == largest.mask(at_usual, usual)]
    published = bool(selected.published.notna().any())
    columns = {
        "model": selected.model if rows.model.nunique() > 1 else None,
        "attack": selected.attack,
        "allowed": selected.eps.map(eps_text(data.eps)),
        "mean length": interval_cells(selected, "length", "low", "high"),
        "not moved": interval_cells(selected, "zero"),
        "published": [if_known(length, "{:.3f}".format) for length in selected.published] if published else None,
    }
    note = WORDING.note(source.record.paper.source if published else "")
    return column_table("attack_length", data, columns, note=note)


def _sentence(rows: DataFrame, eps: float, several: bool) -> str:
    """The mean length under the fewest draws beside that under the most, paired by input and repeat."""
    rows = rows[rows.inference_draws == main_inference_draws(rows, "attack")]
    labels = sampled_family(rows.attack.unique())
    if not labels:
        return ""
    fewest, most = (values_by_input(rows[rows.attack == label], "length") for label in (labels[0], labels[-1]))
    model = rows.model.iloc[0] if several else ""
    return WORDING.sentence(model, eps, labels, fewest, most, change_text(fewest, most))
