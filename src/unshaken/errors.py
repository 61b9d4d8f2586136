"""What a user reads when a name, a file or a tensor is not what was expected: one sentence, before any work."""

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from numbers import Real
from typing import TypeVar

Entry = TypeVar("Entry")


def nearest(name: object, choices: Iterable[str]) -> str:
    """The end of an error sentence: the nearest valid choice, or all of them when none is near."""
    choices = sorted(choices)
    if not choices:
        return "there is none here."
    close = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"choose one of: {', '.join(choices)}."


def unknown(kind: str, name: object, choices: Iterable[str]) -> ValueError:
    """`ValueError` for a name that is none of `choices`: what it should name, what it was, the nearest choice."""
    return ValueError(f"unknown {kind} {name!r}: {nearest(name, choices)}")


def lookup(kind: str, key: str | Entry, table: Mapping[str, Entry]) -> Entry:
    """The entry of `table` at `key`, or "package.module:function" outside the package; an entry is itself.

    Raises `ValueError` with the nearest choice for an unknown key.
    """
    if isinstance(key, Real) or key is None:
        raise unknown(kind, key, table)
    if not isinstance(key, str):
        return key
    if ":" in key:
        module, _, name = key.partition(":")
        try:
            entry: Entry = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"cannot import {kind} {key!r}: {error}.") from error
        if not callable(entry):
            raise ValueError(f"{kind} {key!r} names no function.")
        return entry
    if key not in table:
        raise unknown(kind, key, table)
    return table[key]
