"""From a recipe to rows: compute what is missing, store it whole, go on after anything that went wrong."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from unshaken.attacks.transfer import load_transfer_set, only_fooling
from unshaken.errors import unknown
from unshaken.evaluation.evaluate import inference_sets
from unshaken.models import Draws, StochasticClassifier
from unshaken.models.chain import chain_in
from unshaken.models.size import flops, parameters
from unshaken.runs.compute import analysis_unit, attack_unit, inference_draws, train_unit, transfer_unit
from unshaken.runs.executors import alongside, choose_jobs
from unshaken.runs.folder import RunFolder, Say
from unshaken.runs.loading import fingerprint, load_data, load_unlabelled, new_model
from unshaken.runs.memory import keep_freed_memory
from unshaken.runs.plan import is_source, plan
from unshaken.runs.preflight import preflight
from unshaken.runs.recipe import Recipe, read_recipe
from unshaken.runs.record import (
    Cost,
    DataRecord,
    ModelRecord,
    ModelSize,
    Outcome,
    RowMetadata,
    RunRecord,
    UnitRecord,
    machine,
    read_record,
    versions,
    write_record,
)
from unshaken.runs.settings import as_json
from unshaken.runs.units import AnalysisUnit, EvaluationUnit, TrainUnit, TransferUnit, Unit, UnitPerturbations
from unshaken.store import Damaged, Held, claimed, digest, write_rows, write_tensors
from unshaken.training.loop import Progress as TrainingProgress

if TYPE_CHECKING:
    from pandas import DataFrame

DataRoot: TypeAlias = str | Path | None
PAUSE = 0.1  # seconds, before a process that has to wait for others looks again

# what a unit may fail with, so that the other units go on; anything else is a defect of the program and stops it
FAILURES = (ValueError, RuntimeError, ArithmeticError, LookupError, TypeError, OSError, MemoryError)

Progress = Callable[[float, float, str], None]  # (units done, units in all, note)


def run(
    recipe: Recipe | str,
    *,
    out: str | Path = "runs",
    data_root: DataRoot = None,
    device: str = "auto",
    jobs: int | None = 1,
    progress: Progress = lambda done, total, note: None,
    say: Say = print,
) -> Path:
    """Compute what is missing of a recipe (read, or its name or path) and return the folder of the run.

    A run that was cut off is continued by the same call and repeats nothing finished; a damaged file is named and
    computed again; processes at once share the work: `jobs` of them (None: one for each thread of a CPU; a script needs
    `if __name__ == "__main__":` then), or several that a user starts. A unit that fails is recorded and the others go
    on: `failed_units` lists them. What is wrong with the recipe, the data or the model is an error before any work.
    """
    recipe = read_recipe(recipe) if isinstance(recipe, str) else recipe
    worker = Worker(recipe, Path(out), data_root, choose_device(device), say)
    preflight(recipe.config, worker.data, worker.unlabelled)
    worker.folder.create()
    jobs = choose_jobs(jobs, worker.device, len(worker.units))
    try:
        with alongside(jobs - 1, work_along, recipe, Path(out), data_root, worker.device, worker.token) as messages:
            worker.work(progress, messages)
    finally:
        shutil.rmtree(worker.failures, ignore_errors=True)
    for message in messages():
        say(message)
    return worker.folder.path


def work_along(recipe: Recipe, out: Path, data_root: DataRoot, device: torch.device, token: str, say: Say) -> None:
    """What another process does for the same run: the units that are free."""
    keep_freed_memory()
    Worker(recipe, out, data_root, device, say, token).work()


def choose_device(device: str) -> torch.device:
    """auto is a GPU where there is one."""
    if device not in ("auto", "cpu", "cuda"):
        raise unknown("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch finds no GPU: use --device cpu.")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def failed_units(folder: Path) -> list[UnitRecord]:
    """The units of a run that failed, or could not start because their model failed."""
    return [unit for unit in read_record(folder / "run.json", RunRecord).units if unit.status != "done"]


class Worker:
    """One process at work on a run: what it has loaded, and how each unit went."""

    def __init__(
        self, recipe: Recipe, out: Path, data_root: DataRoot, device: torch.device, say: Say, token: str | None = None
    ) -> None:
        self.recipe, self.config, self.device, self.say = recipe, recipe.config, device, say
        self.data = load_data(self.config, data_root, device)
        self.unlabelled = load_unlabelled(self.config, data_root, device)
        self.inputs = fingerprint(self.config, self.data, self.unlabelled)
        self.hash = digest([as_json(self.config), as_json(self.inputs)])
        self.folder = RunFolder(out / f"{recipe.name}-{self.hash}", self.config, say)
        self.units = plan(recipe, self.inputs)
        self.token = token or f"{os.getpid()}-{time.time_ns()}"
        self.failures = self.folder.path / ".locks" / f"failed-{self.token}"  # outcomes for other processes to read
        self.models: dict[str, StochasticClassifier] = {}
        self.inference: tuple[tuple[str, int], Draws] | None = None
        self.outcomes: dict[str, Outcome] = {}
        self.sizes: dict[str, ModelSize] = {}
        self.note = ""

    def work(
        self, progress: Progress = lambda done, total, note: None, messages: Callable[[], list[str]] = list
    ) -> None:
        """Compute every unit that is not there, and as soon as they are there, load those that others compute."""
        waiting, total = self.units, len(self.units)
        needed = {unit.name: self.needed_units(unit) for unit in self.units}
        while waiting:
            deferred = list[Unit]()
            for unit in waiting:
                if any(name not in self.outcomes for name in needed[unit.name]):
                    deferred.append(unit)
                    continue
                # whatever process has brought them to an end
                done = max(len(self.outcomes), sum(self.folder.result(unit).exists() for unit in self.units))
                progress(done, total, f"{unit.label}, {self.note}" if self.note else unit.label)

                def step(step: int, steps: int, note: str, done: int = done) -> None:
                    progress(done + step / steps, total, f"training: {note}")

                if self.finish(unit, step):
                    self.record()
                else:
                    deferred.append(unit)
                for message in messages():
                    self.say(message)
            if len(deferred) == len(waiting):
                time.sleep(PAUSE)
            waiting = deferred
        progress(total, total, self.note)

    def needed_units(self, unit: Unit) -> list[str]:
        """The units whose end this one waits for: those that train the models it needs, and make its perturbations."""
        needs = self.config.model(unit.model).needs.values() if isinstance(unit, TrainUnit) else [unit.model]
        names = [other.name for other in self.units if isinstance(other, TrainUnit) and other.model in needs]
        perturbations = unit.perturbations if isinstance(unit, TransferUnit) else None
        return names + ([perturbations.unit] if isinstance(perturbations, UnitPerturbations) else [])

    def finish(self, unit: Unit, progress: TrainingProgress) -> bool:
        """Load or compute one unit and note how it went; False where another process is at it."""
        if not isinstance(unit, TrainUnit) and unit.model not in self.models:
            self.outcomes[unit.name] = Outcome(status="skipped", error=f"the model {unit.model!r} failed")
            return True
        failure = self.failures / f"{unit.name}.json"
        try:
            with claimed(self.folder.result(unit), wait=False):
                if failure.exists():
                    self.outcomes[unit.name] = read_record(failure, Outcome)
                    return True
                cost = self.train(unit, progress) if isinstance(unit, TrainUnit) else self.evaluate(unit)
            self.outcomes[unit.name] = Outcome(**cost.model_dump(include=set(Cost.model_fields)), status="done")
        except Held:
            return False
        except FAILURES as error:
            self.say(f"{unit.label} failed: {error}")
            self.outcomes[unit.name] = Outcome(status="failed", error=f"{type(error).__name__}: {error}")
            write_record(failure, self.outcomes[unit.name])
        return True

    def train(self, unit: TrainUnit, progress: TrainingProgress) -> ModelRecord:
        """Load the model of a unit, or train it."""
        model = new_model(unit.source, self.data["test"])
        record = self.folder.load_model(unit, model)
        if record is None:
            model, record = self.trained(unit, progress)
        self.models[unit.model] = model
        self.note = ""
        self.measure(unit.model)
        return record

    def trained(self, unit: TrainUnit, progress: TrainingProgress) -> tuple[StochasticClassifier, ModelRecord]:
        """Train the model of a unit and write it."""
        needs = self.config.model(unit.model).needs
        if failed := [label for label in needs.values() if label not in self.models]:
            raise ValueError(f"the model {failed[0]!r}, which it needs, failed.")
        checkpoint, needed = self.folder.checkpoint(unit), {role: self.models[label] for role, label in needs.items()}
        model, history = train_unit(unit, self.data, checkpoint, progress, self.unlabelled, needed)
        chain = chain_in(model)
        for name in itertools.chain(*(epoch.diverged for epoch in history)):
            self.say(f"{unit.label}: {name} diverged and was left out; {chain.members if chain else 0} go on.")
        # the cost of all epochs, also those of a process that was killed
        cost: dict[str, Any] = {"seconds": round(sum(epoch.seconds for epoch in history), 3)}
        cost |= {name: sum(getattr(epoch, name) for epoch in history) for name in ("forwards", "gradients")}
        record = ModelRecord(unit=unit.name, model=unit.model, history=history, sha256="", **cost)
        self.folder.write_model(unit, model, record)
        checkpoint.unlink(missing_ok=True)
        return model, record

    def measure(self, label: str) -> None:
        """Note the parameters of a model and, where they can be counted, the operations of its predictions."""
        model, draws, operations = self.models[label], self.config.evaluation.draws, None
        try:
            operations = flops(model, self.data["test"].x[:1], inference_sets(model, draws, 0, 1)[0])
        except FAILURES as error:  # a network of somebody else's; its rows are what matters
            self.say(f"the operations of {label} cannot be counted: {error}")
        self.sizes[label] = ModelSize(parameters=parameters(model), flops=operations)

    def evaluate(self, unit: EvaluationUnit | AnalysisUnit) -> RowMetadata:
        """Load the metadata of a unit's rows, or compute and write them; both with what they cost."""
        metadata = self.folder.metadata(unit)
        if metadata is None:
            started, model = time.perf_counter(), self.models[unit.model]
            before = replace(model.cost)
            rows, metadata = self.rows_of(unit)
            metadata.seconds = round(time.perf_counter() - started, 3)
            metadata.forwards = model.cost.forwards - before.forwards
            metadata.gradients = model.cost.gradients - before.gradients
            write_rows(self.folder.result(unit), rows, metadata.model_dump(mode="json", exclude_none=True))
        self.note = "" if metadata.accuracy is None else f"last accuracy {metadata.accuracy:.3f}"
        return metadata

    def rows_of(self, unit: EvaluationUnit | AnalysisUnit) -> tuple[DataFrame, RowMetadata]:
        """Compute the rows of a unit; what else it makes is written here."""
        model, test = self.models[unit.model], self.data["test"]
        if isinstance(unit, AnalysisUnit):
            return analysis_unit(unit, model, test), RowMetadata(unit=unit.name, analysis=unit.analysis.settings.kind)
        if isinstance(unit, TransferUnit):
            origin = unit.perturbations
            path = self.folder.perturbations(origin.unit) if isinstance(origin, UnitPerturbations) else origin.path
            rows = transfer_unit(unit, model, test, self.inference_of(unit), load_transfer_set(path))
            return rows, RowMetadata(unit=unit.name, accuracy=float(rows.correct.mean()))
        attacked = attack_unit(unit, model, test, self.inference_of(unit), keep=is_source(unit, self.config))
        if (perturbations := attacked.perturbations) is not None:
            if self.config.transfer.keep == "fooled":
                perturbations = only_fooling(perturbations, model, test.x, test.y)
            perturbations.save(self.folder.perturbations(unit.name))
        if self.folder.has_examples(unit):
            labels = {"label": unit.attack.label, "model": unit.model, "eps": str(unit.attack.eps)}
            write_tensors(self.folder.examples(unit), attacked.examples, labels)
        accuracy = float(attacked.rows[attacked.rows.role == "sweep"].correct.mean())
        seconds = round(attacked.seconds, 4)
        return attacked.rows, RowMetadata(unit=unit.name, accuracy=accuracy, attack_seconds=seconds)

    def inference_of(self, unit: EvaluationUnit) -> Draws:
        """The evaluation draws of the unit's model and repeat, held for the units after it."""
        key = (unit.model, unit.repeat)
        if self.inference is None or self.inference[0] != key:
            self.inference = (key, inference_draws(unit, self.models[unit.model]))
        return self.inference[1]

    def record(self) -> None:
        """Write run.json."""
        test, path = self.data["test"], self.folder.path / "run.json"
        images = {split: len(data.y) for split, data in self.data.items()}
        with claimed(path):  # another process may have done what this one has not seen yet
            try:
                before = read_record(path, RunRecord)
                outcomes = {unit.name: unit for unit in before.units} | self.outcomes
                sizes = before.sizes | self.sizes
            except Damaged:  # absent, or no record: what it said is noted again unit by unit
                outcomes, sizes = self.outcomes, self.sizes
            record = RunRecord(
                name=self.recipe.name,
                preset=self.recipe.preset,
                hash=self.hash,
                inputs=self.inputs,
                command=shlex.join(["unshaken", *sys.argv[1:]]),
                data=DataRecord(name=test.name, classes=test.classes, labels=list(test.labels), images=images),
                versions=versions(),
                machine=machine(self.device),
                recipe=self.config,
                units=[_unit_record(unit, outcomes.get(unit.name, Outcome())) for unit in self.units],
                sizes=sizes,
            )
            write_record(path, record)


def _unit_record(unit: Unit, outcome: Outcome) -> UnitRecord:
    how_it_went = outcome.model_dump(include=set(Outcome.model_fields))
    return UnitRecord(name=unit.name, kind=unit.kind, label=unit.label, model=unit.model, **how_it_went)
