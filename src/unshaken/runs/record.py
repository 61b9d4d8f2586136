"""What a run stores beside rows and weights, as types: run.json, the record of a model, the metadata of rows."""

import os
import platform
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from unshaken.runs.published import Published
from unshaken.runs.settings import RecipeConfig
from unshaken.runs.units import Fingerprint
from unshaken.store import Damaged, read_rows, write_whole
from unshaken.training import Epoch

Model = TypeVar("Model", bound=BaseModel)
Status = Literal["waiting", "done", "failed", "skipped"]


class Cost(BaseModel):
    """Wall time in seconds; forward passes, and gradients with respect to inputs, in inputs x draws."""

    seconds: float | None = None
    attack_seconds: float | None = None
    forwards: int | None = None
    gradients: int | None = None


class RowMetadata(Cost):
    """What a file of rows says about itself: its unit, what it cost, the accuracy or the kind of analysis."""

    unit: str
    accuracy: float | None = None
    analysis: str | None = None


class ModelRecord(Cost):
    """What lies beside the weights of a model: its unit, how training went, the checksum of the weights."""

    unit: str
    model: str
    history: list[Epoch]
    sha256: str
    taken_from: str | None = None


class Outcome(Cost):
    """How a unit went."""

    status: Status = "waiting"
    error: str | None = None


class UnitRecord(Outcome):
    """A unit in run.json."""

    name: str
    kind: str
    label: str
    model: str


class ModelSize(BaseModel):
    """Parameters of a model, and operations of one prediction; None where these cannot be counted."""

    parameters: int
    flops: int | None = None


class DataRecord(BaseModel):
    """The images of a run: number of images by split, and the names of the classes."""

    name: str
    classes: int
    labels: list[str] = []
    images: dict[str, int] = {}


class Machine(BaseModel):
    """Where a run was made."""

    device: str
    cpu: str
    cores: int | None
    threads: int
    platform: str
    gpu: str | None = None


class RunRecord(BaseModel):
    """run.json: what was asked, on what, and how each unit went."""

    model_config = ConfigDict(frozen=True)

    name: str
    preset: str | None = None
    hash: str = ""
    inputs: Fingerprint
    command: str = ""
    data: DataRecord
    versions: dict[str, str] = {}
    machine: Machine | None = None
    recipe: RecipeConfig
    units: list[UnitRecord] = []
    sizes: dict[str, ModelSize] = {}

    @property
    def paper(self) -> Published:
        """[paper] of the recipe, without accuracies on other data than that of the run."""
        paper = self.recipe.paper
        accuracy = [entry for entry in paper.accuracy if entry.data in (None, self.data.name)]
        return replace(paper, accuracy=accuracy)


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as JSON, whole or not at all."""
    write_whole(path, lambda file: file.write_text(record.model_dump_json(indent=2), encoding="utf-8"))


def read_record(path: Path, kind: type[Model]) -> Model:
    """Read a record; `Damaged` where the file is not one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error}).") from error
    return _validated(path, lambda: kind.model_validate_json(content))


def read_row_metadata(path: Path) -> RowMetadata:
    """What a file of rows says about itself."""
    metadata = read_rows(path)[1]
    return _validated(path, lambda: RowMetadata.model_validate(metadata))


def _validated(path: Path, validate: Callable[[], Model]) -> Model:
    try:
        return validate()
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the whole"
        raise Damaged(f"{path} is damaged or of another version ({field}: {first['msg'].lower()}).") from error


def versions() -> dict[str, str]:
    return {"unshaken": version("unshaken"), "torch": torch.__version__, "python": platform.python_version()}


def machine(device: torch.device) -> Machine:
    """Where a run is made."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else []
    return Machine(
        device=device.type,
        cpu=names[0] if names else platform.processor() or platform.machine(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        platform=platform.platform(),
        gpu=torch.cuda.get_device_name() if device.type == "cuda" else None,
    )
