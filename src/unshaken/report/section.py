"""One idea of a report: its sentences, figures and tables, and how they are set in Markdown, LaTeX and HTML."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.report import wording
from unshaken.report.stored_run import write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

SIGNS = {"±": r"$\pm$", "÷": r"$\div$", "ε": r"$\varepsilon$", "∞": r"$\infty$", "−": "$-$"}
LATEX = str.maketrans(SIGNS | {sign: f"\\{sign}" for sign in "_%&#$"})  # characters that LaTeX wants in its own way

WIDE = 32  # a cell of text with more characters than this wraps on the page


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


class Wording:
    """The texts of a section: each macro of sections/<name>.jinja is a method that returns one line of plain text.

    The functions of `wording` are filters in it. A name that no macro has, or a value that is missing, is an error.
    """

    def __init__(self, name: str) -> None:
        self._macros = _macros(name)

    def __getattr__(self, macro: str) -> Callable[..., str]:
        text = getattr(self._macros, macro)
        return lambda *values, **named: re.sub(r"[ \n]+", " ", text(*values, **named)).strip()

    def drawing(self, name: str, make: Callable[[bool], Figure], *values: Any) -> Drawing:
        """A figure with the macros `alt_text` and `caption` as its texts; the values are those of the caption."""
        return Drawing(name, make, self.alt_text(), self.caption(*values))


@cache
def _macros(name: str) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("unshaken.report", "sections"), undefined=StrictUndefined)
    environment.filters.update({key: value for key, value in vars(wording).items() if callable(value)})
    return environment.get_template(f"{name}.jinja").module


def write_table(folder: Path, table: Table) -> None:
    """<name>.csv, .md and .tex."""
    write(folder / f"{table.name}.csv", table.data.to_csv(index=False))
    write(folder / f"{table.name}.md", markdown(table.head, table.body))
    write(folder / f"{table.name}.tex", latex(table.head, table.body))


def markdown(head: list[str], body: list[list[str]]) -> str:
    """A table of Markdown, its columns of text to the left."""
    lines = [head, ["---" if text else "---:" for text in textual(head, body)], *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def latex(head: list[str], body: list[list[str]], *, title: str = "") -> str:
    r"""One tabular of booktabs; what follows a first number, its spread and interval, in small type."""
    columns = "".join("l" if text else "r" for text in textual(head, body))
    rows = [" & ".join(map(_latex_cell, line)) + r" \\" for line in body]
    above = [f"% {title}"] * bool(title) + [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    header = " & ".join(map(_latex, head)) + r" \\"
    return "\n".join([*above, header, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_cell(cell: str) -> str:
    value, *small = map(_latex, split_number(cell))
    return rf"{value} {{\footnotesize {' '.join(small)}}}" if small else value


def _latex(text: str) -> str:
    return re.sub(r"(?<![\w$])-(?=\d)", "$-$", text.translate(LATEX))


def textual(head: list[str], body: list[list[str]]) -> list[bool]:
    """Whether each column is text: the first, and every other in which no cell begins with a number."""
    columns = [[cell for cell in cells if cell] for _, *cells in zip(head, *body, strict=True)]
    numbers = [not cells or any(re.match(r"[-−+]?\d", cell) for cell in cells) for cells in columns]
    return [True, *(not number for number in numbers[1:])]


def split_number(cell: str) -> list[str]:
    """ "0.417 ± 0.012 [0.380, 0.454]" as number, spread and interval."""
    number, opened, interval = cell.partition(" [")
    value, plus, spread = number.partition(" ± ")
    return [value, *([f"± {spread}"] if plus else []), *([f"[{interval}"] if opened else [])]


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
