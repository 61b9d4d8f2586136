"""From a recipe to rows: compute what is missing, store it whole, go on after anything that went wrong."""

from __future__ import annotations

import itertools
import os
import platform
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch

from unshaken.attacks.transfer import load_transfer_set, only_fooling
from unshaken.errors import unknown
from unshaken.evaluation.evaluate import inference_sets
from unshaken.runs.executors import alongside, choose_jobs
from unshaken.runs.memory import keep_freed_memory
from unshaken.models import Cost, Draws, StochasticClassifier
from unshaken.models.size import flops, parameters
from unshaken.runs.parts import Table
from unshaken.runs.plan import Unit, is_clean, is_source, plan
from unshaken.runs.recipe import Recipe, read_recipe
from unshaken.runs.preflight import rehearse
from unshaken.runs.resolve import needs_of
from unshaken.store import (
    Damaged,
    Held,
    checksum,
    claimed,
    digest,
    read_json,
    read_rows,
    read_tensors,
    write_json,
    write_rows,
    write_tensors,
    write_whole,
)
from unshaken.runs.units import (
    analysis_unit,
    attack_unit,
    fingerprint,
    inference_draws,
    load_data,
    load_unlabelled,
    new_model,
    train_unit,
    transfer_unit,
)

PAUSE = 0.1  # seconds, before a process that has to wait for others looks again

# what a unit may fail with, so that the other units go on; anything else is a defect of the program and stops it
FAILURES = (ValueError, RuntimeError, ArithmeticError, LookupError, TypeError, OSError, MemoryError)

Progress = Callable[[float, float, str], None]  # (units done, units in all, note)
Say = Callable[[str], None]


def run(
    recipe: Recipe | str,
    *,
    out: str | Path = "runs",
    data_root: str | Path | None = None,
    device: str = "auto",
    jobs: int | None = 1,
    progress: Progress = lambda done, total, note: None,
    say: Say = print,
) -> Path:
    """Compute what is missing of a recipe (read, or its name or path) and return the folder of the run.

    A run that was cut off is continued by the same call and repeats nothing finished; a damaged file is named and
    computed again; processes at once share the work: `jobs` of them (None: one for each thread of a CPU; a script needs
    `if __name__ == "__main__":` then), or several that a user starts. A unit that fails is recorded and the others go
    on: `failed_units` tells. What is wrong with the recipe, the data or the model is found before any work.
    """
    recipe = read_recipe(recipe) if isinstance(recipe, str) else recipe
    work = Work(recipe, Path(out), data_root, choose_device(device), say)
    work.rehearse()
    jobs = choose_jobs(jobs, work.device, len(work.units))
    try:
        with alongside(jobs - 1, work_along, recipe, Path(out), data_root, work.device, work.token) as heard:
            work.go(progress, heard)
    finally:
        shutil.rmtree(work.failures, ignore_errors=True)
    for told in heard():
        say(told)
    return work.folder


def work_along(
    recipe: Recipe, out: Path, data_root: str | Path | None, device: torch.device, token: str, say: Say
) -> None:
    """What another process does for the same run: the units that are free."""
    keep_freed_memory()
    Work(recipe, out, data_root, device, say, token).go()


def choose_device(device: str) -> torch.device:
    """auto is a GPU where there is one."""
    if device not in ("auto", "cpu", "cuda"):
        raise unknown("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch finds no GPU: use --device cpu.")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def failed_units(folder: Path) -> list[Table]:
    """The units of a run that failed, or could not start because their model failed."""
    return [unit for unit in read_json(folder / "run.json")["units"] if unit["status"] != "done"]


class Work:
    """One process at work on a run: what it has loaded, where it writes, how each unit went."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        data_root: str | Path | None,
        device: torch.device,
        say: Say,
        token: str | None = None,
    ) -> None:
        self.recipe, self.device, self.say = recipe, device, say
        self.data = load_data(recipe.config, data_root, device)
        self.unlabelled = load_unlabelled(recipe.config, data_root, device)
        self.inputs = fingerprint(recipe, self.data, self.unlabelled)
        self.folder = out / f"{recipe.name}-{digest([recipe.config, self.inputs])}"
        self.units = plan(recipe, self.inputs)
        self.token = token or f"{os.getpid()}-{time.time_ns()}"
        self.failures = self.folder / ".locks" / f"failed-{self.token}"  # units, told to other processes
        self.models: dict[str, StochasticClassifier] = {}
        self.inference: tuple[tuple[str, int], Draws] | None = None
        self.status: dict[str, Table] = {}
        self.sizes: dict[str, Table] = {}
        self.last = ""

    def rehearse(self) -> None:
        """What cannot work is said before any work."""
        rehearse(self.recipe.config, self.data, self.unlabelled)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / ".writable", {})
            (self.folder / ".writable").unlink()
        except OSError as error:
            raise ValueError(f"cannot write to {self.folder}: {error.strerror}.") from error

    def go(self, progress: Progress = lambda done, total, note: None, heard: Callable[[], list[str]] = list) -> None:
        """Compute every unit that is not there, and as soon as they are there, look at those that others compute."""
        waiting, of = self.units, len(self.units)
        before = {unit.name: self.before(unit) for unit in self.units}
        while waiting:
            put_off = list[Unit]()
            for unit in waiting:
                if any(name not in self.status for name in before[unit.name]):
                    put_off.append(unit)
                    continue
                at = self.done()
                progress(at, of, f"{unit.label}, {self.last}" if self.last else unit.label)
                if self.do(unit, lambda step, steps, told, at=at: progress(at + step / steps, of, f"training: {told}")):
                    self.record(self.units)
                else:
                    put_off.append(unit)
                for told in heard():
                    self.say(told)
            if len(put_off) == len(waiting):
                time.sleep(PAUSE)
            waiting = put_off
        progress(of, of, self.last)

    def done(self) -> int:
        """How many units have come to an end, in whatever process."""
        return max(len(self.status), sum(self.path(unit).exists() for unit in self.units))

    def do(self, unit: Unit, progress: Callable[..., None]) -> bool:
        """Compute one unit unless it is there and note how it went; False where another process is at it."""
        if unit.kind != "train" and unit.model not in self.models:
            self.status[unit.name] = {"status": "skipped", "error": f"the model {unit.model!r} failed"}
            return True
        failure = self.failures / f"{unit.name}.json"
        try:
            with claimed(self.path(unit), wait=False):
                if failure.exists():
                    self.status[unit.name] = read_json(failure)
                    return True
                told = self.known(unit) or self.compute(unit, progress)
            self.status[unit.name] = {**told, "status": "done"}
            self.last = f"last accuracy {told['accuracy']:.3f}" if "accuracy" in told else ""
            if unit.kind == "train":
                self.measure(unit.model)
        except Held:
            return False
        except FAILURES as error:
            self.say(f"{unit.label} failed: {error}")
            self.status[unit.name] = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
            write_json(failure, self.status[unit.name])
        return True

    def before(self, unit: Unit) -> list[str]:
        """The units whose end this one waits for: those that train the models it needs, and make what it is given."""
        models = [unit.model] if unit.kind != "train" else needs_of(unit.config).values()
        made = [unit.config["made"]] if "made" in unit.config else []
        return [other.name for other in self.units if other.kind == "train" and other.model in models] + made

    def measure(self, label: str) -> None:
        """Note the parameters of a model and, where they can be counted, the operations of its predictions."""
        model, draws = self.models[label], self.recipe.config["evaluation"]["draws"]
        self.sizes[label] = {"parameters": parameters(model), "flops": None}
        try:
            self.sizes[label]["flops"] = flops(model, self.data["test"].x[:1], inference_sets(model, draws, 0, 1)[0])
        except FAILURES as error:  # a network of somebody else's; its rows are what matters
            self.say(f"the operations of {label} cannot be counted: {error}")

    def path(self, unit: Unit) -> Path:
        """The file whose presence means that the unit is finished."""
        places = {"train": "models/{}.json", "analysis": "analyses/{}.parquet"}
        return self.folder / places.get(unit.kind, "rows/{}.parquet").format(unit.name)

    def known(self, unit: Unit) -> Table | None:
        """What is on disk of a finished unit; None where it must be computed, with a word if a file is damaged."""
        path = self.path(unit)
        if unit.kind == "train" and not path.exists():
            self.borrow(unit)
        if not path.exists():
            return None
        try:
            if unit.kind == "train":
                return self.load_model(unit)
            if self.has_examples(unit):
                read_tensors(self.examples(unit))
            if is_source(unit, self.recipe.config):
                load_transfer_set(self.perturbations(unit.name))
            return read_rows(path)[1]
        except (Damaged, FileNotFoundError) as error:
            self.say(f"{error} Computing it again.")
            return None

    def borrow(self, unit: Unit) -> None:
        """Copy a model that another run in the same folder has trained in the same way, if there is one."""
        path = self.path(unit)
        for found in sorted(self.folder.parent.glob(f"*/models/*{unit.digest}.json")):
            try:
                told, weights = read_json(found), found.with_suffix(".safetensors")
                if not told.get("history") or checksum(weights) != told.get("sha256"):
                    continue
                copied = weights.read_bytes()
            except (Damaged, OSError):  # the other run says so, when it is continued
                continue
            write_whole(path.with_suffix(".safetensors"), partial(Path.write_bytes, data=copied))
            taken = {"unit": unit.name, "model": unit.model, "taken_from": found.parents[1].name}
            write_json(path, told | taken)
            self.say(f"{unit.label} is trained already: taken from {found.parents[1].name}.")
            return

    def examples(self, unit: Unit) -> Path:
        return self.folder / "examples" / f"{unit.name}.safetensors"

    def perturbations(self, name: str) -> Path:
        """What an attack unit of this name made, where other models are given it."""
        return self.folder / "perturbations" / f"{name}.safetensors"

    def has_examples(self, unit: Unit) -> bool:
        """The first repeat of every attack keeps some images."""
        return unit.kind == "attack" and unit.config["repeat"] == 0 and not is_clean(unit)

    def load_model(self, unit: Unit) -> Table:
        path = self.path(unit)
        told: Table = read_json(path)
        weights = path.with_suffix(".safetensors")
        if not weights.exists() or checksum(weights) != told.get("sha256"):
            raise Damaged(f"{weights} is damaged or gone.")
        model = new_model(unit.config, self.data["test"])
        model.load(weights)
        self.models[unit.model] = model
        return told

    def compute(self, unit: Unit, progress: Callable[..., None]) -> Table:
        """Do the work of a unit and write it; returns what it cost."""
        if unit.kind == "train":
            return self.train(unit, progress)
        return {"attack": self.attack, "transfer": self.transfer, "analysis": self.analyse}[unit.kind](unit)

    def train(self, unit: Unit, progress: Callable[..., None]) -> Table:
        path = self.path(unit)
        checkpoint = path.with_suffix(".checkpoint")
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        self.check_checkpoint(checkpoint)
        model, history = train_unit(unit, self.data, checkpoint, progress, self.unlabelled, self.needed_by(unit))
        for name in itertools.chain(*(epoch["diverged"] for epoch in history)):
            self.say(f"{unit.label}: {name} diverged and was left out; {model.members} go on.")
        weights = path.with_suffix(".safetensors")
        write_whole(weights, model.save)
        self.models[unit.model] = model
        words = ("seconds", "forwards", "gradients")  # of all epochs, also those of a process that was killed
        cost = {word: round(sum(epoch[word] for epoch in history), 3) for word in words}
        told = {"unit": unit.name, "model": unit.model, "history": history, "sha256": checksum(weights), **cost}
        write_json(path, told)
        checkpoint.unlink(missing_ok=True)
        return told

    def needed_by(self, unit: Unit) -> dict[str, StochasticClassifier]:
        """The trained models that the training of a unit needs, by what for."""
        needs = needs_of(unit.config)
        if failed := [name for name in needs.values() if name not in self.models]:
            raise ValueError(f"the model {failed[0]!r}, which it needs, failed.")
        return {word: self.models[name] for word, name in needs.items()}

    def check_checkpoint(self, path: Path) -> None:
        """A checkpoint that cannot be read is named and dropped."""
        if path.exists():
            try:
                read_tensors(path)
            except ValueError as error:
                self.say(f"{error} Training from the start.")
                path.unlink()

    def attack(self, unit: Unit) -> Table:
        started, model = time.perf_counter(), self.models[unit.model]
        before, keep = replace(model.cost), is_source(unit, self.recipe.config)
        rows, examples, seconds, made = attack_unit(unit, model, self.data["test"], self.inference_of(unit), keep=keep)
        accuracy = float(rows[rows.role == "sweep"].correct.mean())
        told = {"unit": unit.name, "accuracy": accuracy, **_cost(started, model, before)}
        told["attack_seconds"] = round(seconds, 4)
        if made is not None:
            if self.recipe.config["transfer"]["keep"] == "fooled":
                made = only_fooling(made, model, self.data["test"].x, self.data["test"].y)
            made.save(self.perturbations(unit.name))
        if self.has_examples(unit):
            named = {
                "label": unit.config["attack"]["label"],
                "model": unit.model,
                "eps": str(unit.config["attack"]["eps"]),
            }
            write_tensors(self.examples(unit), examples, named)
        write_rows(self.path(unit), rows, told)
        return told

    def inference_of(self, unit: Unit) -> Draws:
        """The inference draws of the unit's model and repeat, held for the units after it."""
        key = (unit.model, unit.config["repeat"])
        if self.inference is None or self.inference[0] != key:
            self.inference = (key, inference_draws(unit, self.models[unit.model]))
        return self.inference[1]

    def transfer(self, unit: Unit) -> Table:
        started, model = time.perf_counter(), self.models[unit.model]
        before, stored = replace(model.cost), unit.config.get("set")
        made = load_transfer_set(stored or self.perturbations(unit.config["made"]))
        rows = transfer_unit(unit, model, self.data["test"], self.inference_of(unit), made)
        told = {"unit": unit.name, "accuracy": float(rows.correct.mean()), **_cost(started, model, before)}
        write_rows(self.path(unit), rows, told)
        return told

    def analyse(self, unit: Unit) -> Table:
        started, model = time.perf_counter(), self.models[unit.model]
        before = replace(model.cost)
        rows = analysis_unit(unit, model, self.data["test"])
        told = {"unit": unit.name, "analysis": unit.config["analysis"]["kind"], **_cost(started, model, before)}
        write_rows(self.path(unit), rows, told)
        return told

    def record(self, units: list[Unit]) -> None:
        """Write run.json: what was asked, on what, and how each unit went."""
        config, test = self.recipe.config, self.data["test"]
        sizes = {split: len(data.y) for split, data in self.data.items()}
        told = {
            "name": self.recipe.name,
            "title": config["title"],
            "about": config["about"],
            "preset": self.recipe.preset,
            "hash": digest([config, self.inputs]),
            "inputs": self.inputs,
            "command": shlex.join(["unshaken", *sys.argv[1:]]),
            "seed": config["seed"],
            "data": {"name": test.name, "classes": test.classes, "labels": list(test.labels), **sizes},
            "versions": versions(),
            "machine": machine(self.device),
            "paper": config["paper"],
            "recipe": config,
        }
        path = self.folder / "run.json"
        with claimed(path):  # another process may have done what this one has not looked at yet
            try:
                before = read_json(path)
            except Damaged:  # absent, or cut: what it said is found again unit by unit
                before = {"units": []}
            statuses = {unit["name"]: unit for unit in before["units"]} | self.status
            told["sizes"] = before.get("sizes", {}) | self.sizes
            write_json(path, told | {"units": [_unit_record(unit, statuses.get(unit.name, {})) for unit in units]})


def _unit_record(unit: Unit, status: Table) -> Table:
    words = {"status": "waiting", "error": None, "seconds": None, "attack_seconds": None}
    words |= {"forwards": None, "gradients": None}
    named = {"name": unit.name, "kind": unit.kind, "label": unit.label, "model": unit.model}
    return named | {word: status.get(word, default) for word, default in words.items()}


def _cost(started: float, model: StochasticClassifier, before: Cost) -> Table:
    return {
        "seconds": round(time.perf_counter() - started, 3),
        "forwards": model.cost.forwards - before.forwards,
        "gradients": model.cost.gradients - before.gradients,
    }


def versions() -> Table:
    return {"unshaken": version("unshaken"), "torch": torch.__version__, "python": platform.python_version()}


def machine(device: torch.device) -> Table:
    """Where a run was made."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else []
    cpu = names[0] if names else platform.processor() or platform.machine()
    gpu = {"gpu": torch.cuda.get_device_name()} if device.type == "cuda" else {}
    return {
        "device": device.type,
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        **gpu,
    }
