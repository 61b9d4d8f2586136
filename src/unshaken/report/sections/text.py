"""Words and cells that several sections use."""

from __future__ import annotations

from collections.abc import Callable

from unshaken.evaluation.statistics import Interval
from unshaken.report.wording import eps_text
from unshaken.runs.record import RunRecord

UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


def one_eps(eps: float) -> str:
    """How to write one size by itself."""
    return eps_text([eps])[eps]


def if_known(value: float, text: Callable[[float], str]) -> str:
    """`text(value)`; "" where the value is NaN."""
    return text(value) if value == value else ""


def published_note(record: RunRecord) -> str:
    """The sentence that names the paper of a recipe, with a space before it; "" where the recipe names none."""
    paper = record.paper.source
    return f" Published in {paper}." if paper else ""
