"""Which images to show: those of the strongest attack, at the size where it begins to win."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from unshaken.report.accuracy import SERIES, Panel
from unshaken.report.stored_run import Examples, StoredRun

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame


class Pictures(NamedTuple):
    """n images (n, H, W, C) before and after one attack; labels, and what is predicted before and after, (n,)."""

    attack: str
    model: str
    eps: float
    clean: np.ndarray
    attacked: np.ndarray
    labels: list[int]
    before: list[int]
    after: list[int]

    def fooled(self) -> list[bool]:
        """Whether a correct prediction became a wrong one."""
        predictions = zip(self.labels, self.before, self.after, strict=True)
        return [before == label != after for label, before, after in predictions]

    def gain(self) -> float:
        """What the perturbations are multiplied by to fill the range of grey."""
        return gain(self.clean, self.attacked)


def gain(clean: np.ndarray, attacked: np.ndarray) -> float:
    """What the change of images is multiplied by, so that its largest pixel goes from mid-grey to black or white."""
    largest = float(abs(attacked - clean).max())
    return 0.5 / largest if largest > 0 else 1.0


def choose_pictures(source: StoredRun, panels: Sequence[Panel]) -> Pictures | None:
    """Images of the strongest attack that has some, in the first panel that has any, those of attacks apart last."""
    for panel in sorted(panels, key=lambda panel: bool(panel.apart)):
        stored = {_label(panel, examples.rows): examples for examples in source.examples.values()}
        drawable = panel._replace(curves={label: c for label, c in panel.curves.items() if label in stored})
        if drawable.curves:
            label = drawable.strongest()
            return _pictures(source, panel, label, stored[label])
    return None


def _label(panel: Panel, rows: DataFrame) -> str | None:
    """The curve that the rows of a unit belong to."""
    for label, curve in panel.curves.items():
        if len(rows) and all(rows[column].iloc[0] == curve[column].iloc[0] for column in SERIES):
            return label
    return None


def _pictures(source: StoredRun, panel: Panel, label: str, examples: Examples) -> Pictures | None:
    """The images at the stored size nearest to the informative one; None where their predictions are not known."""
    informative, (x, x_adv, sizes, rows) = panel.informative(label), examples
    eps = min(sizes, key=lambda size: abs(size - informative))
    clean = source.rows[(source.rows.attack == "none") & (source.rows.model == panel.model)]
    before = _first(clean[clean.inference_draws == rows.inference_draws.iloc[0]], len(x))
    after = _first(rows[(rows.eps - eps).abs() < 1e-6], len(x))
    if min(len(before), len(after)) < len(x):
        return None
    images = [array.transpose(0, 2, 3, 1) for array in (x, x_adv[sizes.index(eps)])]
    columns = [[int(label) for label in column] for column in (after.label, before.predicted, after.predicted)]
    return Pictures(label, panel.model, eps, images[0], images[1], *columns)


def _first(rows: DataFrame, n: int) -> DataFrame:
    """The rows of inputs 0 .. n − 1 in the first repeat."""
    return rows[(rows.repeat == 0) & (rows["index"] < n)].drop_duplicates("index").sort_values("index")
