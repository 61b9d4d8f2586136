"""What a run folder holds, read once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from unshaken.evaluation.checks import Finding, check
from unshaken.runs.record import ModelRecord, RunRecord, read_record
from unshaken.runs.settings import AttackConfig
from unshaken.store import Damaged, read_rows, write_whole
from unshaken.training import Epoch

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
    """A run: `record` is run.json, `rows` all rows, `histories` the epochs of each trained model."""

    folder: Path
    record: RunRecord
    rows: DataFrame
    histories: dict[str, list[Epoch]]
    examples: dict[str, Examples]
    analyses: dict[str, DataFrame]  # by kind; `model` and `analysis` (a label) say whose rows they are

    @cached_property
    def checks(self) -> list[Finding]:
        """Every check of the rows, doubts first; none where nothing was attacked."""
        return check(self.rows) if (self.rows.attack != "none").any() else []


def load_run(folder: str | Path) -> StoredRun:
    """Read a run folder, finished or not; one sentence names what is missing or broken."""
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"{folder} is not a run: looked for {folder / 'run.json'}.")
    record = _read(folder / "run.json", read_record, RunRecord)
    rows = {path.stem: _read(path, _rows) for path in sorted(folder.glob("rows/*.parquet"))}
    models = [_read(path, read_record, ModelRecord) for path in sorted(folder.glob("models/*.json"))]
    models.sort(key=lambda model: _model_order(record, model.model))
    examples = {
        path.stem: Examples(*_read(path, _examples), rows[path.stem])
        for path in sorted(folder.glob("examples/*.safetensors"))
        if path.stem in rows
    }
    return StoredRun(
        folder,
        record,
        _joined(record, [*rows.values()]),
        {model.model: model.history for model in models if model.history},
        examples,
        _analyses(folder, record),
    )


def attack_of_row(record: RunRecord, row: Any) -> tuple[int, AttackConfig | None]:
    """(index, attack of the recipe) that made a row; (behind all others, None) where none did."""
    settings = {key: str(row[key]) for key in ("norm", "loss", "steps", "restarts")} | {"draws": str(row.attack_draws)}
    for index, attack in enumerate(record.recipe.attacks):
        arguments = attack.arguments
        same = all(str(arguments[key]) == value for key, value in settings.items() if key in arguments)
        if same and attack.name == row.attack:
            return index, attack
    return len(record.recipe.attacks), None


def _order(record: RunRecord, rows: DataFrame) -> tuple[Any, ...]:
    """What the rows of units are sorted by: model and attack of the recipe, then attack and number of draws."""
    if len(rows) == 0:
        return (-1,)
    row = rows.iloc[0]
    draws = int(row.attack_draws) if str(row.attack_draws).isdigit() else 0
    unlisted = (row.attack in ("mean", "moments"), row.attack, draws, row.loss, int(row.steps), int(row.restarts))
    clean = row.attack == "none"
    return _model_order(record, row.model), not clean, 0 if clean else attack_of_row(record, row)[0], *unlisted


def _model_order(record: RunRecord, model: str) -> tuple[int, str]:
    labels = [config.label for config in record.recipe.models]
    return (labels.index(model), "") if model in labels else (len(labels), model)


def _analyses(folder: Path, record: RunRecord) -> dict[str, DataFrame]:
    """All rows of each kind of analysis, models in the order of the recipe."""
    import pandas as pd

    analyses = [_read(path, _analysis) for path in sorted(folder.glob("analyses/*.parquet"))]
    analyses.sort(key=lambda analysis: _model_order(record, analysis[1].model.iloc[0]))
    kinds = dict.fromkeys(kind for kind, _ in analyses)
    return {kind: pd.concat([rows for k, rows in analyses if k == kind], ignore_index=True) for kind in kinds}


def write(path: Path, content: str | bytes) -> Path:
    """Write a file whole, in UTF-8."""
    write_whole(path, lambda file: file.write_bytes(content.encode() if isinstance(content, str) else content))
    return path


def _read(path: Path, reader: Callable[..., Content], *arguments: Any) -> Content:
    """`reader(path, *arguments)`, or one sentence that names the file."""
    from safetensors import SafetensorError

    try:
        return reader(path, *arguments)
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
    rows, metadata = read_rows(path)
    return metadata["analysis"], rows


def _examples(path: Path) -> tuple[np.ndarray, np.ndarray, list[float]]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.get_tensor("x"), file.get_tensor("x_adv"), json.loads(file.metadata()["eps"])


def _joined(record: RunRecord, frames: list[DataFrame]) -> DataFrame:
    """The rows of all units; clean ones that several units stored are kept once.

    Where models are predicted with all their draws, which differ in number, these count as one draw, and counts of
    draws are shares of it.
    """
    import pandas as pd

    if not frames:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})
    rows = pd.concat(sorted(frames, key=lambda unit_rows: _order(record, unit_rows)), ignore_index=True)
    stored_before = rows.duplicated(["model", "inference_draws", "role", "repeat", "index"])
    rows = rows[~(stored_before & (rows.attack == "none"))].reset_index(drop=True)
    if record.recipe.evaluation.draws != "all":
        return rows
    shares = {column: rows[column] / rows.inference_draws for column in ("votes", "saturated")}
    return rows.assign(**shares, inference_draws=1)
