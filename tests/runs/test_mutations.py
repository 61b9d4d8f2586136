"""Recipes with something wrong in them are answered by the package's own errors, in one sentence, before any work."""

import copy
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from unshaken.runs import recipe as recipes
from unshaken.runs.recipe import read_recipe, recipe_paths

MUTATIONS = 60  # of each recipe
DEEP = 5000
LONGEST = 1000
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 10**12, 1.5, -0.1, float("nan"), float("inf"), "", "x", "all", "mean", "1/0", "8/255"),
    *([], [1], [[]], ["x"], [None], {}, {"kind": "x"}, {"kind": ["a"]}, {"kind": {}}, [{}], {"a": {"b": 1}}),
)
NAMES = ("kind", "sweep", "draws", "paper", "like", "unknown")
RECIPES = recipe_paths()


def paths(table: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a table, tables and lists too."""
    entries = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    for key, value in entries:
        yield (*above, key)
        yield from paths(value, (*above, key))


def mutated(raw: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A copy with one or two changes: a value of another kind, something left out, a word misspelt or added."""
    raw = copy.deepcopy(raw)
    for _ in range(rng.choice((1, 1, 2))):
        *above, key = rng.choice([*paths(raw)])
        table = raw
        for step in above:
            table = table[step]
        value = copy.deepcopy(rng.choice(VALUES))
        change = rng.choice(("replace", "remove", "rename", "add", "wrap"))
        if change == "replace":
            table[key] = value
        elif change == "remove":
            del table[key]
        elif change == "wrap":
            table[key] = [table[key]]
        elif isinstance(table, dict):
            name = f"{key}s" if change == "rename" else rng.choice(NAMES)
            table[name] = table.pop(key) if change == "rename" else value
    return raw


@pytest.mark.parametrize("name", RECIPES)
def test_a_mutated_recipe_resolves_or_is_answered_in_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, rng, parse = recipes.parse(RECIPES[name]), random.Random(name), recipes.parse
    presets = [None, *raw.get("presets", {})]
    for _ in range(MUTATIONS):
        mutant = mutated(raw, rng)
        contents = {RECIPES[name]: mutant}
        monkeypatch.setattr(recipes, "parse", partial(lambda mutants, path: mutants.get(path) or parse(path), contents))
        try:
            read_recipe(name, preset=rng.choice(presets))
        except (ValueError, FileNotFoundError) as error:
            message = str(error)
            assert "\n" not in message, message
            assert message.endswith((".", "?")), message
            assert len(message) < LONGEST + 2 * len(str(mutant)), message  # which may quote what it got


TEXTS = {
    "kind is a list": ('[model]\nkind = ["a"]', "unknown kind ['a']: choose one of"),
    "kind is a table": ("[model.kind]\na = 1", "unknown kind {'a': 1}: choose one of"),
    "presets of a wrong type": ("presets = 3", "expected a table of settings, got 3"),
    "a preset of a wrong type": ("[presets]\nsmoke = 3", "expected a table of settings, got 3"),
    "title": ("title = 3", "title must be text; got 3"),
    "about": ("about = []", "about must be text; got []"),
    "a wrong published value": ('[[paper.accuracy]]\nmodel = "a"', "[[paper.accuracy]] 1: 'attack' is missing"),
    "an unknown published value": ("[paper]\nacuracy = []", "did you mean 'accuracy'"),
    "deep lists": (f"deep = {'[' * DEEP}{']' * DEEP}", "nested too deeply"),
    "deep tables": (f"[{'.'.join(['a'] * DEEP)}]", "nested too deeply"),
}
BASE = """
[data]
name = "digits"
[network]
kind = "mlp"
[evaluation]
eps = [0.1]
[[attacks]]
kind = "fgsm"
"""


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS)
def test_wrong_texts_are_answered_in_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    model = "" if "[model" in text else '[model]\nkind = "mean_field"\n'
    top = text if not text.startswith("[") else ""
    path.write_text(f"{top}\n{BASE}{model}{'' if top else text}")
    with pytest.raises(ValueError) as error:
        read_recipe(str(path), preset="smoke" if "presets" in text else None)
    assert message in str(error.value)
    assert str(error.value).endswith((".", "?"))
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'{BASE}[model]\nkind = "mean_field"\n', encoding="utf-8-sig")
    assert read_recipe(str(path)).config.data.name == "digits"
