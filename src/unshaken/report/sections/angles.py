"""Angles between an attack and the way down of the margin, for attacks with more and more draws."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series

from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import BOX_COLUMNS, draw_boxes
from unshaken.report.condition_rows import main_inference_draws, reported_rows, sampled_family, values_by_input
from unshaken.report.drawing import attack_colours, facet_figure, split_label, styled
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import box_columns, box_data, column_table
from unshaken.report.sections.comparison import change_text, of_representatives
from unshaken.report.stored_run import StoredRun

WORDING = Wording("angles")


class Angles(NamedTuple):
    """The cosine under each attack on one model, by input and repeat; NaN where an input was not moved."""

    model: str
    inference_draws: int
    columns: dict[str, Series]


def angles_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Angles under several attacks; None where they were not measured, or under one attack only."""
    rows, eps = reported_rows(source)
    angles = angles_by_model(rows)
    if not angles:
        return None
    drawn: list[Angles] = of_representatives(source.record, angles)
    drawing = WORDING.drawing("angles", lambda narrow: angles_figure(drawn, narrow=narrow), drawn, eps)
    return Section("angles", WORDING.title(), _sentences(drawn, eps), [drawing], [angles_table(angles, eps)])


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
    return column_table("angles", data, columns, note=WORDING.note(eps))


@styled()
def angles_figure(angles: Sequence[Angles], *, narrow: bool = False) -> Figure:
    """Box plots of the cosine, one box for each attack, one set of axes for each model."""

    def draw(axis: Axes, model: Angles) -> None:
        labels, colours = list(model.columns), attack_colours(list(model.columns))
        split = [split_label(label) for label in labels]
        kinds = {kind for kind, _, _ in split}
        ticks = [[kind.upper(), draws.upper(), *rest.split()] for kind, draws, rest in split]
        if len({(kind, rest) for kind, _, rest in split}) == 1:
            ticks = [[draws.upper() or kind.upper()] for kind, draws, _ in split]
        names = ["\n".join(filter(None, lines)) for lines in ticks]
        draw_boxes(axis, model.columns, [colours[label] for label in labels], names=names, dashed=0)
        xlabel = f"draws of the attack ({kinds.pop().upper()})" if len(kinds) == 1 else "attack and its draws"
        axis.set(title=model.model if len(angles) > 1 else "", xlabel=xlabel)

    ylabel = "cosine of the angle"
    return facet_figure(angles, draw, narrow=narrow, height=(3.2, 2.6, 2.6), ylabel=ylabel, sharey=True)


def _sentences(angles: Sequence[Angles], eps: float) -> list[str]:
    """The most draws beside the fewest on each model, then the models under the most draws, paired by input."""
    sentences = []
    for model in angles:
        if labels := sampled_family(model.columns):
            change = change_text(model.columns[labels[-1]], model.columns[labels[0]])
            sentences.append(WORDING.draws(model, labels, change, eps, len(angles) > 1))
    first, *others = angles
    label = (sampled_family(first.columns) or list(first.columns))[-1]
    others = [model for model in others if label in model.columns]
    changes = [change_text(model.columns[label], first.columns[label], comparisons=len(angles) - 1) for model in others]
    return [*sentences, WORDING.models(first, others, label, changes, eps)] if others else sentences
