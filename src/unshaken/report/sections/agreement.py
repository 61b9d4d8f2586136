"""How far cheap gradients agree with a well-sampled one: box plots, a table, and MEAN beside ten draws."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import Series

from unshaken.report.accuracy import Panel
from unshaken.report.box_plots import BOX_COLUMNS, draw_boxes, mean_interval
from unshaken.report.condition_rows import distinguishing_title
from unshaken.report.drawing import COLOURS, SCHEMES, facet_figure, shade, styled
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import box_columns, box_data, column_table, interval_cells
from unshaken.report.sections.comparison import analysis_setting, change_text
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import UNKNOWN, difference_text, draws_text

WORDING = Wording("agreement")
BASE = "10"  # the number of draws that MEAN is compared with, where it was measured
MORE = ["mean_more", "mean_more_low", "mean_more_high"]


class Agreement(NamedTuple):
    """One analysis of one model: for each entry of `draws` the agreement with `reference` draws, by input, repeat."""

    title: str
    model: str
    reference: int | None
    columns: Mapping[str, Series]


def agreement_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The share of entries of a gradient with the sign of the reference; None where it was not measured."""
    agreements = gradient_agreements(source)
    if not agreements:
        return None
    drawing = WORDING.drawing("gradient_agreement", lambda narrow: agreement_figure(agreements, narrow=narrow))
    sentences = [*filter(None, map(_sentence, agreements))]
    return Section("agreement", WORDING.title(), sentences, [drawing], [agreement_table(agreements)])


def gradient_agreements(source: StoredRun) -> list[Agreement]:
    """Every analysis of every model, in the order of the recipe."""
    rows = source.analyses.get("gradient_agreement")
    agreements = []
    for (model, analysis), group in rows.groupby(["model", "analysis"], sort=False) if rows is not None else ():
        title = distinguishing_title({"model": model, "analysis": analysis}, rows)
        table = group.pivot(index=["index", "repeat"], columns="draws", values="agreement")
        reference = analysis_setting(source.record, analysis, "reference")
        agreements.append(Agreement(title, model, reference, {draws: table[draws] for draws in group.draws.unique()}))
    return agreements


def agreement_table(agreements: Sequence[Agreement]) -> Table:
    """Mean with its interval, quartiles and n for every entry of `draws`; what MEAN has more, paired by input."""
    data = box_data(agreements, "draws", "title", "model")
    data[MORE] = [
        mean_interval(columns["mean"] - values) if draws != "mean" and "mean" in columns else UNKNOWN
        for _, _, _, columns in agreements
        for draws, values in columns.items()
    ]
    compared = bool(data.mean_more.notna().any())
    columns = {
        "model": data.title if len(agreements) > 1 else None,
        "gradient of": map(draws_text, data.draws),
        **box_columns(data),
        "MEAN has more by": interval_cells(data, "mean_more", text=difference_text) if compared else None,
    }
    data = data[["title", "model", "draws", *BOX_COLUMNS, *MORE]].rename(columns={"mean": "agreement"})
    return column_table("gradient_agreement", data, columns, note=WORDING.note(compared))


@styled()
def agreement_figure(agreements: Sequence[Agreement], *, narrow: bool = False) -> Figure:
    """Box plots of the agreement, one box for each entry of `draws`, one set of axes for each model."""

    def draw(axis: Axes, agreement: Agreement) -> None:
        columns = agreement.columns
        counts = sorted(int(draws) for draws in columns if draws.isdigit())
        colours = SCHEMES | {str(count): shade(COLOURS["fgsm"], counts, count) for count in counts}
        lower = "\n" * narrow  # on a phone there is no room for MOMENTS beside MEAN
        names = [lower * (draws == "moments") + draws.upper() for draws in columns]
        draw_boxes(axis, columns, [colours[draws] for draws in columns], names=names, dashed=0.5, whiskers=1.5)
        reference = f" of {agreement.reference} draws" if agreement.reference else ""
        ylabel = f"agreement with the signs\nof the gradient{reference}"
        axis.set(title=agreement.title, xlabel="draws in the gradient", ylabel=ylabel)

    return facet_figure(agreements, draw, narrow=narrow, height=(3.2, 2.6, 2.6), sharey=True)


def _sentence(agreement: Agreement) -> str:
    """MEAN and MOMENTS beside ten draws, or the most there are, paired by input."""
    columns = agreement.columns
    counts = [draws for draws in columns if draws.isdigit()]
    schemes = [draws for draws in columns if draws in SCHEMES]
    if not counts or not schemes:
        return ""
    base = BASE if BASE in counts else max(counts, key=int)
    changes = {scheme: change_text(columns[scheme], columns[base]) for scheme in schemes}
    return WORDING.sentence(agreement, base, changes)
