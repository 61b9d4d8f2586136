"""The folder of a run: where each unit's results lie, and whether they are whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

from unshaken.attacks.transfer import load_transfer_set
from unshaken.models import StochasticClassifier
from unshaken.runs.plan import is_source
from unshaken.runs.record import ModelRecord, RowMetadata, read_record, read_row_metadata, write_record
from unshaken.runs.settings import RecipeConfig
from unshaken.runs.units import AnalysisUnit, AttackUnit, TrainUnit, Unit
from unshaken.store import Damaged, checksum, read_tensors, write_whole

Say = Callable[[str], None]


@dataclass(frozen=True)
class RunFolder:
    """models/ (weights and records), rows/ and analyses/ (parquet), examples/ and perturbations/ (safetensors)."""

    path: Path
    config: RecipeConfig
    say: Say

    def create(self) -> None:
        """Make the folder; `ValueError` where it cannot be written to."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=self.path).close()
        except OSError as error:
            raise ValueError(f"cannot write to {self.path}: {error.strerror}.") from error

    def result(self, unit: Unit) -> Path:
        """The file whose presence means that the unit is finished."""
        if isinstance(unit, TrainUnit):
            return self.path / "models" / f"{unit.name}.json"
        return self.path / ("analyses" if isinstance(unit, AnalysisUnit) else "rows") / f"{unit.name}.parquet"

    def weights(self, unit: TrainUnit) -> Path:
        return self.result(unit).with_suffix(".safetensors")

    def examples(self, unit: AttackUnit) -> Path:
        return self.path / "examples" / f"{unit.name}.safetensors"

    def perturbations(self, name: str) -> Path:
        """What an attack unit of this name made, where other models are given it."""
        return self.path / "perturbations" / f"{name}.safetensors"

    def has_examples(self, unit: Unit) -> bool:
        """The first repeat of every attack keeps some images."""
        return isinstance(unit, AttackUnit) and unit.repeat == 0 and not unit.attack.is_clean

    def metadata(self, unit: Unit) -> RowMetadata | None:
        """What the rows of a finished unit say; None where it must be computed, and why, if a file is damaged."""
        if not self.result(unit).exists():
            return None
        try:
            if isinstance(unit, AttackUnit) and self.has_examples(unit):
                read_tensors(self.examples(unit))
            if is_source(unit, self.config):
                load_transfer_set(self.perturbations(unit.name))
            return read_row_metadata(self.result(unit))
        except (Damaged, FileNotFoundError) as error:
            self.say(f"{error} Computing it again.")
            return None

    def load_model(self, unit: TrainUnit, model: StochasticClassifier) -> ModelRecord | None:
        """Fill a model with the weights of its unit; None where it must be trained, and why, if a file is damaged."""
        if not self.result(unit).exists() and not self._borrow(unit):
            return None
        try:
            record, weights = read_record(self.result(unit), ModelRecord), self.weights(unit)
            if not weights.exists() or checksum(weights) != record.sha256:
                raise Damaged(f"{weights} is damaged or gone.")
            model.load(weights)
            return record
        except (Damaged, FileNotFoundError) as error:
            self.say(f"{error} Computing it again.")
            return None

    def _borrow(self, unit: TrainUnit) -> bool:
        """Whether another run in the same folder has trained the model in the same way, which is copied then."""
        for path in sorted(self.path.parent.glob(f"*/models/*{unit.digest}.json")):
            try:
                record, weights = read_record(path, ModelRecord), path.with_suffix(".safetensors")
                if not record.history or checksum(weights) != record.sha256:
                    continue
                content = weights.read_bytes()
            except (Damaged, OSError):  # the other run says so, when it is continued
                continue
            run = path.parents[1].name
            write_whole(self.weights(unit), partial(Path.write_bytes, data=content))
            copied = record.model_copy(update={"unit": unit.name, "model": unit.model, "taken_from": run})
            write_record(self.result(unit), copied)
            self.say(f"{unit.label} is trained already: taken from {run}.")
            return True
        return False

    def write_model(self, unit: TrainUnit, model: StochasticClassifier, record: ModelRecord) -> None:
        """Weights, then the record that says they are whole."""
        write_whole(self.weights(unit), model.save)
        write_record(self.result(unit), record.model_copy(update={"sha256": checksum(self.weights(unit))}))

    def checkpoint(self, unit: TrainUnit) -> Path:
        """Where a training that is cut off goes on from; one that cannot be read is named and dropped."""
        path = self.result(unit).with_suffix(".checkpoint")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            try:
                read_tensors(path)
            except ValueError as error:
                self.say(f"{error} Training from the start.")
                path.unlink()
        return path
