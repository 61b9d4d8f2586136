"""Recipes: a table or figure as a TOML file, read strictly and resolved before any work starts.

`like = "OTHER"` begins with another recipe, `[presets.NAME]` overrides settings of the same one. Lists under `sweep`
make a grid, of attacks in `[[attacks]]` and of models in `[sweep]`, where an empty list takes back a sweep, or a value
of one. Fractions such as "8/255" are numbers.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unshaken.errors import nearest, unknown
from unshaken.runs.merge import fractions, merge
from unshaken.runs.parts import Table
from unshaken.runs.resolve import resolve


@dataclass(frozen=True)
class Recipe:
    """A resolved recipe: `config` has every setting, also the defaults, and no preset or sweep any more."""

    name: str
    preset: str | None
    config: Table


def find_recipe(name: str) -> Path:
    """The file of a recipe given by path or by name: in ./recipes, or among those that come with the package."""
    known = {path.stem: path for folder in reversed(recipe_folders()) for path in sorted(folder.glob("*.toml"))}
    if Path(name).is_file():
        return Path(name)
    if name not in known:
        raise FileNotFoundError(f"no recipe {name!r}: {nearest(Path(name).stem, known)}")
    return known[name]


def recipe_folders() -> list[Path]:
    """Where recipes lie: ./recipes first, then the package's own (inside it, or beside its sources)."""
    package = Path(__file__).resolve().parents[1]
    folders = (Path("recipes"), package / "recipes", package.parents[1] / "recipes")
    return [folder for folder in folders if folder.is_dir()]


def read_recipe(name: str, *, preset: str | None = None, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply its preset and then `settings` ("attacks.steps=20"), check every word, resolve."""
    path = find_recipe(name)
    raw = _raw(path)
    presets, paper = raw.pop("presets", {}), raw.pop("paper", {})
    if not isinstance(presets, dict) or not isinstance(paper, dict):
        raise ValueError(f"{path}: [presets] and [paper] must be tables.")
    if preset is not None and not presets:
        raise ValueError(f"{path.name} has no presets; got {preset!r}.")
    if preset is not None and preset not in presets:
        raise unknown(f"preset of {path.name}", preset, presets)
    try:
        merge(raw, presets[preset] if preset else {}, path.name)
        for setting in settings:
            merge(raw, _parse_setting(setting), f"--set {setting}")
        return Recipe(path.stem, preset, {**resolve(raw), "paper": paper})
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _raw(path: Path, above: tuple[str, ...] = ()) -> Table:
    """What a recipe says, written over what the recipe says that it is `like`."""
    try:
        raw: Table = fractions(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML in UTF-8: {error}.") from error
    if "like" not in raw:
        return raw
    if not isinstance(raw["like"], str):
        raise ValueError(f"{path.name}: like must name another recipe; got {raw['like']!r}.")
    if path.stem in above:
        raise ValueError(f"{path.name}: like goes in a circle: {' → '.join((*above, path.stem))}.")
    name = raw.pop("like")
    beside = [path.parent / name, path.parent / f"{name}.toml"]
    found = next((file for file in beside if file.is_file()), None) or find_recipe(name)
    base = _raw(found, (*above, path.stem))
    base.pop("paper", None)  # what was published is of one table or figure
    merge(base, raw, path.name, revive=True)
    return base


def _parse_setting(setting: str) -> Table:
    """ "a.b=1" as {"a": {"b": 1}}; what is no TOML value is a word."""
    path, equals, text = setting.partition("=")
    if not equals or not path:
        raise ValueError(f"--set needs section.word=value, such as attacks.steps=20; got {setting!r}.")
    for known in (text, json.dumps(text.strip(), ensure_ascii=False)):  # a value of TOML, or else a word
        try:
            return dict(fractions(tomllib.loads(f"{path} = {known}")))
        except tomllib.TOMLDecodeError:
            continue
    raise ValueError(f"--set {setting}: {path.strip()!r} is no path of words, such as attacks.steps.")
