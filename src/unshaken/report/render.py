"""Templates of pages: their style, signs and spaces as they are printed, and which cells of a table are text."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from unshaken.report.section import split_number, textual

WIDE = 32
"""A cell of text with more characters than this wraps."""


def render(template: str, **content: Any) -> str:
    """A template of this folder, with the style that all pages share."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(typeset=typeset, split_number=split_number, classed=classed)
    folder = files("unshaken.report")
    text, style = (folder.joinpath(name).read_text(encoding="utf-8") for name in (template, "page.css"))
    return environment.from_string(text).render(style=style, **content)


def typeset(sentence: str) -> str:
    """Real minus signs, and no line break inside "eps 0.1", "95 %" or an interval."""
    sentence = re.sub(r"(?:^|(?<=[\s\[(]))-(?=\d)", "−", sentence)
    return re.sub(r"(?<=\beps) (?=\d)|(?<=\d) (?=%)|(?<=\d,) (?=[-−+]?[\d.]+\])", "\u00a0", sentence)


def classed(line: list[str], head: list[str], body: list[list[str]]) -> list[tuple[str, str]]:
    """(class, cell) for each cell of a line: "text" stands to the left, and "long text" wraps."""
    return [
        (f"{'long ' * (len(cell) > WIDE)}text" if text else "", cell)
        for text, cell in zip(textual(head, body), line, strict=True)
    ]
