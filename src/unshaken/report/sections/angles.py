"""Angles between an attack and the way down of the margin, for attacks with more and more draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import (
    BOX_CAPTION,
    BOX_COLUMNS,
    box_cells,
    box_numbers,
    box_ticks,
    draw_boxes,
    mean_interval,
    zero_line,
)
from unshaken.report.condition_rows import (
    attacked_rows,
    main_inference_draws,
    reported_eps,
    sampled_family,
    values_by_input,
)
from unshaken.report.drawing import attack_colours, facets, split_label, styled
from unshaken.report.groups import representatives
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text, significance_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series


class Angles(NamedTuple):
    """The cosine under each attack on one model, by input and repeat; NaN where an input was not moved."""

    model: str
    inference_draws: int
    columns: dict[str, Series]


def angles_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Angles under several attacks; None where they were not measured, or under one attack only."""
    rows = attacked_rows(source)
    if rows is None:
        return None
    eps = reported_eps(rows, source)
    found = measured(rows[rows.eps == eps])
    if not found:
        return None
    kept = representatives(source.about, [part.model for part in found])
    drawn, text = [part for part in found if part.model in kept], eps_text([eps])[eps]
    draws = " and ".join(str(count) for count in sorted({part.inference_draws for part in drawn}))
    drawing = Drawing(
        "angles",
        lambda narrow: angles_figure(drawn, narrow=narrow),
        "Box plots of the cosine of the angle between the attack and the margin gradient, for every attack",
        f"Cosine of the angle between the attack at eps {text} and the gradient of the margin under {draws} inference "
        "draws, for the class that the attack comes nearest to. At −1 the attack takes the shortest way down, at 0 it "
        f"gains nothing. {BOX_CAPTION}",
    )
    said = [*(_sentence(part, text, several=len(drawn) > 1) for part in drawn), _beside(drawn, text)]
    table = angles_table(found, eps)
    return Section("angles", "The angle between attack and margin", [s for s in said if s], [drawing], [table])


def measured(rows: DataFrame) -> list[Angles]:
    """Every model with two attacks or more, seen by one number of inference draws."""
    found = []
    for model, part in rows.groupby("model", sort=False):
        draws = main_inference_draws(part, "attack")
        own = part[part.inference_draws == draws].groupby("attack", sort=False)
        columns = {str(attack): values_by_input(one, "cosine") for attack, one in own}
        if len(columns) > 1:
            found.append(Angles(str(model), draws, columns))
    return found


def angles_table(found: Sequence[Angles], eps: float) -> Table:
    """Mean, quartiles and n of the cosine under each attack."""
    import pandas as pd

    tables = [
        box_numbers(part.columns).assign(model=part.model, inference_draws=part.inference_draws) for part in found
    ]
    data = pd.concat(tables).rename_axis("attack").reset_index().assign(eps=eps)
    titled = len(found) > 1
    body = [[str(row.model)] * titled + [str(row.attack), *box_cells(row)] for row in data.itertuples()]
    head = ["model"] * titled + ["attack", "mean cosine", "median", "quartiles", "n"]
    note = f"At eps {eps_text([eps])[eps]}. Inputs that were not moved have no angle and are left out."
    order = ["model", "attack", "inference_draws", "eps", *BOX_COLUMNS]
    return Table("angles", data[order].rename(columns={"mean": "cosine"}), head, body, note=note)


@styled()
def angles_figure(found: Sequence[Angles], *, narrow: bool = False) -> Figure:
    """Box plots of the cosine, one box for each attack, one set of axes for each model."""
    one = narrow or len(found) == 1
    figure, axes = facets(len(found), narrow=narrow, height=2.6 if narrow or not one else 3.2, sharey=True)
    for place, (axis, part) in enumerate(zip(axes, found, strict=True)):
        labels, colours = list(part.columns), attack_colours(list(part.columns))
        draw_boxes(axis, part.columns, [colours[label] for label in labels])
        box_ticks(axis, _ticks(labels))
        zero_line(axis)
        kinds = {split_label(label)[0] for label in labels}
        told = f"draws of the attack ({kinds.pop().upper()})" if len(kinds) == 1 else "attack and its draws"
        axis.set(title=part.model if len(found) > 1 else "", xlabel=told)
        axis.set_ylabel("cosine of the angle" if one or not place % 2 else "")
    return figure


def _ticks(labels: Sequence[str]) -> list[str]:
    """What to write below the box of each attack: its number of draws alone where all are of one kind."""
    split = [split_label(label) for label in labels]
    alike = len({(kind, rest) for kind, _, rest in split}) == 1
    if alike:
        return [draws.upper() or kind.upper() for kind, draws, _ in split]
    lines = [[kind.upper(), draws.upper(), *rest.split()] for kind, draws, rest in split]
    return ["\n".join(line for line in part if line) for part in lines]


def _sentence(part: Angles, eps: str, *, several: bool) -> str:
    """The mean cosine under the most draws beside that under the fewest, paired by input and repeat."""
    labels = sampled_family(part.columns)
    if not labels:
        return ""
    fewest, most = (part.columns[label] for label in (labels[0], labels[-1]))
    return (
        f"{f'On {part.model} at' if several else 'At'} eps {eps} the mean cosine between attack and margin gradient is "
        f"{most.mean():.3f} under {labels[-1]} and {fewest.mean():.3f} under {labels[0]}: "
        f"{significance_text(mean_interval(most - fewest))}."
    )


def _beside(found: Sequence[Angles], eps: str) -> str:
    """The attack with the most draws on every model beside the first, paired by input."""
    first, *others = found
    label = (sampled_family(first.columns) or list(first.columns))[-1]
    base, told = first.columns[label], []
    for part in others:
        if label in part.columns:
            change = mean_interval(part.columns[label] - base, level=1 - 0.05 / len(others))
            told.append(f"{part.columns[label].mean():.3f} on {part.model}: {significance_text(change)}")
    if not told:
        return ""
    return f"Under {label} at eps {eps} the mean cosine is {base.mean():.3f} on {first.model} and {'; '.join(told)}."
