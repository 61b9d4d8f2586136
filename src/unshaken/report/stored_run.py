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

COLUMNS: dict[str, type] = {
    **dict.fromkeys(("model", "attack", "norm", "loss", "attack_draws", "role", "source"), str),
    **dict.fromkeys(("steps", "restarts", "inference_draws", "repeat", "index", "label", "predicted"), int),
    **dict.fromkeys(("eps", "probability", "shared_draws", "size", "zero_gradient"), float),
    **{"correct": bool, "votes": int, "saturated": int},
}
"""The columns of a row."""


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

    @property
    def units(self) -> list[dict[str, Any]]:
        """Every unit of the plan with how it went."""
        return list(self.about.get("units", []))

    @property
    def class_names(self) -> list[str]:
        """The names of the classes; empty where the run has none."""
        return list((self.about.get("data") or {}).get("labels", []))

    @property
    def predicts_with_all_draws(self) -> bool:
        """Whether a prediction takes all the draws that a model has."""
        return _all_draws(self.about)


def load_run(folder: str | Path) -> StoredRun:
    """Read a run folder, finished or not; one sentence names what is missing or broken."""
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"{folder} is not a run: looked for {folder / 'run.json'}.")
    about = _flat(_read(folder / "run.json", read_json))
    about["paper"] = published(about)
    rows = {path.stem: _read(path, _rows) for path in sorted(folder.glob("rows/*.parquet"))}
    records = [_read(path, read_json) for path in sorted(folder.glob("models/*.json"))]
    records.sort(key=lambda record: _model_order(about, record["model"]))
    examples = {
        path.stem: _read(path, _examples)._replace(rows=rows[path.stem])
        for path in sorted(folder.glob("examples/*.safetensors"))
        if path.stem in rows
    }
    return StoredRun(
        folder,
        about,
        _as_one_draw(_joined(sorted(rows.values(), key=lambda unit_rows: _order(about, unit_rows))), about),
        {record["model"]: record["history"] for record in records if record.get("history")},
        examples,
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
    flat["attacks"] = [a["settings"] | {k: a[k] for k in ("name", "label", "eps")} for a in recipe["attacks"]]
    flat["analyses"] = [a["settings"] | {"label": a["label"]} for a in recipe["analyses"]]
    optional = ("group", "replica")
    flat["models"] = [{k: v for k, v in m.items() if k not in optional or v is not None} for m in recipe["models"]]
    if recipe["curves"]:
        curves = [a["settings"] | {k: a[k] for k in ("name", "label", "eps")} for a in recipe["curves"]["attacks"]]
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


def _all_draws(about: dict[str, Any]) -> bool:
    return bool((about.get("recipe", {}).get("evaluation") or {}).get("draws") == "all")


def _as_one_draw(rows: DataFrame, about: dict[str, Any]) -> DataFrame:
    """Rows of a run whose models are predicted with all their draws: as one draw, for models have different numbers.

    Counts of draws are shares then.
    """
    if not _all_draws(about):
        return rows
    shares = {column: rows[column] / rows.inference_draws for column in ("votes", "saturated")}
    return rows.assign(**shares, inference_draws=1)


def published(about: dict[str, Any]) -> dict[str, Any]:
    """[paper] of a recipe, without accuracies that belong to other `data` than that of the run."""
    paper, data = about.get("paper") or {}, (about.get("data") or {}).get("name")
    accuracy = [entry for entry in paper.get("accuracy", []) if entry.get("data", data) == data]
    rest = {key: value for key, value in paper.items() if key != "accuracy"}
    return rest | ({"accuracy": accuracy} if accuracy else {})


def model_entries(about: dict[str, Any]) -> list[dict[str, Any]]:
    """The models of the resolved recipe."""
    entries: list[dict[str, Any]] = about.get("recipe", {}).get("models", [])
    return entries


def attack_entry(about: dict[str, Any], row: Any) -> tuple[int, dict[str, Any]]:
    """(index, entry) of the attack of the recipe that made a row; (behind all others, {}) where none did."""
    attacks = about.get("recipe", {}).get("attacks", [])
    settings = {key: str(row[key]) for key in ("norm", "loss", "steps", "restarts")} | {"draws": str(row.attack_draws)}
    for index, entry in enumerate(attacks):
        same = all(str(entry[key]) == value for key, value in settings.items() if key in entry)
        if same and entry.get("name", entry.get("kind")) == row.attack:
            return index, entry
    return len(attacks), {}


def _order(about: dict[str, Any], rows: DataFrame) -> tuple[Any, ...]:
    """What the rows of units are sorted by: model and attack of the recipe, then attack and number of draws."""
    if len(rows) == 0:
        return (-1,)
    row = rows.iloc[0]
    draws = int(row.attack_draws) if str(row.attack_draws).isdigit() else 0
    unlisted = (row.attack in ("mean", "moments"), row.attack, draws, row.loss, int(row.steps), int(row.restarts))
    clean = row.attack == "none"
    return _model_order(about, row.model), not clean, 0 if clean else attack_entry(about, row)[0], *unlisted


def _model_order(about: dict[str, Any], model: str) -> tuple[int, str]:
    labels = [entry["label"] for entry in model_entries(about)]
    return (labels.index(model), "") if model in labels else (len(labels), model)


def _analyses(folder: Path, about: dict[str, Any]) -> dict[str, DataFrame]:
    """All rows of each kind of analysis, models in the order of the recipe."""
    import pandas as pd

    by_kind: dict[str, list[DataFrame]] = {}
    for path in sorted(folder.glob("analyses/*.parquet")):
        kind, rows = _read(path, _analysis)
        by_kind.setdefault(kind, []).append(rows)
    for frames in by_kind.values():
        frames.sort(key=lambda rows: _model_order(about, rows.model.iloc[0]))
    return {kind: pd.concat(frames, ignore_index=True) for kind, frames in by_kind.items()}


def write(path: Path, content: str | bytes) -> Path:
    """Write a file whole, in UTF-8."""
    write_whole(path, lambda file: file.write_bytes(content.encode() if isinstance(content, str) else content))
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
    rows, metadata = read_rows(path)
    if "analysis" not in metadata:
        raise ValueError("it holds no analysis")
    return metadata["analysis"], rows


def _examples(path: Path) -> Examples:
    import pandas as pd
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        eps = json.loads(file.metadata()["eps"])
        return Examples(file.get_tensor("x"), file.get_tensor("x_adv"), eps, pd.DataFrame())


def _joined(frames: list[DataFrame]) -> DataFrame:
    """All rows; clean ones that several units stored are kept once."""
    import pandas as pd

    if not frames:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})
    rows = pd.concat(frames, ignore_index=True)
    stored_before = rows.duplicated(["model", "inference_draws", "role", "repeat", "index"])
    return rows[~(stored_before & (rows.attack == "none"))].reset_index(drop=True)
