"""Which attack, with which loss, was the strongest at each size of the perturbation."""

from collections.abc import Sequence

import pandas as pd

from unshaken.report.accuracy import Panel
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table, interval_cells
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text

WORDING = Wording("strongest")


def strongest_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The strongest attack at each eps and its loss; None where there is nothing to choose from."""
    if all(len(panel.curves) < 2 for panel in panels):
        return None
    return Section("strongest", WORDING.title(), [], [], [strongest_table(panels)], "tables")


def strongest_table(panels: Sequence[Panel]) -> Table:
    """The lowest accuracy of each panel at each eps, whose it is, and with how many others it is shared."""
    tables = []
    for panel in panels:
        every = pd.concat([curve.assign(title=panel.title, attack=label) for label, curve in panel.curves.items()])
        lowest = every[every.accuracy == every.groupby("eps").accuracy.transform("min")]
        others = lowest.groupby("eps").eps.transform("size") - 1
        tables.append(lowest.assign(others_equal=others).drop_duplicates("eps").sort_values("eps"))
    names = ["title", "model", "norm", "eps", "attack", "loss", "accuracy", "low", "high", "others_equal"]
    data = pd.concat(tables, ignore_index=True)[names]
    columns = {
        "model": data.title if len(panels) > 1 else None,
        "eps": data.eps.map(eps_text(data.eps)),
        "attack": map(WORDING.attack, data.attack, data.others_equal),
        "loss": data.loss,
        "accuracy": interval_cells(data, "accuracy", "low", "high"),
    }
    return column_table("strongest", data, columns, note=WORDING.note())
