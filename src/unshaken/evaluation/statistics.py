"""Intervals with both sources of variance: which inputs were taken, and which draws predicted them.

A set of inference draws is shared by all inputs, so their errors are correlated and a binomial interval is too
narrow. Rows form a table of inputs x repeats, both random; the variance of its mean has a part of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame


class Interval(NamedTuple):
    """A mean with the interval that covers the true one with probability `level`."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def accuracy(rows: DataFrame, *, level: float = 0.95) -> Interval:
    """Share of correct predictions over inputs and repeats, with a two-level interval.

    Clopper-Pearson with the effective number of independent predictions n* = p(1 − p)/V · (z/t)², V and the degrees
    of freedom of t from `two_level_variance`; at 0 and 1, where V is 0, n* is the number of inputs. With one repeat
    the variance of the draws is unknown and the interval covers the inputs alone.
    Source: Korn & Graubard, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", Survey Methodology 24 (1998).
    """
    from scipy.special import betaincinv, ndtri, stdtrit

    table = crossed(rows)
    p, (variance, freedom) = float(table.mean()), two_level_variance(table)
    tail = (1 - level) / 2
    n = float(len(table))
    if 0 < p < 1 and variance > 0:
        n = min(p * (1 - p) / variance * (ndtri(1 - tail) / stdtrit(freedom, 1 - tail)) ** 2, float(table.size))
    right = p * n
    low = float(betaincinv(right, n - right + 1, tail)) if p > 0 else 0.0
    high = float(betaincinv(right + 1, n - right, 1 - tail)) if p < 1 else 1.0
    return Interval(p, min(low, p), max(high, p))


def difference(rows: DataFrame, other: DataFrame, *, level: float = 0.95) -> Interval:
    """Accuracy of `rows` minus accuracy of `other`, paired by input and repeat: mean ± t · standard error."""
    columns = (np.concatenate([rows[column], other[column]]) for column in ("index", "repeat"))
    (_, i), (repeats, r) = (np.unique(column, return_inverse=True) for column in columns)
    cells, other_cells = np.split(i * len(repeats) + r, [len(rows)])
    common, at, other_at = np.intersect1d(cells, other_cells, return_indices=True)
    if len(common) == 0:
        raise ValueError("the two sets of rows have no input and repeat in common, so there is nothing to compare.")
    i, r = (np.unique(axis, return_inverse=True)[1] for axis in np.divmod(common, len(repeats)))
    table = np.full((i.max() + 1, r.max() + 1), math.nan)
    table[i, r] = rows["correct"].to_numpy(float)[at] - other["correct"].to_numpy(float)[other_at]
    return mean(table, level=level)


def differences(pairs: Iterable[tuple[DataFrame, DataFrame]]) -> list[Interval]:
    """`difference` of every pair, at a level of 95 % for all of them together (Bonferroni)."""
    pairs = [*pairs]
    return [difference(rows, other, level=1 - 0.05 / len(pairs)) for rows, other in pairs]


def mean(table: np.ndarray, *, level: float = 0.95) -> Interval:
    """Mean of a table of inputs x repeats ± t · standard error, with both sources of variance."""
    from scipy.special import stdtrit

    value, (variance, freedom) = float(table.mean()), two_level_variance(table)
    half = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance)
    return Interval(value, value - half, value + half)


def crossed(rows: DataFrame) -> np.ndarray:
    """`correct` as a table of inputs x repeats; `ValueError` where a row is missing or double."""
    if len(rows) == 0:
        raise ValueError("there are no rows.")
    inputs, i = np.unique(rows["index"], return_inverse=True)
    repeats, r = np.unique(rows["repeat"], return_inverse=True)
    cells = i * len(repeats) + r
    if len(rows) != len(inputs) * len(repeats) or len(np.unique(cells)) != len(rows):
        raise ValueError("rows must have every input once in every repeat: choose one model, attack and eps.")
    table = np.empty(len(rows))
    table[cells] = rows["correct"]
    return table.reshape(len(inputs), len(repeats))


def two_level_variance(table: np.ndarray) -> tuple[float, float]:
    """Variance of the mean of a table of inputs x repeats (n, R), and its Satterthwaite degrees of freedom.

    With row means a_i and column means b_r: V = var(a)/n + var(b)/R − (residual mean square)/(nR), the unbiased
    estimate when inputs and repeats are both random and crossed.
    """
    n, repeats = table.shape
    by_input, by_repeat = table.mean(1), table.mean(0)
    inputs = by_input.var(ddof=1) / n if n > 1 else 0.0
    draws = by_repeat.var(ddof=1) / repeats if repeats > 1 else 0.0
    both = 0.0
    if n > 1 and repeats > 1:
        residual = table - by_input[:, None] - by_repeat[None, :] + table.mean()
        both = (residual**2).sum() / ((n - 1) * (repeats - 1)) / (n * repeats)
    variance = max(inputs + draws - both, inputs, draws)
    spread = inputs**2 / max(n - 1, 1) + draws**2 / max(repeats - 1, 1)
    return float(variance), float(variance**2 / spread) if spread > 0 else float(max(n - 1, 1))
