"""The JSON Schema of a recipe, made of the same signatures that recipes are checked against: for editors of TOML."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, TypeAdapter

from unshaken.analysis import ANALYSES
from unshaken.attacks import ATTACKS
from unshaken.models import MADE_OF, MODELS
from unshaken.networks import NETWORKS
from unshaken.runs.merge import FRACTION
from unshaken.runs.parts import Argument, Table, describe, settable
from unshaken.runs.published import PUBLISHED_SECTIONS
from unshaken.runs.settings import CurvesConfig, DataConfig, EvaluationConfig, TransferConfig, UnlabelledConfig
from unshaken.training import train

Schema = dict[str, Any]

OUTSIDE = {"type": "string", "pattern": r"^[\w.]+:\w+$", "description": "package.module:function"}


def schema() -> Schema:
    """What a recipe file may hold.

    Nothing is required: a recipe may begin with another one (`like`), and a preset holds what it changes alone.
    """
    definitions = _Definitions()
    sections = {name: definitions.section(name, section) for name, section in _sections(definitions).items()}
    presets = {
        "type": "object",
        "description": "Settings that replace those above, by name: smoke, laptop, paper, ...",
        "additionalProperties": {"type": "object", "properties": sections, "additionalProperties": False},
    }
    like = {"type": "string", "description": "The name of the recipe that this one begins with."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of Unshaken",
        "type": "object",
        "properties": {"like": like, **sections, "presets": presets},
        "additionalProperties": False,
        "$defs": definitions.schemas,
    }


def _sections(definitions: _Definitions) -> dict[str, Schema]:
    """The sections of a recipe, which are those of a preset too."""
    network = definitions.part("network", NETWORKS)
    attacks = _entries(definitions, "attack", ATTACKS)
    curves = _section(definitions, CurvesConfig)
    curves["properties"]["attacks"] = attacks
    data = _section(definitions, DataConfig)
    data["properties"]["unlabelled"] = _section(definitions, UnlabelledConfig)
    sweep = {
        "type": "object",
        "description": "Models at every combination of values: of a setting a list of values, or a table by name.",
        "additionalProperties": {"type": ["array", "object"]},
    }
    return {
        "title": {"type": "string", "description": "What the recipe shows, as the title of its page."},
        "about": {"type": "string", "description": "What is compared, and where it was published."},
        "seed": {
            "anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}, "minItems": 1}],
            "default": 0,
            "description": "One seed, or several: then every model is trained once with each.",
        },
        "data": data,
        "network": {
            "anyOf": [network, {"type": "array", "items": network}],
            "description": "The network, or one each.",
        },
        "model": definitions.part("model", MODELS | MADE_OF),
        "training": _section(definitions, train),
        "attacks": attacks,
        "analyses": _entries(definitions, "analysis", ANALYSES),
        "transfer": _section(definitions, TransferConfig),
        "evaluation": _section(definitions, EvaluationConfig),
        "curves": curves,
        "sweep": sweep,
        "paper": _paper(definitions),
    }


def _entries(definitions: _Definitions, name: str, table: Table) -> Schema:
    """A list of parts, each perhaps with a sweep of its settings; or a table of settings for all that have them."""
    swept = {"type": "object", "additionalProperties": {"type": "array"}, "description": "Lists of values: a grid."}
    changes = {
        "type": "object",
        "description": "Settings of every entry that has them.",
        "properties": definitions.union(table) | {"sweep": swept},
        "additionalProperties": False,
    }
    return {"anyOf": [{"type": "array", "items": definitions.part(name, table)}, changes]}


def _section(definitions: _Definitions, function: Callable[..., Any]) -> Schema:
    """A table of settings: the fields of a dataclass, or the arguments of a function."""
    return {
        "type": "object",
        "description": _first_sentence(function),
        "properties": definitions.properties(function, None),
        "additionalProperties": False,
    }


def _paper(definitions: _Definitions) -> Schema:
    """[paper] with its tables."""
    whole, nested = PUBLISHED_SECTIONS
    section = _section(definitions, whole)
    for name, (kind, is_list) in nested.items():
        entry = _section(definitions, kind)
        section["properties"][name] = (
            {"type": "array", "items": entry} if is_list else {"type": "object", "additionalProperties": entry}
        )
    return section


class _Definitions:
    """The schemas of tables of parts, each once."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def section(self, name: str, schema: Schema) -> Schema:
        """A reference to the schema of a section, which presets may override."""
        self.schemas[f"section-{name}"] = schema
        return {"$ref": f"#/$defs/section-{name}"}

    def part(self, name: str, table: Table) -> Schema:
        """A reference to the schema of `{ kind = "...", ... }`; without a kind, settings that change another part."""
        if name not in self.schemas:
            self.schemas[name] = {}  # a part may hold parts of its own table
            kinds = [self._kind(kind, function, table, name) for kind, function in table.items()]
            changes = {
                "type": "object",
                "not": {"required": ["kind"]},
                "properties": self.union(table) | _sweep(name),
                "additionalProperties": False,
            }
            outside = {"type": "object", "properties": {"kind": OUTSIDE}, "required": ["kind"]}
            self.schemas[name] = {"anyOf": [*kinds, changes, outside]}
        return {"$ref": f"#/$defs/{name}"}

    def _kind(self, kind: str, function: Callable[..., Any], table: Table, name: str) -> Schema:
        sizes = {"eps": _SIZES} if table is ATTACKS else {}
        return {
            "type": "object",
            "description": _first_sentence(function),
            "properties": {"kind": {"const": kind}} | self.properties(function, table) | sizes | _sweep(name),
            "required": ["kind"],
            "additionalProperties": False,
        }

    def properties(self, function: Callable[..., Any], table: Table | None) -> dict[str, Schema]:
        """Every argument of a function that a recipe may set."""
        lines = _argument_lines(function)
        return {name: self._argument(argument, lines.get(name)) for name, argument in settable(function, table).items()}

    def union(self, table: Table) -> dict[str, Schema]:
        """Every argument of any function of a table."""
        every = [self.properties(function, table) for function in table.values()]
        distinct: dict[str, list[Schema]] = {}
        for name, value in (entry for properties in every for entry in properties.items()):
            if value not in distinct.setdefault(name, []):
                distinct[name].append(value)
        merged = {name: values[0] if len(values) == 1 else {"anyOf": values} for name, values in distinct.items()}
        return merged | ({"eps": _SIZES} if table is ATTACKS else {})

    def _argument(self, argument: Argument, line: str | None) -> Schema:
        if argument.table is not None:
            value = self.part(argument.name, argument.table)
        else:
            value = _with_fractions(TypeAdapter(argument.plain).json_schema())
        default = {} if argument.required else {"default": _plain(argument.filled())}
        return self._shared(argument.name, value | {"description": line or describe(argument.plain)} | default)

    def _shared(self, name: str, value: Schema) -> Schema:
        """A reference to the schema of an argument, which several functions have alike."""
        for number in itertools.count(1):
            key = f"{name}-{number}"
            if self.schemas.setdefault(key, value) == value:
                return {"$ref": f"#/$defs/{key}"}
        raise AssertionError("counting never ends")


def _sweep(name: str) -> dict[str, Schema]:
    """The grid of an entry of [[attacks]] or [[analyses]]."""
    if name not in ("attack", "analysis"):
        return {}
    return {"sweep": {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}}}


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value


def _with_fractions(value: Any) -> Any:
    """The schema with "8/255" allowed wherever a number is."""
    if isinstance(value, list):
        return [_with_fractions(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "number":
        return {"anyOf": [value, {"type": "string", "pattern": f"^{FRACTION}$"}]}
    return {name: _with_fractions(item) for name, item in value.items()}


_SIZES = {
    "type": "array",
    "items": _with_fractions({"type": "number", "minimum": 0}),
    "minItems": 1,
    "description": "Perturbation budgets, instead of those of [evaluation].",
}


def _first_sentence(function: Callable[..., Any]) -> str:
    function = getattr(function, "func", function) if not function.__doc__ else function
    return inspect.cleandoc(function.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _argument_lines(function: Callable[..., Any]) -> dict[str, str]:
    """The sentences of the docstring about each argument, joined to one line."""
    text = inspect.cleandoc(getattr(function, "func", function).__doc__ or "")
    section = re.search(r"^Args:\n((?:[ ].*\n?|\n)*)", text, flags=re.MULTILINE)
    lines: dict[str, str] = {}
    for entry in re.split(r"\n {4}(?! )", "\n" + section.group(1)) if section else ():
        names, colon, sentences = entry.partition(":")
        for name in names.split(",") if colon else ():
            lines[name.strip()] = " ".join(sentences.split())
    return lines
