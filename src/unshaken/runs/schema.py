"""The JSON Schema of a recipe, made of the same signatures that recipes are checked against: for editors of TOML."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter

from unshaken.analysis import ANALYSES
from unshaken.attacks import ATTACKS
from unshaken.models import MADE_OF, MODELS
from unshaken.networks import NETWORKS
from unshaken.runs.catalogue import first_line
from unshaken.runs.merge import FRACTION
from unshaken.runs.parts import Argument, Table, describe, settable
from unshaken.runs.published import PaperSection, PublishedAccuracy, PublishedFlatness
from unshaken.runs.settings import CurvesConfig, DataConfig, EvaluationConfig, TransferConfig, UnlabelledConfig
from unshaken.training import train

Schema = dict[str, Any]

OUTSIDE = {"type": "string", "pattern": r"^[\w.]+:\w+$", "description": "package.module:function"}


def schema() -> Schema:
    """What a recipe file may hold.

    Nothing is required: a recipe may begin with another one (`like`), and a preset holds what it changes alone.
    """
    definitions = _Definitions()
    whole = _sections(definitions)
    definitions.schemas |= {f"section-{name}": section for name, section in whole.items()}
    sections = {name: {"$ref": f"#/$defs/section-{name}"} for name in whole}  # also those of every preset
    presets = {
        "type": "object",
        "description": "Settings that replace those above, by name: smoke, laptop, paper, ...",
        "additionalProperties": _table(sections),
    }
    like = {"type": "string", "description": "The name of the recipe that this one begins with."}
    heading = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A recipe of Unshaken"}
    return heading | _table({"like": like, **sections, "presets": presets}) | {"$defs": definitions.schemas}


def _table(properties: dict[str, Schema], **more: Any) -> Schema:
    """A table with these settings and no other; a kind it must have."""
    required = {"required": ["kind"]} if "kind" in properties else {}
    return {"type": "object", **more, "properties": properties, **required, "additionalProperties": False}


def _sections(definitions: _Definitions) -> dict[str, Schema]:
    """The sections of a recipe, which are those of a preset too."""
    network = definitions.part("network", NETWORKS)
    attacks = _entries(definitions, "attack", ATTACKS)
    sweep = {
        "type": "object",
        "description": "Models at every combination of values: of a setting a list of values, or a table by name.",
        "additionalProperties": {"type": ["array", "object"]},
    }
    curves, data = definitions.table(CurvesConfig), definitions.table(DataConfig)
    curves["properties"]["attacks"] = attacks
    data["properties"]["unlabelled"] = definitions.table(UnlabelledConfig)
    sections: dict[str, Schema] = {
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
        "training": definitions.table(train),
        "attacks": attacks,
        "analyses": _entries(definitions, "analysis", ANALYSES),
        "transfer": definitions.table(TransferConfig),
        "evaluation": definitions.table(EvaluationConfig),
        "curves": curves,
        "sweep": sweep,
        "paper": definitions.table(PaperSection),
    }
    published = sections["paper"]["properties"]
    published["accuracy"] = {"type": "array", "items": definitions.table(PublishedAccuracy)}
    published["flatness"] = {"type": "object", "additionalProperties": definitions.table(PublishedFlatness)}
    return sections


def _entries(definitions: _Definitions, name: str, table: Table) -> Schema:
    """A list of parts, each perhaps with a sweep of its settings; or a table of settings for all that have them."""
    swept = {"type": "object", "additionalProperties": {"type": "array"}, "description": "Lists of values: a grid."}
    changes = _table(definitions.union(table) | {"sweep": swept}, description="Settings of every entry that has them.")
    return {"anyOf": [{"type": "array", "items": definitions.part(name, table)}, changes]}


class _Definitions:
    """The schemas of tables of parts, each once."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def table(self, function: Callable[..., Any]) -> Schema:
        """A table of settings: the fields of a dataclass, or the arguments of a function."""
        return _table(self.properties(function, None), description=first_line(function))

    def part(self, name: str, table: Table) -> Schema:
        """A reference to the schema of `{ kind = "...", ... }`; without a kind, settings that change another part."""
        if name not in self.schemas:
            self.schemas[name] = {}  # a part may hold parts of its own table
            sizes = {"eps": _SIZES} if table is ATTACKS else {}
            swept = {"type": "object", "additionalProperties": {"type": "array", "minItems": 1}}
            more = sizes | ({"sweep": swept} if name in ("attack", "analysis") else {})
            kinds = []
            for kind, function in table.items():
                properties = {"kind": {"const": kind}} | self.properties(function, table) | more
                kinds.append(_table(properties, description=first_line(function)))
            changes = _table(self.union(table) | more, **{"not": {"required": ["kind"]}})
            outside = {"type": "object", "properties": {"kind": OUTSIDE}, "required": ["kind"]}
            self.schemas[name] = {"anyOf": [*kinds, changes, outside]}
        return {"$ref": f"#/$defs/{name}"}

    def properties(self, function: Callable[..., Any], table: Table | None) -> dict[str, Schema]:
        """Every argument of a function that a recipe may set."""
        lines = _argument_lines(function)
        return {name: self._argument(argument, lines.get(name)) for name, argument in settable(function, table).items()}

    def union(self, table: Table) -> dict[str, Schema]:
        """Every argument of any function of a table."""
        distinct: dict[str, list[Schema]] = {}
        for function in table.values():
            for name, value in self.properties(function, table).items():
                if value not in distinct.setdefault(name, []):
                    distinct[name].append(value)
        merged = {name: values[0] if len(values) == 1 else {"anyOf": values} for name, values in distinct.items()}
        return merged | ({"eps": _SIZES} if table is ATTACKS else {})

    def _argument(self, argument: Argument, line: str | None) -> Schema:
        if argument.table is not None:
            value = self.part(argument.name, argument.table)
        else:
            value = _with_fractions(TypeAdapter(argument.plain).json_schema())
        default = {} if argument.required else {"default": TypeAdapter(Any).dump_python(argument.filled())}
        value = value | {"description": line or describe(argument.plain)} | default
        keys = (f"{argument.name}-{number}" for number in itertools.count(1))  # shared by functions that have it alike
        key = next(key for key in keys if self.schemas.setdefault(key, value) == value)
        return {"$ref": f"#/$defs/{key}"}


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
