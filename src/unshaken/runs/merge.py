"""Tables of settings written over one another, which is what presets, sweeps and the command line do to a recipe."""

import re
from copy import deepcopy
from typing import Any

from unshaken.analysis import ANALYSES
from unshaken.attacks import ATTACKS
from unshaken.errors import unknown
from unshaken.networks import NETWORKS
from unshaken.runs.parts import Table, check_table, function_of, settable

# sections that may be lists of parts
LISTED: dict[str, Table] = {"attacks": ATTACKS, "analyses": ANALYSES, "network": NETWORKS}

FRACTION = r"\d+(\.\d+)?/\d+(\.\d+)?"


def merge(settings: dict[str, Any], changes: dict[str, Any], section: str, *, revive: bool = False) -> None:
    """Write `changes` into `settings`, level by level; a part of another kind replaces the old one whole.

    What an empty list has removed stays so when a table of settings comes, unless these `revive` it.
    """
    for name, value in changes.items():
        old = settings.get(name)
        if old == [] and isinstance(value, dict):
            if revive:
                settings[name] = deepcopy(value)
        elif isinstance(old, list) and isinstance(value, dict) and name in LISTED:
            merge_each(old, value, f"{section}: {name}", LISTED[name])
        elif (
            isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) == old.get("kind")
        ):
            merge(old, value, section, revive=revive)
        else:
            settings[name] = deepcopy(value)


def merge_each(entries: list[Any], changes: dict[str, Any], section: str, table: Table) -> None:
    """Write `changes` into every part of a list that has the setting, as a value or as a sweep; one at least must."""
    swept = changes.get("sweep", {})
    check_table(f"{section}: sweep", swept)
    for entry in entries:
        check_table(section, entry)
    for name, value in {**{name: value for name, value in changes.items() if name != "sweep"}, **swept}.items():
        having = [entry for entry in entries if name in _settings(entry, table)]
        if not having:
            every = {setting for entry in entries for setting in _settings(entry, table)}
            raise ValueError(f"{section}: {unknown('setting', name, every)}")
        for entry in having:
            check_table(f"{section}: sweep", entry.get("sweep", {}))
            entry.get("sweep", {}).pop(name, None)
            entry.pop(name, None)
            (entry.setdefault("sweep", {}) if name in swept else entry)[name] = deepcopy(value)


def _settings(entry: dict[str, Any], table: Table) -> set[str]:
    """What may be set of an entry of a list; of an attack also its sizes."""
    return {*settable(function_of(table, entry.get("kind", "")), table), *(["eps"] if table is ATTACKS else [])}


def nested(path: str, value: Any) -> dict[str, Any]:
    """{"a": {"b": value}} for the path "a.b"."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


def fractions(value: Any) -> Any:
    """The same value with every "a/b" of two numbers divided out."""
    if isinstance(value, dict):
        return {name: fractions(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [fractions(inner) for inner in value]
    return number(value) if isinstance(value, str) and re.fullmatch(FRACTION, value) else value


def number(text: str) -> float:
    """0.25 for "0.25" and for "1/4"."""
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except ValueError as error:
        raise ValueError(f"{text!r} is no number and no fraction of two.") from error
    except ZeroDivisionError as error:
        raise ValueError(f"the fraction {text!r} divides by zero.") from error
