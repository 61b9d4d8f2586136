"""What a user reads when a word, a file or a tensor is not what was expected: one sentence, before any work."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TypeVar

Part = TypeVar("Part")


def nearest(word: object, choices: Iterable[str]) -> str:
    """The end of an error sentence: the nearest valid choice, or all of them when none is near."""
    choices = sorted(choices)
    if not choices:
        return "there is none here."
    close = difflib.get_close_matches(str(word), choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"choose one of: {', '.join(choices)}."


def unknown(what: str, word: object, choices: Iterable[str]) -> ValueError:
    """`ValueError` for a word that is not in the vocabulary: what it should name, what came, the nearest choice."""
    return ValueError(f"unknown {what} {word!r}: {nearest(word, choices)}")


def lookup(what: str, word: str | Part, table: Mapping[str, Part]) -> Part:
    """The entry of `table` that `word` names, or "package.module:function" outside the package; a part is itself.

    Raises `ValueError` with the nearest choice for an unknown word.
    """
    if isinstance(word, int | float) or word is None:
        raise unknown(what, word, table)
    if not isinstance(word, str):
        return word
    if ":" in word:
        home, _, name = word.partition(":")
        try:
            part: Part = getattr(import_module(home), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"cannot import {what} {word!r}: {error}.") from error
        if not callable(part):
            raise ValueError(f"{what} {word!r} names no function.")
        return part
    if word not in table:
        raise unknown(what, word, table)
    return table[word]
