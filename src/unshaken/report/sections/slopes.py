"""How steeply the margin falls along an attack, seen by more and more inference draws: cosine times gradient norm."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series

from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import BOX_COLUMNS, draw_boxes
from unshaken.report.condition_rows import fewer_draws_text, most_swept_attack, reported_rows, values_by_input
from unshaken.report.drawing import facet_figure, inference_styles, styled
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import box_columns, box_data, column_table
from unshaken.report.sections.comparison import of_representatives
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import decimals_for

WORDING = Wording("slopes")
QUANTITIES = {"cosine": "cosine of the angle", "gradient_norm": "norm of the margin gradient", "slope": "cosine × norm"}


class Slopes(NamedTuple):
    """One quantity under one attack on one model: by number of inference draws, then by input and repeat."""

    model: str
    attack: str
    quantity: str
    columns: dict[int, Series]


def slopes_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """What the number of inference draws changes in the margin; None where there is one number only."""
    rows, eps = reported_rows(run)
    slopes = measure_slopes(rows)
    if not slopes:
        return None
    drawn: list[Slopes] = of_representatives(run.record, slopes)
    drawing = WORDING.drawing("slopes", lambda narrow: slopes_figure(drawn, narrow=narrow), drawn, eps)
    models = dict.fromkeys(quantity.model for quantity in drawn)
    by_model = [[quantity for quantity in drawn if quantity.model == model] for model in models]
    sentences = [_sentence(quantities, eps, several=len(models) > 1) for quantities in by_model]
    return Section("slopes", WORDING.title(), sentences, [drawing], [slopes_table(slopes, eps)])


def measure_slopes(rows: DataFrame) -> list[Slopes]:
    """Every quantity of each model, under the first attack that was run with the most numbers of inference draws."""
    rows, slopes = rows.assign(slope=rows.cosine * rows.gradient_norm), []
    for model, attacked in rows.groupby("model", sort=False):
        attack = most_swept_attack(attacked)
        by_draws = dict(iter(attacked[attacked.attack == attack].groupby("inference_draws")))
        for quantity in QUANTITIES if len(by_draws) > 1 else ():
            columns = {int(draws): values_by_input(group, quantity) for draws, group in by_draws.items()}
            slopes.append(Slopes(str(model), attack, quantity, columns))
    return slopes


def slopes_table(slopes: Sequence[Slopes], eps: float) -> Table:
    """Mean, quartiles and n of every quantity for each number of inference draws."""
    data = box_data(slopes, "inference_draws", "model", "attack", "quantity").assign(eps=eps)
    decimals = data.quantity.map(data.groupby("quantity")["mean"].agg(decimals_for))
    columns = {
        "model": data.model if data.model.nunique() > 1 else None,
        "quantity": data.quantity.map(QUANTITIES),
        "inference draws": data.inference_draws,
        **box_columns(data, decimals=decimals),
    }
    order = ["model", "quantity", "inference_draws", "attack", "eps", *BOX_COLUMNS]
    return column_table("slopes", data[order], columns, note=WORDING.note(slopes, eps))


@styled()
def slopes_figure(slopes: Sequence[Slopes], *, narrow: bool = False) -> Figure:
    """One row of axes for each model, one column for each quantity; below each other by quantity on a phone."""
    several, first = len({quantity.model for quantity in slopes}) > 1, dict[str, Any]()

    def draw(axis: Axes, slope: Slopes) -> None:
        if first.setdefault(slope.quantity, axis) is not axis:
            axis.sharey(first[slope.quantity])
        styles, dashed = inference_styles(list(slope.columns)), None if slope.quantity == "gradient_norm" else 0.0
        colours, names = [styles[draws]["color"] for draws in slope.columns], [str(draws) for draws in slope.columns]
        draw_boxes(axis, slope.columns, colours, names=names, dashed=dashed)
        axis.set(title=slope.model if several else "", xlabel="inference draws", ylabel=QUANTITIES[slope.quantity])

    ordered = sorted(slopes, key=lambda slope: list(QUANTITIES).index(slope.quantity)) if narrow else slopes
    return facet_figure(ordered, draw, narrow=narrow, height=2.2 if narrow else 2.5, columns=len(QUANTITIES))


def _sentence(quantities: Sequence[Slopes], eps: float, *, several: bool) -> str:
    """Every quantity with the fewest inference draws, and the product also with the next, beside the most."""
    changes = {}
    for slope in quantities:
        decimals, beside = decimals_for(c.mean() for c in slope.columns.values()), 2 if slope.quantity == "slope" else 1
        changes[QUANTITIES[slope.quantity]] = fewer_draws_text(slope.columns, decimals, beside=beside)
    return WORDING.sentence(quantities[0], changes, eps, several)
