"""Tables of settings written over one another, which is what presets, sweeps and the command line do to a recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from unshaken.analysis import ANALYSES
from unshaken.attacks import ATTACKS
from unshaken.errors import lookup, unknown
from unshaken.networks import NETWORKS
from unshaken.runs.parts import Table, settable

LISTED: dict[str, Mapping[str, Any]] = {"attacks": ATTACKS, "analyses": ANALYSES, "network": NETWORKS}
"""Sections that may be lists of parts."""

FRACTION = r"\d+(\.\d+)?/\d+(\.\d+)?"


def merge(table: Table, changes: Table, where: str, *, revive: bool = False) -> None:
    """Write `changes` into `table`, level by level; a part of another kind replaces the old one whole.

    What was taken back (an empty list) stays so when a table of settings comes, unless these `revive` it.
    """
    for word, value in changes.items():
        old = table.get(word)
        if old == [] and isinstance(value, dict):
            if revive:
                table[word] = deepcopy(value)
        elif isinstance(old, list) and isinstance(value, dict):
            merge_each(old, value, f"{where}: {word}", LISTED.get(word, ATTACKS))
        elif (
            isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) == old.get("kind")
        ):
            merge(old, value, where, revive=revive)
        else:
            table[word] = deepcopy(value)


def merge_each(entries: list[Table], changes: Table, where: str, table: Mapping[str, Any]) -> None:
    """Write `changes` into every part of a list that knows the word, as a value or as a sweep; one at least must."""
    swept = changes.get("sweep", {})
    check_table(f"{where}: sweep", swept)
    for word, value in {**{word: value for word, value in changes.items() if word != "sweep"}, **swept}.items():
        knowing = [entry for entry in entries if word in _words(entry, table)]
        if not knowing:
            raise ValueError(f"{where}: {unknown('setting', word, {w for e in entries for w in _words(e, table)})}")
        for entry in knowing:
            check_table(f"{where}: sweep", entry.get("sweep", {}))
            entry.get("sweep", {}).pop(word, None)
            entry.pop(word, None)
            (entry.setdefault("sweep", {}) if word in swept else entry)[word] = deepcopy(value)


def _words(entry: Table, table: Mapping[str, Any]) -> set[str]:
    return set(settable(lookup("kind", entry.get("kind", ""), table)))


def check_table(where: str, given: Any) -> None:
    """A table of settings, not a value or a list."""
    if not isinstance(given, dict):
        raise ValueError(f"{where}: expected a table of settings, got {given!r}.")


def nested(path: str, value: Any) -> Table:
    for word in reversed(path.split(".")):
        value = {word: value}
    nested: Table = value
    return nested


def fractions(value: Any) -> Any:
    """The same value with every "a/b" of two numbers divided out."""
    if isinstance(value, dict):
        return {word: fractions(inner) for word, inner in value.items()}
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
