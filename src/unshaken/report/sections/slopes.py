"""How steeply the margin falls along an attack, seen by more and more inference draws: cosine times gradient norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import (
    BOX_CAPTION,
    BOX_COLUMNS,
    box_cells,
    box_decimals,
    box_numbers,
    box_ticks,
    draw_boxes,
    zero_line,
)
from unshaken.report.condition_rows import (
    attack_with_most_draw_counts,
    attacked_rows,
    fewer_draws_text,
    reported_eps,
    values_by_input,
)
from unshaken.report.drawing import facets, inference_styles, styled
from unshaken.report.groups import representatives
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import decimals_for, eps_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

QUANTITIES = {
    "cosine": "cosine of the angle",
    "gradient_norm": "norm of the margin gradient",
    "slope": "cosine × norm",
}


class Slopes(NamedTuple):
    """One quantity under one attack on one model: by number of inference draws, then by input and repeat."""

    model: str
    attack: str
    quantity: str
    columns: dict[int, Series]


def slopes_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """What the number of inference draws changes in the margin; None where there is one number only."""
    rows = attacked_rows(source)
    if rows is None:
        return None
    eps = reported_eps(rows, source)
    found = measured(rows[rows.eps == eps])
    if not found:
        return None
    kept = representatives(source.about, [part.model for part in found])
    drawn, text = [part for part in found if part.model in kept], eps_text([eps])[eps]
    drawing = Drawing(
        "slopes",
        lambda narrow: slopes_figure(drawn, narrow=narrow),
        "Box plots of the cosine, the norm of the margin gradient and their product, by number of inference draws",
        f"One attack, {_attacks(drawn)} at eps {text}, seen by more and more inference draws, for the class that it "
        "comes nearest to. Cosine times norm is how steeply the margin falls along the attack: the lower, the sooner "
        f"the label does. {BOX_CAPTION}",
    )
    said = [_sentence([p for p in drawn if p.model == model], text, several=len(kept) > 1) for model in kept]
    return Section("slopes", "What more inference draws see of an attack", said, [drawing], [slopes_table(found, eps)])


def measured(rows: DataFrame) -> list[Slopes]:
    """Every quantity of each model, under the first attack that was run with the most numbers of inference draws."""
    rows, found = rows.assign(slope=rows.cosine * rows.gradient_norm), []
    for model, part in rows.groupby("model", sort=False):
        attack = attack_with_most_draw_counts(part)
        own = dict(list(part[part.attack == attack].groupby("inference_draws")))
        for quantity in QUANTITIES if len(own) > 1 else ():
            columns = {int(draws): values_by_input(one, quantity) for draws, one in own.items()}
            found.append(Slopes(str(model), attack, quantity, columns))
    return found


def slopes_table(found: Sequence[Slopes], eps: float) -> Table:
    """Mean, quartiles and n of every quantity for each number of inference draws."""
    import pandas as pd

    tables = [
        box_numbers(part.columns).assign(model=part.model, attack=part.attack, quantity=part.quantity) for part in found
    ]
    data = pd.concat(tables).rename_axis("inference_draws").reset_index().assign(eps=eps)
    decimals = {quantity: box_decimals(part) for quantity, part in data.groupby("quantity")}
    titled, body = data.model.nunique() > 1, []
    for row in data.itertuples():
        cells = [QUANTITIES[row.quantity], str(row.inference_draws), *box_cells(row, decimals[row.quantity])]
        body.append([str(row.model)] * titled + cells)
    head = ["model"] * titled + ["quantity", "inference draws", "mean", "median", "quartiles", "n"]
    note = f"Under {_attacks(found)} at eps {eps_text([eps])[eps]}. Inputs that were not moved have no cosine."
    order = ["model", "quantity", "inference_draws", "attack", "eps", *BOX_COLUMNS]
    return Table("slopes", data[order], head, body, note=note)


@styled()
def slopes_figure(found: Sequence[Slopes], *, narrow: bool = False) -> Figure:
    """One row of axes for each model, one column for each quantity; below each other by quantity on a phone."""
    several = len({part.model for part in found}) > 1
    ordered = sorted(found, key=lambda part: list(QUANTITIES).index(part.quantity)) if narrow else found
    figure, axes = facets(len(found), narrow=narrow, height=2.2 if narrow else 2.5, columns=len(QUANTITIES))
    first = {part.quantity: axis for axis, part in reversed(list(zip(axes, ordered, strict=True)))}
    for axis, part in zip(axes, ordered, strict=True):
        if axis is not first[part.quantity]:
            axis.sharey(first[part.quantity])
        styles = inference_styles(list(part.columns))
        draw_boxes(axis, part.columns, [styles[draws]["color"] for draws in part.columns])
        box_ticks(axis, [str(draws) for draws in part.columns])
        axis.set(title=part.model if several else "", xlabel="inference draws", ylabel=QUANTITIES[part.quantity])
        if part.quantity != "gradient_norm":
            zero_line(axis)
    return figure


def _attacks(found: Sequence[Slopes]) -> str:
    return " and ".join(dict.fromkeys(part.attack for part in found))


def _sentence(parts: Sequence[Slopes], eps: str, *, several: bool) -> str:
    """Every quantity with the fewest inference draws, and the product also with the next, beside the most."""
    told = []
    for place, part in enumerate(parts):
        what = f"{'The' if place else 'the'} mean {QUANTITIES[part.quantity]} is"
        decimals = decimals_for(column.mean() for column in part.columns.values())
        told.append(fewer_draws_text(part.columns, what, decimals, beside=2 if part.quantity == "slope" else 1))
    where = f"On {parts[0].model} under" if several else "Under"
    return f"{where} {parts[0].attack} at eps {eps}, {'. '.join(told)}."
