"""When not to believe a number: each check looks at rows and answers with a sentence and the figure behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from unshaken.evaluation.checks.evaluation import (
    disjoint_draws,
    huge_eps,
    larger_eps,
    more_draws,
    zero_gradient,
    zero_size,
)
from unshaken.evaluation.checks.finding import ATTACK, Finding, attack_name, counted, named
from unshaken.evaluation.checks.masking import black_box, gradient_free, more_steps, one_step

if TYPE_CHECKING:
    from pandas import DataFrame

CHECKS: dict[str, Callable[[DataFrame], Finding]] = {
    "zero size": zero_size,
    "larger eps": larger_eps,
    "more draws": more_draws,
    "huge eps": huge_eps,
    "zero gradient": zero_gradient,
    "disjoint draws": disjoint_draws,
    "black box": black_box,
    "gradient free": gradient_free,
    "one step": one_step,
    "more steps": more_steps,
}


def check(rows: DataFrame) -> list[Finding]:
    """Every check of CHECKS on the rows of a run, doubts first."""
    findings = [run(rows) for run in CHECKS.values()]
    return sorted(findings, key=lambda finding: (finding.passed is not False, finding.passed is not None))


__all__ = ["ATTACK", "CHECKS", "Finding", "attack_name", "check", "counted", "named"]
