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

    def fell(self) -> list[bool]:
        """Whether a right prediction became a wrong one."""
        parts = zip(self.labels, self.before, self.after, strict=True)
        return [before == label != after for label, before, after in parts]

    def gain(self) -> float:
        """What the perturbations are multiplied with to fill the range of grey."""
        import numpy as np

        largest = float(np.abs(self.attacked - self.clean).max())
        return 0.5 / largest if largest > 0 else 1.0


def choose_pictures(source: StoredRun, panels: Sequence[Panel]) -> Pictures | None:
    """Images of the strongest attack that has some, in the first panel that has any, those of attacks apart last."""
    for panel in sorted(panels, key=lambda panel: bool(panel.apart)):
        stored = {_label(panel, part.rows): part for part in source.examples.values()}
        shown = panel._replace(curves={label: c for label, c in panel.curves.items() if label in stored})
        if shown.curves:
            label = shown.strongest()
            return _pictures(source, panel, label, stored[label])
    return None


def _label(panel: Panel, rows: DataFrame) -> str | None:
    """The curve that the rows of a unit belong to."""
    for label, curve in panel.curves.items():
        if len(rows) and all(rows[column].iloc[0] == curve[column].iloc[0] for column in SERIES):
            return label
    return None


def _pictures(source: StoredRun, panel: Panel, label: str, part: Examples) -> Pictures | None:
    """The images at the stored size nearest to the informative one; None where their predictions are not known."""
    wanted = panel.informative(label)
    place = min(range(len(part.eps)), key=lambda i: abs(part.eps[i] - wanted))
    eps, n = part.eps[place], len(part.x)
    draws = part.rows.inference_draws.iloc[0]
    clean = source.rows[(source.rows.attack == "none") & (source.rows.model == panel.model)]
    before = _first(clean[clean.inference_draws == draws], n)
    after = _first(part.rows[(part.rows.eps - eps).abs() < 1e-6], n)
    if len(before) < n or len(after) < n:
        return None
    images = (part.x.transpose(0, 2, 3, 1), part.x_adv[place].transpose(0, 2, 3, 1))
    return Pictures(
        label,
        panel.model,
        eps,
        *images,
        *([*map(int, column)] for column in (after.label, before.predicted, after.predicted)),
    )


def _first(rows: DataFrame, n: int) -> DataFrame:
    """The rows of inputs 0 .. n − 1 in the first repeat."""
    return rows[(rows.repeat == 0) & (rows["index"] < n)].drop_duplicates("index").sort_values("index")
