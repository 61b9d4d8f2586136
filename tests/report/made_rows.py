"""Rows and runs made by hand, so that every number of a report can be worked out beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unshaken.report.source import Source
from unshaken.report.tables import accuracy_table, panels

N, REPEATS = 100, 3
KINDS = {"MEAN": ("mean", "mean"), "MOMENTS": ("moments", "moments")}


def attacked(model: str, label: str, right: dict[float, Any], **columns: Any) -> pd.DataFrame:
    """Rows of one attack: at each eps the first `right` of 100 inputs survive, in all or in each of three repeats."""
    kind, draws = KINDS.get(label) or label.lower().split("-")
    told = {
        "model": model,
        "attack": kind,
        "norm": "linf",
        "loss": "cw",
        "attack_draws": draws,
        "steps": 10 if kind == "pgd" else 1,
        "inference_draws": 50,
        "role": "sweep",
        "saturated": 0,
        "shared_draws": 0.0,
        "zero_gradient": 0.0,
    }
    parts = []
    for eps, survive in right.items():
        index, repeat = (grid.ravel() for grid in np.meshgrid(np.arange(N), np.arange(REPEATS), indexing="ij"))
        survivors = np.broadcast_to(survive, REPEATS)[repeat]
        parts.append(pd.DataFrame({"index": index, "repeat": repeat, "eps": eps, "correct": index < survivors}))
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(label=rows["index"] % 10, predicted=rows["index"] % 10, **{**told, **columns})


def clean(model: str, right: Any = 95, **columns: Any) -> pd.DataFrame:
    """Rows of the clean inputs of one model."""
    none = {"attack": "none", "norm": "", "loss": "", "attack_draws": "", "steps": 0, "zero_gradient": float("nan")}
    return attacked(model, "none-", {0.0: right}, **{**none, **columns})


def source(*parts: pd.DataFrame, analyses: dict[str, pd.DataFrame] | None = None, **about: Any) -> Source:
    """A run with these rows; without any, one in which nothing was attacked."""
    rows = pd.concat(parts, ignore_index=True) if parts else clean("m").head(0)
    return Source(Path(), about, rows, {}, {}, analyses or {})


def curves(run: Source) -> list[Any]:
    """The panels of a run."""
    return panels(accuracy_table(run.rows))


def trained(**seconds: float) -> list[dict[str, Any]]:
    """Units of finished trainings."""
    told = {"kind": "train", "status": "done", "forwards": 1, "gradients": 1, "error": None}
    return [{"name": m, "label": m, "model": m, "seconds": s, **told} for m, s in seconds.items()]
