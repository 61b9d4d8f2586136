"""Recipes: a table or figure as a TOML file, read strictly and resolved before any work starts.

`like = "OTHER"` begins with another recipe, `[presets.NAME]` overrides settings of the same one. Lists under `sweep`
make a grid, of attacks in `[[attacks]]` and of models in `[sweep]`. An empty list removes a sweep, or a value of one.
Fractions such as "8/255" are numbers.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unshaken.errors import nearest, unknown
from unshaken.runs.merge import fractions, merge
from unshaken.runs.parts import check_table, errors_of
from unshaken.runs.resolve import resolve
from unshaken.runs.settings import RecipeConfig


@dataclass(frozen=True)
class Recipe:
    """A resolved recipe: `config` has every setting, also the defaults, and no preset or sweep any more."""

    name: str
    preset: str | None
    config: RecipeConfig


def find_recipe(name: str) -> Path:
    """The file of a recipe given by path or by name: in ./recipes, or among those that come with the package."""
    if Path(name).is_file():
        return Path(name)
    paths = recipe_paths()
    if name not in paths:
        raise FileNotFoundError(f"no recipe {name!r}: {nearest(Path(name).stem, paths)}")
    return paths[name]


def recipe_paths() -> dict[str, Path]:
    """Every recipe by name, in order: those of ./recipes, and those of the package, inside it or beside its sources."""
    package = Path(__file__).resolve().parents[1]
    folders = (package.parents[1] / "recipes", package / "recipes", Path("recipes"))
    paths = {path.stem: path for folder in folders for path in folder.glob("*.toml")}
    return {name: paths[name] for name in sorted(paths)}


def read_recipe(name: str, *, preset: str | None = None, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply its preset and then `settings` ("attacks.steps=20"), check every setting, resolve."""
    path = find_recipe(name)
    try:
        raw = _raw(path)
        presets = raw.pop("presets", {})
        check_table(f"{path}: [presets]", presets)
        if preset is not None and not presets:
            raise ValueError(f"{path.name} has no presets; got {preset!r}.")
        if preset is not None and preset not in presets:
            raise unknown(f"preset of {path.name}", preset, presets)
        with errors_of(path.name):
            changes = presets.get(preset, {})
            check_table("preset", changes)
            merge(raw, changes, path.name)
            for setting in settings:
                merge(raw, _parse_setting(setting), f"--set {setting}")
            config = resolve(raw)
        return Recipe(path.stem, preset, config)
    except RecursionError as error:
        raise ValueError(f"{path.name}: its tables or lists are nested too deeply.") from error


def parse(path: Path) -> dict[str, Any]:
    """The content of a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # a BOM is no content
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML in UTF-8: {error}.") from error


def _raw(path: Path, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """The content of a recipe, written over that of the recipe which it is `like`."""
    content = parse(path)
    with errors_of(path.name):
        raw: dict[str, Any] = fractions(content)
    if "like" not in raw:
        return raw
    if not isinstance(raw["like"], str):
        raise ValueError(f"{path.name}: like must name another recipe; got {raw['like']!r}.")
    if path.stem in above:
        raise ValueError(f"{path.name}: like goes in a circle: {' → '.join((*above, path.stem))}.")
    name = raw.pop("like")
    beside = [path.parent / name, path.parent / f"{name}.toml"]
    base = _raw(next((file for file in beside if file.is_file()), None) or find_recipe(name), (*above, path.stem))
    base.pop("paper", None)  # published values are those of one table or figure
    merge(base, raw, path.name, revive=True)
    return base


def _parse_setting(setting: str) -> dict[str, Any]:
    """ "a.b=1" as {"a": {"b": 1}}; what is no TOML value is a word."""
    path, equals, text = setting.partition("=")
    if not equals or not path:
        raise ValueError(f"--set needs section.word=value, such as attacks.steps=20; got {setting!r}.")
    for value in (text, json.dumps(text.strip(), ensure_ascii=False)):  # a value of TOML, or else a word
        try:
            return dict(fractions(tomllib.loads(f"{path} = {value}")))
        except tomllib.TOMLDecodeError:
            continue
    raise ValueError(f"--set {setting}: {path.strip()!r} is no path of words, such as attacks.steps.")
