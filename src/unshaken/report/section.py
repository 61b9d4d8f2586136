"""One idea of a report: its sentences, figures and tables, in one form for files, page and terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from unshaken.report.stored_run import write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

SIGNS = {"±": r"$\pm$", "÷": r"$\div$", "ε": r"$\varepsilon$", "∞": r"$\infty$", "−": "$-$"}
"""Characters that LaTeX wants in its own way."""


class Drawing(NamedTuple):
    """A figure: `make(narrow)` draws it, `alt_text` says what is in it to those who cannot see it."""

    name: str
    make: Callable[[bool], Figure]
    alt_text: str
    caption: str


class Table(NamedTuple):
    """A table: `data` is its .csv; `head` and `body` are its text on the page, in .md and in .tex."""

    name: str
    data: DataFrame
    head: list[str]
    body: list[list[str]]
    title: str = ""
    note: str = ""


class Section(NamedTuple):
    """What the report says of one idea. `sentences` stand in the verdict.

    `position` is where it stands on the page: "first", among the "figures", or after the "tables" of accuracy.
    """

    name: str
    title: str
    sentences: list[str]
    drawings: list[Drawing]
    tables: list[Table]
    position: str = "figures"


def write_table(folder: Path, table: Table) -> None:
    """<name>.csv, .md and .tex."""
    write(folder / f"{table.name}.csv", table.data.to_csv(index=False))
    write(folder / f"{table.name}.md", markdown(table.head, table.body))
    write(folder / f"{table.name}.tex", latex(table.head, table.body))


def markdown(head: list[str], body: Iterable[list[str]]) -> str:
    """A table of Markdown, its columns of text to the left."""
    body = list(body)
    lines = [head, ["---" if text else "---:" for text in textual(head, body)], *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def latex(head: list[str], body: Iterable[list[str]], *, title: str = "") -> str:
    r"""One tabular of booktabs; what follows a first number, its spread and interval, in small type."""
    body = list(body)
    lines = [
        *([f"% {title}"] if title else []),
        rf"\begin{{tabular}}{{{''.join('l' if text else 'r' for text in textual(head, body))}}}",
        r"\toprule",
        " & ".join(map(_latex, head)) + r" \\",
        r"\midrule",
        *(" & ".join(map(_latex_cell, line)) + r" \\" for line in body),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def textual(head: list[str], body: list[list[str]]) -> list[bool]:
    """Whether each column is text: the first, and every other in which no cell begins with a number."""
    columns = [[line[index] for line in body if line[index]] for index in range(len(head))]
    return [
        index == 0 or (bool(cells) and not any(re.match(r"[-−+]?\d", cell) for cell in cells))
        for index, cells in enumerate(columns)
    ]


def split_number(cell: str) -> list[str]:
    """ "0.417 ± 0.012 [0.380, 0.454]" as number, spread and interval."""
    number, opened, interval = cell.partition(" [")
    value, plus, spread = number.partition(" ± ")
    return [value, *([f"± {spread}"] if plus else []), *([f"[{interval}"] if opened else [])]


def _latex_cell(cell: str) -> str:
    value, *small = map(_latex, split_number(cell))
    return rf"{value} {{\footnotesize {' '.join(small)}}}" if small else value


def _latex(text: str) -> str:
    escaped = "".join(f"\\{c}" if c in "_%&#$" else c for c in text)
    for sign, command in SIGNS.items():
        escaped = escaped.replace(sign, command)
    return re.sub(r"(?<![\w$])-(?=\d)", "$-$", escaped)
