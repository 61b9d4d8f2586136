"""Accuracy for each number of inference draws, without an attack and under one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.report.accuracy import Panel
from unshaken.report.condition_rows import (
    attack_with_most_draw_counts,
    attacked_rows,
    fewer_draws_text,
    reported_eps,
    true_share,
    values_by_input,
)
from unshaken.report.drawing import CLEAN, draw_lines, eps_axis, facets, inference_styles, legend, legend_height, styled
from unshaken.report.groups import representatives
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import draws_text, eps_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class Inference(NamedTuple):
    """One model under several numbers of inference draws: all its rows, and the attack that is drawn."""

    model: str
    attack: str
    rows: DataFrame

    def curves(self) -> dict[int, DataFrame]:
        """Accuracy against eps, from that without an attack on, for each number of inference draws."""
        import pandas as pd

        found = {}
        for draws, part in self.rows[self.rows.attack == self.attack].groupby("inference_draws"):
            values = [(0.0, *true_share(_once(part), "correct"))]
            values += [(eps, *true_share(own, "survived")) for eps, own in part[part.eps > 0].groupby("eps")]
            found[int(draws)] = pd.DataFrame(values, columns=["eps", "accuracy", "low", "high"])
        return found


def inference_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Accuracy by number of inference draws; None where no model was run with two of them."""
    found = measured(source)
    if not found:
        return None
    eps = reported_eps(found[0].rows, source)
    kept = representatives(source.about, [part.model for part in found])
    drawn = [part for part in found if part.model in kept]
    swept = [part for part in drawn if part.rows[part.rows.attack == part.attack].eps.nunique() > 1]
    attacks = " and ".join(dict.fromkeys(part.attack for part in swept))
    drawing = Drawing(
        "inference_draws",
        lambda narrow: inference_figure(swept, narrow=narrow),
        "Accuracy against eps for every number of inference draws; the numbers are in the table below",
        f"Accuracy under {attacks}, predicted with more and more draws: a darker line has more. Accuracy at eps 0 is "
        "that without an attack; bars are 95 % intervals, set side by side to be legible.",
    )
    return Section(
        "inference",
        "How many inference draws are needed",
        [_sentence(part, eps, several=len(found) > 1) for part in drawn],
        [drawing] if swept else [],
        [inference_table(found, eps, source.about.get("paper") or {})],
    )


def measured(source: StoredRun) -> list[Inference]:
    """Every model with its rows, and the first attack that was run with the most numbers of inference draws."""
    rows = attacked_rows(source)
    if rows is None:
        return []
    found = []
    for model, part in rows.groupby("model", sort=False):
        counts = part.groupby("attack", sort=False).inference_draws.nunique()
        if counts.max() > 1:
            several = part[part.attack.isin(counts[counts > 1].index)]
            found.append(Inference(str(model), attack_with_most_draw_counts(several), several))
    return found


def inference_table(found: Sequence[Inference], eps: float, paper: dict[str, Any] | None = None) -> Table:
    """Accuracy without an attack and under each one; the .csv at every eps, the text at one.

    Published accuracies without an attack are under [paper.inference.MODEL] as {number of draws: accuracy}.
    """
    import pandas as pd

    told_before: dict[str, Any] = (paper or {}).get("inference", {})
    published = any(part.model in told_before for part in found)

    values, body, titled = [], [], len(found) > 1
    attacks = list(dict.fromkeys(str(attack) for part in found for attack in part.rows.attack.unique()))
    for part in found:
        for draws, rows in part.rows.groupby("inference_draws"):
            clean, told = true_share(_once(rows), "correct"), dict[str, str]()
            n = rows["index"].nunique()
            values.append((part.model, draws, CLEAN, 0.0, n, *clean))
            for (attack, size), own in rows.groupby(["attack", "eps"], sort=False):
                under = true_share(own, "survived")
                values.append((part.model, draws, attack, size, n, *under))
                told |= {attack: str(under)} if size == eps else {}
            before = told_before.get(part.model, {}).get(str(draws))
            cells = [str(draws), str(clean), *["" if before is None else f"{before:.4f}"] * published]
            body.append([part.model] * titled + cells + [told.get(attack, "") for attack in attacks])
    names = ["model", "inference_draws", "attack", "eps", "n", "accuracy", "low", "high"]
    text = eps_text([eps])[eps]
    head = ["model"] * titled + ["inference draws", CLEAN] + ["published"] * published
    head += [f"{attack}, eps {text}" for attack in attacks]
    note = "Accuracy with its 95 % interval." + f" Published in {(paper or {}).get('source', '')}." * published
    return Table("inference_draws", pd.DataFrame(values, columns=names), head, body, note=note)


@styled()
def inference_figure(found: Sequence[Inference], *, narrow: bool = False) -> Figure:
    """Accuracy against eps, one line for each number of inference draws, one set of axes for each model."""
    curves = [part.curves() for part in found]
    counts = sorted({draws for lines in curves for draws in lines})
    names = {draws: draws_text(draws) for draws in counts}
    height = 2.4 if narrow else 2.9 if len(found) > 1 else 3.4
    more = legend_height(3.7 if narrow else 7.6, list(names.values()))
    figure, axes = facets(len(found), narrow=narrow, height=height, more=more, sharey=True)
    styles = {names[draws]: style for draws, style in inference_styles(counts).items()}
    handles: dict[str, Any] = {}
    for place, (axis, part, lines) in enumerate(zip(axes, found, curves, strict=True)):
        handles |= draw_lines(axis, {names[draws]: line for draws, line in lines.items()}, styles)
        eps_axis(axis, sorted({float(eps) for line in lines.values() for eps in line.eps}))
        axis.set(title=part.model if len(found) > 1 else "", xlabel="eps")
        axis.set_ylabel("" if place % 2 and not narrow else f"accuracy under {part.attack}")
    legend(figure, {name: handles[name] for name in names.values()}, below=True)
    return figure


def _once(rows: DataFrame) -> DataFrame:
    """The rows of the first attack at its first eps: the prediction of the clean input is the same in all."""
    first = rows.iloc[0]
    return rows[(rows.attack == first.attack) & (rows.eps == first.eps)]


def _sentence(part: Inference, eps: float, *, several: bool) -> str:
    """The fewest inference draws, and the next, beside the most: without an attack, and under one."""
    rows = part.rows[part.rows.attack == part.attack]
    by_draws = {int(draws): own for draws, own in rows.groupby("inference_draws")}
    clean = {draws: values_by_input(_once(own), "correct") for draws, own in by_draws.items()}
    under = {draws: values_by_input(own[own.eps == eps], "survived") for draws, own in by_draws.items()}
    where = f"On {part.model}, without" if several else "Without"
    told = fewer_draws_text(clean, f"{where} an attack, accuracy is")
    attacked = f"Under {part.attack} at eps {eps_text([eps])[eps]} it is"
    return f"{told}. {fewer_draws_text(under, attacked)}."
