"""Units: each has a name that its result follows from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from small_recipes import read

from unshaken.runs.plan import plan
from unshaken.runs.units import AttackUnit, TrainUnit

AROUND = 'model={kind="mean_network", base={kind="matrix_gaussian"}}'
ITSELF = 'model={kind="matrix_gaussian"}'
ADVERSARIAL = 'training.inputs={kind="adversarial", eps=0.1, attack={kind="fgsm", draws=1}}'


def train_unit(path: Path, *settings: str) -> TrainUnit:
    return next(unit for unit in plan(read(path, *settings)) if isinstance(unit, TrainUnit))


def test_a_name_is_a_label_and_the_digest_of_everything_else(path: Path) -> None:
    unit = next(unit for unit in plan(read(path)) if isinstance(unit, AttackUnit))
    assert unit.name == f"mean-field-clean-r0-{unit.digest}"
    assert replace(unit, label="another", subject=replace(unit.subject, model="another")).digest == unit.digest
    assert replace(unit, repeat=1).digest != unit.digest


def test_a_model_around_another_is_trained_as_that_one_unless_an_attack_looks_at_it(path: Path) -> None:
    around, itself = train_unit(path, AROUND), train_unit(path, ITSELF)
    assert around.digest == itself.digest
    assert around.source.digest != itself.source.digest
    assert train_unit(path, AROUND, ADVERSARIAL).digest != train_unit(path, ITSELF, ADVERSARIAL).digest
