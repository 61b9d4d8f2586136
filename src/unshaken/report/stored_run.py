"""What a run folder holds, read once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from unshaken.store import Damaged, read_json, read_rows, write_whole

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame

Content = TypeVar("Content")

COLUMNS = {
    "model": str,
    "attack": str,
    "norm": str,
    "loss": str,
    "attack_draws": str,
    "steps": int,
    "restarts": int,
    "inference_draws": int,
    "eps": float,
    "role": str,
    "source": str,
    "repeat": int,
    "index": int,
    "label": int,
    "predicted": int,
    "correct": bool,
    "votes": int,
    "saturated": int,
    "probability": float,
    "shared_draws": float,
    "size": float,
    "zero_gradient": float,
}
"""The columns of a row, in their order."""


class Examples(NamedTuple):
    """Some images of one attack: x (n, C, H, W), x_adv (E, n, C, H, W), the E sizes, and the rows of all its images."""

    x: np.ndarray
    x_adv: np.ndarray
    eps: list[float]
    rows: DataFrame


@dataclass(frozen=True)
class StoredRun:
    """A run: `about` is run.json, `rows` all rows, `histories` one list of epochs per trained model."""

    folder: Path
    about: dict[str, Any]
    rows: DataFrame
    histories: dict[str, list[dict[str, Any]]]
    examples: dict[str, Examples]
    analyses: dict[str, DataFrame]  # by kind; `model` and `analysis` (a label) say whose rows they are


def load_run(folder: str | Path) -> StoredRun:
    """Read a run folder, finished or not; one sentence names what is missing or broken."""
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"{folder} is not a run: looked for {folder / 'run.json'}.")
    about = _flat(_read(folder / "run.json", read_json))
    about["paper"] = published(about)
    parts = {path.stem: _read(path, _rows) for path in sorted(folder.glob("rows/*.parquet"))}
    records = [_read(path, read_json) for path in sorted(folder.glob("models/*.json"))]
    records.sort(key=lambda record: _model_place(about, record["model"]))
    return StoredRun(
        folder,
        about,
        _at_once(_joined(sorted(parts.values(), key=lambda rows: _place(about, rows))), about),
        {record["model"]: record["history"] for record in records if record.get("history")},
        {
            path.stem: _read(path, _pictures)._replace(rows=parts[path.stem])
            for path in sorted(folder.glob("examples/*.safetensors"))
            if path.stem in parts
        },
        _analyses(folder, about),
    )


def _flat(about: dict[str, Any]) -> dict[str, Any]:
    """run.json with parts in the flat form; temporary."""
    recipe = about.get("recipe", {})
    if "paper" not in recipe:
        return about

    def clean(table: Any) -> Any:
        return {k: v for k, v in table.items() if v is not None} if isinstance(table, dict) else table

    flat = dict(recipe)
    flat["attacks"] = [a["part"] | {k: a[k] for k in ("name", "label", "eps")} for a in recipe["attacks"]]
    flat["analyses"] = [a["part"] | {"label": a["label"]} for a in recipe["analyses"]]
    optional = ("group", "replica")
    flat["models"] = [{k: v for k, v in m.items() if k not in optional or v is not None} for m in recipe["models"]]
    if recipe["curves"]:
        curves = [a["part"] | {k: a[k] for k in ("name", "label", "eps")} for a in recipe["curves"]["attacks"]]
        flat["curves"] = recipe["curves"] | {"attacks": curves}
    paper = {k: v for k, v in recipe["paper"].items() if v not in (None, {}, [], "")}
    if "accuracy" in paper:
        paper["accuracy"] = [clean(entry) for entry in paper["accuracy"]]
    if "length" in paper:
        paper["length"] = {m: v["lengths"] | clean({"eps": v["eps"]}) for m, v in paper["length"].items()}
    if "flatness" in paper:
        paper["flatness"] = {m: clean(v) for m, v in paper["flatness"].items()}
    data = about["data"] | about["data"]["images"]
    return about | {
        "title": recipe["title"],
        "about": recipe["about"],
        "seed": recipe["seed"],
        "paper": paper,
        "recipe": flat,
        "data": data,
        "machine": clean(about["machine"]),
    }


def _at_once(rows: DataFrame, about: dict[str, Any]) -> DataFrame:
    """Rows of a run whose models are predicted with all their draws: as one draw, for models have different numbers.

    Counts of draws are shares then.
    """
    if (about.get("recipe", {}).get("evaluation") or {}).get("draws") != "all":
        return rows
    shares = {word: rows[word] / rows.inference_draws for word in ("votes", "saturated")}
    return rows.assign(**shares, inference_draws=1)


def published(about: dict[str, Any]) -> dict[str, Any]:
    """[paper] of a recipe, without accuracies that belong to other `data` than that of the run."""
    paper, data = about.get("paper") or {}, (about.get("data") or {}).get("name")
    known = [entry for entry in paper.get("accuracy", []) if entry.get("data", data) == data]
    rest = {word: value for word, value in paper.items() if word != "accuracy"}
    return rest | ({"accuracy": known} if known else {})


def model_entries(about: dict[str, Any]) -> list[dict[str, Any]]:
    """The models of the resolved recipe."""
    entries: list[dict[str, Any]] = about.get("recipe", {}).get("models", [])
    return entries


def attack_entry(about: dict[str, Any], row: Any) -> tuple[int, dict[str, Any]]:
    """(place, entry) of the attack of the recipe that made a row; (behind all others, {}) where none did."""
    attacks = about.get("recipe", {}).get("attacks", [])
    for place, entry in enumerate(attacks):
        told = {"loss": row.loss, "draws": row.attack_draws, "steps": row.steps, "restarts": row.restarts}
        told["norm"] = row.norm
        same = all(str(entry[word]) == str(value) for word, value in told.items() if word in entry)
        if same and entry.get("name", entry.get("kind")) == row.attack:
            return place, entry
    return len(attacks), {}


def _place(about: dict[str, Any], rows: DataFrame) -> tuple[Any, ...]:
    """Where the rows of one unit belong: by model and attack of the recipe, then by attack and number of draws."""
    if len(rows) == 0:
        return (-1,)
    row = rows.iloc[0]
    draws = int(row.attack_draws) if str(row.attack_draws).isdigit() else 0
    unknown = (row.attack in ("mean", "moments"), row.attack, draws, row.loss, int(row.steps), int(row.restarts))
    clean = row.attack == "none"
    return _model_place(about, row.model), not clean, 0 if clean else attack_entry(about, row)[0], *unknown


def _model_place(about: dict[str, Any], model: str) -> tuple[int, str]:
    labels = [entry["label"] for entry in about.get("recipe", {}).get("models", [])]
    return (labels.index(model), "") if model in labels else (len(labels), model)


def _analyses(folder: Path, about: dict[str, Any]) -> dict[str, DataFrame]:
    """All rows of each kind of analysis, models in the order of the recipe."""
    import pandas as pd

    found: dict[str, list[DataFrame]] = {}
    for path in sorted(folder.glob("analyses/*.parquet")):
        kind, rows = _read(path, _analysis)
        found.setdefault(kind, []).append(rows)
    for parts in found.values():
        parts.sort(key=lambda rows: _model_place(about, rows.model.iloc[0]))
    return {kind: pd.concat(parts, ignore_index=True) for kind, parts in found.items()}


def write(path: Path, content: str | bytes) -> Path:
    """Write a file whole, in UTF-8."""
    write_whole(path, lambda part: part.write_bytes(content.encode() if isinstance(content, str) else content))
    return path


def _read(path: Path, reader: Callable[[Path], Content]) -> Content:
    """`reader(path)`, or one sentence that names the file."""
    from safetensors import SafetensorError

    try:
        return reader(path)
    except Damaged as error:
        raise ValueError(f"{error} Run the recipe again: it computes only what is damaged or missing.") from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"cannot read {path}, is it truncated? ({error})") from error


def _rows(path: Path) -> DataFrame:
    rows, _ = read_rows(path)
    if missing := [name for name in COLUMNS if name not in rows]:
        raise ValueError(f"it has no column {', '.join(missing)}")
    return rows


def _analysis(path: Path) -> tuple[str, DataFrame]:
    """(kind, rows) of an analysis."""
    rows, told = read_rows(path)
    if "analysis" not in told:
        raise ValueError("it holds no analysis")
    return told["analysis"], rows


def _pictures(path: Path) -> Examples:
    import pandas as pd
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        eps = json.loads(file.metadata()["eps"])
        return Examples(file.get_tensor("x"), file.get_tensor("x_adv"), eps, pd.DataFrame())


def _joined(parts: list[DataFrame]) -> DataFrame:
    """All rows; clean ones that several units stored are kept once."""
    import pandas as pd

    if not parts:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})
    rows = pd.concat(parts, ignore_index=True)
    again = rows.duplicated(["model", "inference_draws", "role", "repeat", "index"]) & (rows.attack == "none")
    return rows[~again].reset_index(drop=True)
