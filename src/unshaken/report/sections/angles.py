"""Angles between an attack and the way down of the margin, for attacks with more and more draws."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series

from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import BOX_COLUMNS, box_ticks, dashed_line, draw_boxes
from unshaken.report.condition_rows import (
    attacked_rows,
    main_inference_draws,
    reported_eps,
    sampled_family,
    values_by_input,
)
from unshaken.report.drawing import attack_colours, facet_figure, split_label, styled
from unshaken.report.section import Drawing, Section, Table, Wording
from unshaken.report.sections.columns import box_columns, box_data, column_table
from unshaken.report.sections.comparison import change_text, of_representatives
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import one_eps

WORDING = Wording("angles")


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
    angles = angles_by_model(rows[rows.eps == eps])
    if not angles:
        return None
    drawn: list[Angles] = of_representatives(source.record, angles)
    draws = " and ".join(str(count) for count in sorted({model.inference_draws for model in drawn}))
    drawing = Drawing(
        "angles",
        lambda narrow: angles_figure(drawn, narrow=narrow),
        "Box plots of the cosine of the angle between the attack and the margin gradient, for every attack",
        WORDING.caption(eps, draws),
    )
    sentences = [_draws_sentence(model, eps, several=len(drawn) > 1) for model in drawn]
    sentences = [*filter(None, [*sentences, _models_sentence(drawn, eps)])]
    title = "The angle between attack and margin"
    return Section("angles", title, sentences, [drawing], [angles_table(angles, eps)])


def angles_by_model(rows: DataFrame) -> list[Angles]:
    """Every model with two attacks or more, under one number of inference draws."""
    angles = []
    for model, attacked in rows.groupby("model", sort=False):
        draws = main_inference_draws(attacked, "attack")
        by_attack = attacked[attacked.inference_draws == draws].groupby("attack", sort=False)
        columns = {str(attack): values_by_input(group, "cosine") for attack, group in by_attack}
        if len(columns) > 1:
            angles.append(Angles(str(model), draws, columns))
    return angles


def angles_table(angles: Sequence[Angles], eps: float) -> Table:
    """Mean, quartiles and n of the cosine under each attack."""
    data = box_data(angles, "attack", "model", "inference_draws").assign(eps=eps)
    models = data.model if len(angles) > 1 else None
    columns = {"model": models, "attack": data.attack, **box_columns(data, "mean cosine")}
    data = data[["model", "attack", "inference_draws", "eps", *BOX_COLUMNS]].rename(columns={"mean": "cosine"})
    note = f"At eps {one_eps(eps)}. Inputs that were not moved have no angle and are left out."
    return column_table("angles", data, columns, note=note)


@styled()
def angles_figure(angles: Sequence[Angles], *, narrow: bool = False) -> Figure:
    """Box plots of the cosine, one box for each attack, one set of axes for each model."""

    def draw(axis: Axes, model: Angles) -> None:
        labels, colours = list(model.columns), attack_colours(list(model.columns))
        draw_boxes(axis, model.columns, [colours[label] for label in labels])
        split = [split_label(label) for label in labels]
        kinds = {kind for kind, _, _ in split}
        ticks = [[kind.upper(), draws.upper(), *rest.split()] for kind, draws, rest in split]
        if len({(kind, rest) for kind, _, rest in split}) == 1:
            ticks = [[draws.upper() or kind.upper()] for kind, draws, _ in split]
        box_ticks(axis, ["\n".join(filter(None, lines)) for lines in ticks])
        dashed_line(axis)
        xlabel = f"draws of the attack ({kinds.pop().upper()})" if len(kinds) == 1 else "attack and its draws"
        axis.set(title=model.model if len(angles) > 1 else "", xlabel=xlabel)

    ylabel = "cosine of the angle"
    return facet_figure(angles, draw, narrow=narrow, height=(3.2, 2.6, 2.6), ylabel=ylabel, sharey=True)


def _draws_sentence(model: Angles, eps: float, *, several: bool) -> str:
    """The mean cosine under the most draws beside that under the fewest, paired by input and repeat."""
    labels = sampled_family(model.columns)
    if not labels:
        return ""
    fewest, most = (model.columns[label] for label in (labels[0], labels[-1]))
    return (
        f"{f'On {model.model} at' if several else 'At'} eps {one_eps(eps)} the mean cosine between attack and margin "
        f"gradient is {most.mean():.3f} under {labels[-1]} and {fewest.mean():.3f} under {labels[0]}: "
        f"{change_text(most, fewest)}."
    )


def _models_sentence(angles: Sequence[Angles], eps: float) -> str:
    """The attack with the most draws on every model beside the first, paired by input."""
    first, *others = angles
    label = (sampled_family(first.columns) or list(first.columns))[-1]
    base, cosines = first.columns[label], {m.model: m.columns[label] for m in others if label in m.columns}
    compared = [
        f"{cosine.mean():.3f} on {model}: {change_text(cosine, base, comparisons=len(others))}"
        for model, cosine in cosines.items()
    ]
    if not compared:
        return ""
    start = f"Under {label} at eps {one_eps(eps)} the mean cosine is {base.mean():.3f} on {first.model}"
    return f"{start} and {'; '.join(compared)}."
