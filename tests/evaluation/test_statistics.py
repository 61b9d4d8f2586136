"""Intervals cover what they say they cover, with one and with two sources of variance."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import beta

from oracles import CoinClassifier
from unshaken.evaluation.evaluate import evaluate
from unshaken.evaluation.statistics import Interval, accuracy, crossed, difference, differences, two_level_variance


def rows_of(table: np.ndarray) -> pd.DataFrame:
    """Rows of a table of inputs x repeats."""
    n, repeats = table.shape
    index, repeat = np.meshgrid(np.arange(n), np.arange(repeats), indexing="ij")
    return pd.DataFrame({"index": index.ravel(), "repeat": repeat.ravel(), "correct": table.ravel().astype(bool)})


def simulated(rng: np.random.Generator, by_input: float, by_draw: float) -> np.ndarray:
    """Correctness of 100 inputs in 6 repeats, with random effects of inputs and of draws on the logit."""
    logit = 1 + by_input * rng.normal(size=(100, 1)) + by_draw * rng.normal(size=(1, 6))
    return rng.random((100, 6)) < 1 / (1 + np.exp(-logit))


def true_accuracy(by_input: float, by_draw: float) -> float:
    logit = 1 + np.hypot(by_input, by_draw) * np.random.default_rng(0).normal(size=1_000_000)
    return float((1 / (1 + np.exp(-logit))).mean())


@pytest.mark.parametrize(("by_input", "by_draw"), [(2.0, 0.0), (2.0, 0.5), (0.5, 1.0)])
def test_the_interval_covers_the_true_accuracy(by_input: float, by_draw: float) -> None:
    rng, truth = np.random.default_rng(1), true_accuracy(by_input, by_draw)
    intervals = [accuracy(rows_of(simulated(rng, by_input, by_draw))) for _ in range(400)]
    assert np.mean([i.low <= truth <= i.high for i in intervals]) > 0.92


def test_a_binomial_interval_would_not_cover_where_draws_are_shared() -> None:
    rng, truth, n = np.random.default_rng(2), true_accuracy(0.5, 1.0), 600
    right = np.array([simulated(rng, 0.5, 1.0).sum() for _ in range(400)])
    covered = (beta.ppf(0.025, right, n - right + 1) <= truth) & (truth <= beta.ppf(0.975, right + 1, n - right))
    assert covered.mean() < 0.75


@pytest.mark.parametrize("p", [0.5, 0.8])
def test_the_coin_is_right_with_probability_p(p: float) -> None:
    model, x, y = CoinClassifier(p), torch.rand(20, 1, 2, 2), torch.zeros(20, dtype=torch.int64)
    intervals = [accuracy(evaluate(model, x, y, draws=1, repeats=30, seed=seed)) for seed in range(20)]
    assert np.mean([i.low <= p <= i.high for i in intervals]) >= 0.85
    assert np.mean([i.value for i in intervals]) == pytest.approx(p, abs=0.06)


def test_one_repeat_is_clopper_pearson() -> None:
    interval = accuracy(rows_of(np.arange(200)[:, None] < 150))
    # the variance of a sample has n - 1 below the line, so the effective n is 199
    assert interval.low == pytest.approx(beta.ppf(0.025, 0.75 * 199, 199 - 0.75 * 199 + 1), abs=2e-3)
    assert interval.high == pytest.approx(beta.ppf(0.975, 0.75 * 199 + 1, 199 - 0.75 * 199), abs=2e-3)


@pytest.mark.parametrize("right", [0, 1])
def test_all_right_or_all_wrong_is_not_certainty(right: int) -> None:
    interval = accuracy(rows_of(np.full((50, 4), right)))
    assert interval.value == right
    assert interval.high - interval.low == pytest.approx(1 - 0.025 ** (1 / 50))


def test_more_certainty_needs_a_wider_interval() -> None:
    rows = rows_of(np.random.default_rng(0).random((100, 3)) < 0.7)
    wide, narrow = accuracy(rows, level=0.99), accuracy(rows, level=0.9)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_variance_of_the_mean_is_unbiased() -> None:
    rng = np.random.default_rng(3)
    tables = [rng.normal(size=(20, 1)) + rng.normal(size=(1, 5)) + 2 * rng.normal(size=(20, 5)) for _ in range(3000)]
    estimated = np.mean([two_level_variance(table)[0] for table in tables])
    assert estimated == pytest.approx(1 / 20 + 1 / 5 + 4 / 100, rel=0.1)


def test_difference_is_paired() -> None:
    rng = np.random.default_rng(4)
    before = rng.random((200, 3)) < rng.random((200, 1))
    after = before.copy()
    after[:20] = False
    change = difference(rows_of(after), rows_of(before))
    assert change.value == pytest.approx(after.mean() - before.mean())
    assert change.high < 0
    assert difference(rows_of(before), rows_of(before)) == Interval(0, 0, 0)


def test_several_differences_share_the_level() -> None:
    rng = np.random.default_rng(3)
    tables = [rows_of(simulated(rng, 0.3, 0.1)) for _ in range(4)]
    pairs = [(tables[0], tables[1]), (tables[2], tables[3])]
    assert differences(pairs) == [difference(*pair, level=0.975) for pair in pairs]
    assert differences(iter(pairs[:1])) == [difference(*pairs[0], level=0.95)]


def test_what_cannot_be_a_table_is_refused() -> None:
    rows = rows_of(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"every input once in every repeat: choose one"):
        crossed(pd.concat([rows, rows]))
    with pytest.raises(ValueError, match="no rows"):
        accuracy(rows.iloc[:0])
    with pytest.raises(ValueError, match="nothing to compare"):
        difference(rows, rows.assign(index=rows["index"] + 100))


def test_an_interval_reads_well() -> None:
    assert str(Interval(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
