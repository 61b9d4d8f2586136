"""The JSON Schema of a recipe accepts every shipped recipe and refuses what the program refuses."""

import json
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from unshaken.runs.recipe import recipe_paths
from unshaken.runs.schema import schema

RECIPES = recipe_paths()
SCHEMA = RECIPES["demo"].with_name("recipe.schema.json")
VALIDATOR = Draft202012Validator(schema())

WRONG = {
    "unknown section": "[dada]\nname = 'digits'",
    "unknown setting": "[data]\nnane = 'digits'",
    "type": "[data]\nname = 5",
    "range": "[evaluation]\ndraws = 0",
    "word": "[[attacks]]\nkind = 'pgd'\nloss = 'cv'",
    "kind": "[[attacks]]\nkind = 'pdg'",
    "setting of another kind": "[[attacks]]\nkind = 'fgsm'\nsteps = 5",
    "what the caller passes": "[[attacks]]\nkind = 'pgd'\nseed = 1",
    "a part in a part": "[training]\ninputs = { kind = 'adversarial', eps = 1, attack = { kind = 'pgd', steps = 0 } }",
    "in a preset": "[presets.smoke.training]\nepochs = 'three'",
    "published value": "[[paper.accuracy]]\nmodel = 'a'\nattack = 'MEAN'\neps = 0.1\nvalue = 98.5",
}
RIGHT = {
    "fraction": "[evaluation]\neps = ['8/255', 0.1]",
    "from outside": "[[attacks]]\nkind = 'package.module:attack'\nanything = 3",
    "sweep": "[[attacks]]\nkind = 'pgd'\nsweep.draws = [1, 'mean']",
    "for all attacks": "[presets.smoke.attacks]\nsteps = 3",
    "part of a part": "[training]\noptimizer = { lr = 0.1 }",
}


def test_it_is_a_schema_and_the_file_beside_the_recipes_is_it() -> None:
    Draft202012Validator.check_schema(schema())
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == schema(), (
        "run: unshaken schema > recipes/recipe.schema.json"
    )


@pytest.mark.parametrize("path", RECIPES.values(), ids=RECIPES)
def test_every_shipped_recipe_names_it_and_is_valid(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#:schema recipe.schema.json\n")
    VALIDATOR.validate(tomllib.loads(text))


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused(text: str) -> None:
    assert not VALIDATOR.is_valid(tomllib.loads(text))


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_accepted(text: str) -> None:
    VALIDATOR.validate(tomllib.loads(text))


def test_every_setting_has_a_description_and_every_optional_one_a_default() -> None:
    pgd = next(
        kind for kind in schema()["$defs"]["attack"]["anyOf"] if kind["properties"]["kind"].get("const") == "pgd"
    )
    definitions = schema()["$defs"]
    settings = {
        name: definitions[value["$ref"].rsplit("/", 1)[-1]]
        for name, value in pgd["properties"].items()
        if "$ref" in value
    }
    assert settings["steps"]["default"] == 10
    assert settings["steps"]["minimum"] == 1
    assert settings["steps"]["description"] == "number of gradient steps."
    assert all(value["description"] and "default" in value for value in settings.values())
