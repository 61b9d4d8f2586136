"""Which attack, with which loss, was the strongest at each size of the perturbation."""

from collections.abc import Sequence

import pandas as pd

from unshaken.report.accuracy import Panel, point_at
from unshaken.report.section import Section, Table
from unshaken.report.sections.columns import column_table, interval_cells
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text


def strongest_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The strongest attack at each eps and its loss; None where there is nothing to choose from."""
    if all(len(panel.curves) < 2 for panel in panels):
        return None
    return Section("strongest", "The strongest attack of each size", [], [], [strongest_table(panels)], "tables")


def strongest_table(panels: Sequence[Panel]) -> Table:
    """The lowest accuracy of each panel at each eps, whose it is, and with how many others it is shared."""
    values = []
    for panel in panels:
        for eps in panel.eps():
            curves = {label: curve for label, curve in panel.curves.items() if eps in curve.eps.to_numpy()}
            points = {label: point_at(curve, eps) for label, curve in curves.items()}
            first = min(points, key=lambda label: points[label].value)
            equal = sum(point.value == points[first].value for point in points.values()) - 1
            key = (panel.title, panel.model, panel.norm, eps, first, curves[first].loss.iloc[0])
            values.append((*key, *points[first][:3], equal))
    names = ["title", "model", "norm", "eps", "attack", "loss", "accuracy", "low", "high", "others_equal"]
    data = pd.DataFrame(values, columns=names)
    others = [f" and {n} other{'s' if n > 1 else ''}" if n else "" for n in data.others_equal]
    columns = {
        "model": data.title if len(panels) > 1 else None,
        "eps": data.eps.map(eps_text(data.eps)),
        "attack": data.attack + others,
        "loss": data.loss,
        "accuracy": interval_cells(data, "accuracy", "low", "high"),
    }
    note = "Where several attacks are equally strong, the first in the order of the recipe is named."
    return column_table("strongest", data, columns, note=note)
