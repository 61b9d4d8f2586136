"""A finished run, made by the parts themselves: a mean-field network on digits, attacked and evaluated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from synthetic import run_record

from unshaken.attacks import fgm, fgsm, mean, pgd
from unshaken.data import load
from unshaken.evaluation.evaluate import evaluate
from unshaken.models import MeanField
from unshaken.networks import mlp
from unshaken.report import report
from unshaken.runs.record import ModelRecord, RunRecord, write_record
from unshaken.store import write_rows
from unshaken.training import train

EPS = {"linf": [0.02, 0.05, 0.1, 0.15, 0.2], "l2": [0.25, 0.5, 1.0, 1.5]}
WHOLE_BOX = {"linf": 1.0, "l2": 8.0}
INFERENCE_DRAWS = 20
ATTACKS: dict[str, tuple[str, str, str, int, Callable[..., torch.Tensor]]] = {
    "FGSM-1": ("linf", "fgsm", "1", 1, partial(fgsm, draws=1)),
    "FGSM-10": ("linf", "fgsm", "10", 1, partial(fgsm, draws=10)),
    "PGD-10": ("linf", "pgd", "10", 5, partial(pgd, draws=10, steps=5)),
    "MEAN": ("linf", "mean", "mean", 1, mean),
    "FGM-10": ("l2", "fgm", "10", 1, partial(fgm, draws=10)),
    "MEAN L2": ("l2", "mean", "mean", 1, partial(mean, norm="l2")),
}
LINF = ("FGSM-1", "FGSM-10", "PGD-10", "MEAN")


def make_run(
    folder: Path,
    *,
    models: Iterable[str] = ("mean_field",),
    attacks: Iterable[str] = LINF,
    inputs: int = 200,
    repeats: int = 3,
    **content: Any,
) -> Path:
    """Train, attack, evaluate and store, as a run does it; `content` goes into run.json."""
    folder.mkdir(parents=True)
    for subfolder in ("rows", "models", "examples"):
        (folder / subfolder).mkdir()
    learn, test = load("digits", split="train"), load("digits", limit=inputs)
    units = []
    for seed, name in enumerate(models):
        model = _trained(folder, name, learn, seed)
        units.append(_unit(f"{name}-0a1b2c3d", "train", name, name, 2.5, 36, 36))
        clean = evaluate(model, test.x, test.y, draws=INFERENCE_DRAWS, seed=7, repeats=repeats)
        clean = clean.assign(model=name, attack="none", norm="", loss="", attack_draws="", steps=0, eps=0.0)
        clean = clean.assign(restarts=0, source="", role="sweep", size=0.0, zero_gradient=False)
        write_rows(folder / f"rows/clean.{name}-77aa01.parquet", clean, {})
        units.append(_unit(f"clean.{name}-77aa01", "attack", "clean", name, 0.03, 40, 0))
        for label in attacks:
            key = f"{label.lower().replace(' ', '-')}.{name}-3fa9c1d2"
            rows = _attacked(model, test, name, label, repeats, folder / f"examples/{key}.safetensors")
            write_rows(folder / f"rows/{key}.parquet", rows, {})
            _, _, draws, steps, _ = ATTACKS[label]
            passes = int(draws.replace("mean", "1")) * steps
            units.append(_unit(key, "attack", label.split()[0], name, 0.05 + 0.04 * passes, 40 + passes, passes))
    write_record(folder / "run.json", _record(units, test, **content))
    return folder


def _trained(folder: Path, name: str, learn: Any, seed: int) -> MeanField:
    torch.manual_seed(seed)
    model = MeanField(mlp((1, 8, 8), 10, widths=(32,)), initial_scale=0.02)
    history = train(model, learn.x, learn.y, epochs=6, optimizer=partial(torch.optim.Adam, lr=0.01), seed=seed)
    record = ModelRecord(unit=f"{name}-0a1b2c3d", model=name, history=history, sha256="")
    write_record(folder / f"models/{name}-0a1b2c3d.json", record)
    return model


def _attacked(model: MeanField, test: Any, name: str, label: str, repeats: int, pictures: Path) -> pd.DataFrame:
    norm, kind, draws, steps, attack = ATTACKS[label]
    sizes = [*EPS[norm], 0.0, WHOLE_BOX[norm]]
    x_adv = attack(model, test.x, test.y, eps=sizes, seed=3)
    metadata = {"label": label.split()[0], "model": name, "eps": json.dumps(sizes)}
    save_file({"x": test.x[:8].contiguous(), "x_adv": x_adv[:, :8].contiguous()}, pictures, metadata)
    parts = []
    for index, eps in enumerate(sizes):
        rows = evaluate(model, x_adv[index], test.y, draws=INFERENCE_DRAWS, seed=7, repeats=repeats)
        change = (x_adv[index] - test.x).flatten(1)
        size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
        parts.append(rows.assign(eps=eps, role="sweep" if eps in EPS[norm] else "check", size=size.tolist() * repeats))
    return pd.concat(parts, ignore_index=True).assign(
        model=name,
        attack=kind,
        norm=norm,
        loss="log_error",
        attack_draws=draws,
        steps=steps,
        restarts=1,
        source="",
        zero_gradient=False,
    )


def _unit(
    name: str, kind: str, label: str, model: str, seconds: float, forwards: int, gradients: int
) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "label": label,
        "model": model,
        "status": "done",
        "seconds": seconds,
        "forwards": forwards,
        "gradients": gradients,
        "error": None,
    }


def _record(units: list[dict[str, Any]], test: Any, **content: Any) -> RunRecord:
    recipe = {
        "title": "Attacks on a Bayesian network for digits",
        "about": "How many draws does an attack on a Bayesian network need? One gradient of the mean network against "
        "attacks that average over draws.",
        "seed": 3,
        "models": [
            {
                "label": "mean_field",
                "network": {"kind": "mlp", "widths": [32]},
                "model": {"kind": "mean_field", "initial_scale": 0.02},
                "training": {"epochs": 6, "optimizer": {"kind": "adam", "lr": 0.01}},
            }
        ],
        "attacks": [
            {"label": "FGSM-1", "kind": "fgsm", "draws": 1, "loss": "log_error"},
            {"label": "FGSM-10", "kind": "fgsm", "draws": 10, "loss": "log_error"},
            {"label": "PGD-10", "kind": "pgd", "draws": 10, "steps": 5, "loss": "log_error"},
            {"label": "MEAN", "kind": "mean", "loss": "log_error"},
        ],
        "evaluation": {"eps": EPS["linf"], "draws": INFERENCE_DRAWS, "repeats": 3},
    }
    machine = {"device": "cpu", "cpu": "AMD EPYC 7B13", "cores": 2, "threads": 2, "platform": "Linux x86_64"}
    images = {"train": 1200, "test": len(test.y)}
    defaults = {
        "recipe": recipe,
        "data": {"name": "digits", "classes": 10, "labels": list(test.labels), "images": images},
        "name": "demo",
        "preset": "smoke",
        "hash": "5c1d9e07",
        "versions": {"unshaken": "0.1.0", "torch": torch.__version__, "python": "3.11.2"},
        "machine": machine,
        "command": "unshaken run recipes/demo.toml --preset smoke",
        "units": units,
    }
    return run_record(**(defaults | content))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that must not be changed: copy it first."""
    return make_run(tmp_path_factory.mktemp("runs") / "demo-5c1d9e07")


@pytest.fixture(scope="session")
def reported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run with its report."""
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("reported") / "run"))
    assert report(folder) == folder / "report.html"
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run to change at will."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def edit(run: Path) -> Callable[..., None]:
    """Change entries of run.json, and of the recipe in it: title, about, paper, models."""

    def change(**entries: Any) -> None:
        path = run / "run.json"
        content = json.loads(path.read_text())
        of_recipe = {name: entries.pop(name) for name in [*entries] if name in content["recipe"]}
        path.write_text(json.dumps(content | {"recipe": content["recipe"] | of_recipe} | entries))

    return change
