"""The sections of a recipe as types: their fields are the schema."""

from dataclasses import fields
from typing import get_type_hints

from unshaken.runs.parts import Part, settable
from unshaken.runs.recipe import read_recipe
from unshaken.runs.record import RunRecord
from unshaken.runs.settings import CLEAN, TrainingConfig, as_json
from unshaken.training import train


def test_training_has_a_field_for_each_argument_that_a_recipe_may_set() -> None:
    arguments = settable(train)
    assert [entry.name for entry in fields(TrainingConfig)] == [*arguments]
    hints = get_type_hints(TrainingConfig)
    for name, argument in arguments.items():
        assert (hints[name] is Part) == (argument.table is not None), name


def test_a_resolved_recipe_is_read_as_it_was_written() -> None:
    for name in ("ensemble_main", "bal_chains", "constant_flatness", "mean_training"):
        config = read_recipe(name).config
        stored = {"name": name, "inputs": {}, "data": {"name": "", "classes": 2}, "recipe": as_json(config)}
        assert RunRecord.model_validate(stored).recipe == config, name


def test_no_attack_has_no_arguments() -> None:
    assert CLEAN.is_clean
    assert CLEAN.arguments == {}
