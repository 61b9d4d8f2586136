"""Lengths of attacks beside the length that is allowed, and how often nothing was moved at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unshaken.evaluation.statistics import Interval
from unshaken.report.accuracy import Panel, rows_behind
from unshaken.report.box_plots import mean_interval
from unshaken.report.condition_rows import (
    attacked_rows,
    main_inference_draws,
    reported_eps,
    sampled_family,
    true_share,
    values_by_input,
)
from unshaken.report.groups import representatives
from unshaken.report.section import Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text, interval_text, percent, significance_text

if TYPE_CHECKING:
    from pandas import DataFrame


def lengths_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The mean length of every attack; None where it was not measured."""
    rows = length_rows(source, panels)
    if rows is None:
        return None
    eps = reported_eps(rows, source)
    models = representatives(source.about, rows.model)
    said = [_sentence(rows[(rows.model == model) & (rows.eps == eps)], eps, len(models) > 1) for model in models]
    table = lengths_table(rows, source)
    return Section("lengths", "How far attacks move an input", [s for s in said if s], [], [table], "tables")


def length_rows(source: StoredRun, panels: Sequence[Panel]) -> DataFrame | None:
    """Rows with the L2 length of every perturbation: those of the conditions, or else of the attacks in the L2 norm."""
    import pandas as pd

    rows = attacked_rows(source)
    if rows is not None:
        return rows
    found = [
        rows_behind(curve, eps, source.rows).assign(attack=label)
        for panel in panels
        if panel.norm == "l2"
        for label, curve in panel.curves.items()
        for eps in curve.eps
    ]
    return pd.concat(found).rename(columns={"size": "length"}) if found else None


def lengths_table(rows: DataFrame, source: StoredRun) -> Table:
    """Mean L2 length and share of zero lengths of every attack; the .csv at every eps, the text at the usual one, or at
    the largest of an attack that was not run there.

    Published lengths are under [paper.length.MODEL] as {label of the attack: length}, and their `eps` beside them; by
    default it is that of [paper].
    """
    import pandas as pd

    usual, values = reported_eps(rows, source), []
    told: dict[str, Any] = (source.about.get("paper") or {}).get("length", {})
    for (model, attack, eps), part in rows.groupby(["model", "attack", "eps"], sort=False):
        once = part[part.inference_draws == part.inference_draws.iloc[0]]
        zero = true_share(once.assign(zero=once.length == 0), "zero")
        known = told.get(model, {})
        published = known.get(attack, float("nan")) if eps == known.get("eps", usual) else float("nan")
        n = once["index"].nunique()
        values.append((model, attack, eps, n, *mean_interval(values_by_input(once, "length")), *zero, published))
    names = ["model", "attack", "eps", "n", "length", "low", "high", "zero", "zero_low", "zero_high", "published"]
    data = pd.DataFrame(values, columns=names)
    largest = data.groupby(["model", "attack"]).eps.transform("max")
    there = (data.eps == usual).groupby([data.model, data.attack]).transform("any")
    shown = data[data.eps == largest.mask(there, usual)]
    published, titled, body = bool(shown.published.notna().any()), rows.model.nunique() > 1, []
    for row in shown.itertuples():
        length = interval_text(Interval(row.length, row.low, row.high))
        still = interval_text(Interval(row.zero, row.zero_low, row.zero_high))
        cells = [str(row.attack), eps_text(data.eps)[row.eps], length, still]
        cells += ["" if row.published != row.published else f"{row.published:.3f}"] * published
        body.append([str(row.model)] * titled + cells)
    head = ["model"] * titled + ["attack", "allowed", "mean length", "not moved"] + ["published"] * published
    note = "Mean L2 length of the perturbation after it was clipped to the box of inputs, and the share of inputs that "
    note += "an attack did not move at all, with 95 % intervals."
    source_told = (source.about.get("paper") or {}).get("source", "")
    note += f" Published in {source_told}." if published and source_told else ""
    return Table("attack_length", data, head, body, note=note)


def _sentence(rows: DataFrame, eps: float, several: bool) -> str:
    """The mean length under the fewest draws beside that under the most, paired by input and repeat."""
    once = rows[rows.inference_draws == main_inference_draws(rows, "attack")]
    labels = sampled_family(once.attack.unique())
    if not labels:
        return ""
    fewest, most = (once[once.attack == label] for label in (labels[0], labels[-1]))
    change = mean_interval(values_by_input(fewest, "length") - values_by_input(most, "length"))
    shares = [float((part.length == 0).mean()) for part in (fewest, most)]
    still = f"; they do not move {percent(shares[0])} and {percent(shares[1])} of the inputs at all" * any(shares)
    where = f"On {rows.model.iloc[0]}, " if several else ""
    return (
        f"{where}{labels[0]} moves inputs by {fewest.length.mean():.3f} on average where eps {eps_text([eps])[eps]} is "
        f"allowed and {labels[-1]} by {most.length.mean():.3f}: {significance_text(change)}{still}."
    )
