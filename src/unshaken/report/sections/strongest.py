"""Which attack, with which loss, was the strongest at each size of the perturbation."""

from __future__ import annotations

from collections.abc import Sequence

from unshaken.report.accuracy import Panel, point_at
from unshaken.report.section import Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text


def strongest_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The strongest attack at each eps and its loss; None where there is nothing to choose from."""
    if all(len(panel.curves) < 2 for panel in panels):
        return None
    return Section("strongest", "The strongest attack of each size", [], [], [strongest_table(panels)], "tables")


def strongest_table(panels: Sequence[Panel]) -> Table:
    """The lowest accuracy of each panel at each eps, whose it is, and with how many others it is shared."""
    import pandas as pd

    values = []
    for panel in panels:
        for eps in panel.eps():
            points = {
                label: point_at(curve, eps) for label, curve in panel.curves.items() if eps in curve.eps.to_numpy()
            }
            first = min(points, key=lambda label: points[label].value)
            equal = sum(point.value == points[first].value for point in points.values()) - 1
            loss = panel.curves[first].loss.iloc[0]
            values.append((panel.title, panel.model, panel.norm, eps, first, loss, *points[first][:3], equal))
    names = ["title", "model", "norm", "eps", "attack", "loss", "accuracy", "low", "high", "others_equal"]
    data = pd.DataFrame(values, columns=names)
    texts, titled = eps_text(data.eps), len(panels) > 1
    body = []
    for row in data.itertuples():
        others = f" and {row.others_equal} other{'s' if row.others_equal > 1 else ''}" if row.others_equal else ""
        accuracy = f"{row.accuracy:.3f} [{row.low:.3f}, {row.high:.3f}]"
        body.append([str(row.title)] * titled + [texts[row.eps], f"{row.attack}{others}", str(row.loss), accuracy])
    head = ["model"] * titled + ["eps", "attack", "loss", "accuracy"]
    note = "Where several attacks are equally strong, the first in the order of the recipe is named."
    return Table("strongest", data, head, body, note=note)
