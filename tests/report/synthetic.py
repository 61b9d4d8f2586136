"""Rows and runs made by hand, so that every number of a report can be worked out beside it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unshaken.report.accuracy import accuracy_table, panels
from unshaken.report.stored_run import StoredRun
from unshaken.runs.record import RunRecord

N, REPEATS = 100, 3
KINDS = {"MEAN": ("mean", "mean"), "MOMENTS": ("moments", "moments")}


def attacked(model: str, label: str, right: dict[float, Any], **columns: Any) -> pd.DataFrame:
    """Rows of one attack: at each eps the first `right` of 100 inputs survive, in all or in each of three repeats."""
    kind, draws = KINDS.get(label) or label.lower().split("-")
    defaults = {
        "model": model,
        "attack": kind,
        "norm": "linf",
        "loss": "cw",
        "attack_draws": draws,
        "steps": 10 if kind == "pgd" else 1,
        "restarts": 1,
        "inference_draws": 50,
        "role": "sweep",
        "source": "",
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
    return rows.assign(label=rows["index"] % 10, predicted=rows["index"] % 10, **{**defaults, **columns})


def clean(model: str, right: Any = 95, **columns: Any) -> pd.DataFrame:
    """Rows of the clean inputs of one model."""
    none = {"attack": "none", "norm": "", "loss": "", "attack_draws": "", "steps": 0, "restarts": 0}
    none["zero_gradient"] = float("nan")
    return attacked(model, "none-", {0.0: right}, **{**none, **columns})


def conditions(
    model: str,
    *,
    attacks: tuple[str, ...] = ("FGM-1", "FGM-10", "FGM-100"),
    eps: tuple[float, ...] = (0.5, 1.0),
    inference: tuple[int, ...] = (100,),
    smooth: bool = False,
    n: int = N,
    repeats: int = REPEATS,
    analysis: str = "conditions",
    shift: float = 0.0,
) -> pd.DataFrame:
    """Rows of the analysis of that name: later attacks and larger eps leave fewer inputs; the noise is always the same.

    A few inputs are not moved. `shift` moves the cosine towards 0. The smooth condition holds for large margins.
    """
    noise = np.random.default_rng(len(model))
    quality, parts = noise.uniform(0, 1, (n, repeats)) * 0.3 + noise.uniform(0, 1, n)[:, None], []
    for attack, size, draws in itertools.product(attacks, eps, inference):
        index, repeat = (grid.ravel() for grid in np.meshgrid(np.arange(n), np.arange(repeats), indexing="ij"))
        margin = (quality - 0.1 - 0.1 / draws).ravel()
        many = attacks.index(attack) / len(attacks)
        cosine = np.clip(-0.3 - 0.4 * many - 0.1 * (1 - 1 / draws) + shift, -1, 1) + noise.normal(0, 0.05, n * repeats)
        norm = 0.5 * (1 + 1 / draws) * np.exp(noise.normal(0, 0.3, n * repeats))
        still = quality.ravel() > 1.0 + 0.1 * many
        left = margin + np.where(still, 0, size * cosine * norm)
        values = {"index": index, "repeat": repeat, "attack": attack, "eps": size, "inference_draws": draws}
        values |= {"correct": margin > 0, "survived": left + noise.normal(0, 0.03, n * repeats) > 0}
        values |= {"linear": (margin > 0) & (left > 0), "linear_distance": np.inf, "linear_class": 1, "margin": margin}
        values |= {"cosine": np.where(still, np.nan, cosine), "gradient_norm": norm}
        values |= {"length": np.where(still, 0.0, size * (0.9 + 0.1 * many))}
        if smooth:
            values |= {"smooth": left - size**2 > 0.2, "smooth_distance": 1.0, "smooth_class": 1}
        parts.append(pd.DataFrame(values))
    return pd.concat(parts, ignore_index=True).assign(model=model, analysis=analysis)


def spread(model: str, variance: Any, *, saturated: Any = 0, draws: int = 1000) -> pd.DataFrame:
    """Rows of `prediction_variance`: one for each input, with these variances."""
    variance = np.asarray(variance, dtype=float)
    values = {"index": np.arange(len(variance)), "draws": draws, "variance": variance, "probability": 0.9}
    return pd.DataFrame({**values, "saturated": saturated}).assign(model=model, analysis="prediction variance")


TRAINING = {
    "augment": {"kind": "none"},
    "inputs": {"kind": "clean"},
    "objective": {"kind": "elbo"},
    "optimizer": {"kind": "adam"},
    "schedule": {"kind": "constant"},
    **{"epochs": 1, "batch_size": 100, "updates": 1, "burn_in": None, "thin": 100, "continues": None, "teacher": None},
}


def run_record(recipe: dict[str, Any] | None = None, data: dict[str, Any] | None = None, **fields: Any) -> RunRecord:
    """run.json with the entries of a recipe in the short form of these tests, and a default for everything else."""
    recipe = {"title": "", "about": "", "seed": 0, "data": {"name": "digits"}, "evaluation": {"eps": [0.1]}} | (
        recipe or {}
    )
    recipe |= {
        "models": [model_config(entry) for entry in recipe.get("models", [])],
        "attacks": [attack_config(entry) for entry in recipe.get("attacks", [])],
        "analyses": [analysis_config(entry) for entry in recipe.get("analyses", [])],
        "transfer": {},
        "paper": fields.pop("paper", {}),
    }
    if recipe.get("curves"):
        recipe["curves"] = (
            {"every": 1} | recipe["curves"] | {"attacks": [*map(attack_config, recipe["curves"].get("attacks", []))]}
        )
    data = {"name": "digits", "classes": 10} | (data or {})
    return RunRecord.model_validate({"name": "made", "inputs": {}, "recipe": recipe, "data": data, **fields})


def model_config(entry: dict[str, Any]) -> dict[str, Any]:
    defaults = {"network": {"kind": "mlp"}, "model": {"kind": "mean_field"}, "seed": 0}
    training = entry.get("training", {})
    return defaults | entry | {"training": None if training is None else TRAINING | training}


def attack_config(entry: dict[str, Any]) -> dict[str, Any]:
    named = {"name": entry.get("kind", ""), "eps": [0.1], **entry}
    settings = {key: value for key, value in named.items() if key not in ("name", "label", "eps")}
    settings.setdefault("kind", named["name"])
    return {
        "settings": settings,
        "label": named.get("label", named["name"]),
        "name": named["name"],
        "eps": named["eps"],
    }


def analysis_config(entry: dict[str, Any]) -> dict[str, Any]:
    settings = {"kind": "conditions"} | {key: value for key, value in entry.items() if key != "label"}
    return {"label": entry["label"], "settings": settings}


def source(*parts: pd.DataFrame, analyses: dict[str, pd.DataFrame] | None = None, **content: Any) -> StoredRun:
    """A run with these rows; without any, one in which nothing was attacked. `content` is of its record."""
    rows = pd.concat(parts, ignore_index=True) if parts else clean("m").head(0)
    return StoredRun(Path(), run_record(**content), rows, {}, {}, analyses or {})


def conditions_run(*rows: pd.DataFrame, **content: Any) -> StoredRun:
    """A run in which nothing but the conditions was computed, with these rows."""
    return source(analyses={"conditions": pd.concat(rows, ignore_index=True)}, **content)


def curves(run: StoredRun) -> list[Any]:
    """The panels of a run."""
    return panels(accuracy_table(run.rows))


def trained(**seconds: float) -> list[dict[str, Any]]:
    """Units of finished trainings."""
    unit = {"kind": "train", "status": "done", "forwards": 1, "gradients": 1, "error": None}
    return [{"name": m, "label": m, "model": m, "seconds": s, **unit} for m, s in seconds.items()]
