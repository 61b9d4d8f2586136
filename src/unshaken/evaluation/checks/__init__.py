"""When not to believe a number: each check looks at rows and answers with a sentence and the figure behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from unshaken.evaluation.checks import evaluation, masking
from unshaken.evaluation.checks.finding import ATTACK, Finding, attack_name, counted, named

if TYPE_CHECKING:
    from pandas import DataFrame

CHECKS: dict[str, Callable[[DataFrame], Finding]] = {
    "zero size": evaluation.zero_size,
    "larger eps": evaluation.larger_eps,
    "more draws": evaluation.more_draws,
    "huge eps": evaluation.huge_eps,
    "zero gradient": evaluation.zero_gradient,
    "disjoint draws": evaluation.disjoint_draws,
    "black box": masking.black_box,
    "gradient free": masking.gradient_free,
    "one step": masking.one_step,
    "more steps": masking.more_steps,
}


def check(rows: DataFrame) -> list[Finding]:
    """Every check of CHECKS on the rows of a run, doubts first."""
    findings = [run(rows) for run in CHECKS.values()]
    return sorted(findings, key=lambda finding: (finding.passed is not False, finding.passed is not None))


__all__ = ["ATTACK", "CHECKS", "Finding", "attack_name", "check", "counted", "named"]
