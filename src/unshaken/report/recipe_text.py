"""How a run was made, in lines of text: data, the entries of its recipe, versions, machine."""

from __future__ import annotations

from typing import Any

from unshaken.runs.record import DataRecord, RunRecord
from unshaken.runs.settings import as_json

ELSEWHERE = ("title", "about", "name", "seed", "paper", "presets")
"""Entries of a recipe that the page shows elsewhere."""


def recipe_lines(record: RunRecord) -> list[tuple[str, list[str]]]:
    """(entry, its lines) for everything that a run depends on."""
    entries = {key: value for key, value in as_json(record.recipe).items() if key not in ELSEWHERE and value}
    machine = record.machine
    hardware = [machine.device, machine.cpu, machine.platform, f"{machine.cores} cores"] if machine else []
    lines = [
        ("data set", [_data(record.data)]),
        *((key, _lines(_flat(value))) for key, value in entries.items()),
        ("preset", [record.preset or ""]),
        ("seed", [str(record.recipe.seed)]),
        ("versions", [", ".join(f"{name} {version}" for name, version in record.versions.items())]),
        ("machine", [", ".join(hardware)]),
        ("run", [f"{record.name}-{record.hash}"]),
    ]
    return [(entry, texts) for entry, texts in lines if any(texts)]


def _data(data: DataRecord) -> str:
    uses = {"train": "to train on", "test": "to attack"}
    splits = [f"{data.images[split]:,} images {use}" for split, use in uses.items() if split in data.images]
    return ", ".join([f"{data.name}, {data.classes} classes", *splits])


def _flat(value: Any) -> Any:
    """Entries of a list with the settings of their part in front: {label, kind, ...}."""
    if not isinstance(value, list):
        return value
    return [{**entry.get("settings", {}), **{k: v for k, v in entry.items() if k != "settings"}} for entry in value]


def _lines(value: Any) -> list[str]:
    """An entry of a recipe, a line for each table of a list of tables; what these have in common is said once."""
    if not (isinstance(value, list) and len(value) > 1 and all(isinstance(table, dict) for table in value)):
        return [one_line(value)]
    first, *others = value
    common = {key: setting for key, setting in first.items() if all(key in o and o[key] == setting for o in others)}
    common.pop("kind", None)
    lines = [one_line({key: setting for key, setting in table.items() if key not in common}) for table in value]
    return [*lines, f"all: {one_line(common)}"] if common else lines


def one_line(value: Any) -> str:
    """An entry of a recipe in one line: {kind = "mlp", widths = [32]} is "mlp (widths 32)"."""
    if isinstance(value, dict):
        name = ": ".join(str(value[key]) for key in ("label", "kind") if value.get(key))
        settings = {key: item for key, item in value.items() if key not in ("label", "kind") and item is not None}
        rest = ", ".join(f"{key.replace('_', ' ')} {one_line(item)}" for key, item in settings.items())
        return f"{name} ({rest})" if name and rest else name or rest
    if isinstance(value, list):
        return ("; " if any(isinstance(item, dict) for item in value) else ", ").join(map(one_line, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
