"""Rows of the conditions: what each attack did to each input under each number of inference draws."""

import math
from collections.abc import Iterable, Mapping

from pandas import DataFrame, Series

from unshaken.evaluation.statistics import Interval, accuracy
from unshaken.report.box_plots import mean_interval
from unshaken.report.drawing import split_label
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import significance_text

KEYS = ["model", "attack", "eps", "inference_draws"]


def attacked_rows(source: StoredRun) -> DataFrame | None:
    """The rows with every attack once: where several analyses have it (with other smoothness), those of the first."""
    rows = source.analyses.get("conditions")
    if rows is None:
        return None
    return rows[rows.analysis == rows.groupby(KEYS, sort=False).analysis.transform("first")]


def reported_eps(rows: DataFrame, source: StoredRun) -> float:
    """The size that single numbers are given for: `eps` of [paper] where it was run, otherwise the largest."""
    published = source.record.paper.eps
    return published if published is not None and published in rows.eps.unique() else float(rows.eps.max())


def reported_rows(source: StoredRun) -> tuple[DataFrame, float]:
    """The rows with every attack once at `reported_eps`, and that; none where the conditions were not measured."""
    rows = attacked_rows(source)
    if rows is None:
        return DataFrame(columns=[*KEYS, "cosine", "gradient_norm"]), math.nan
    eps = reported_eps(rows, source)
    return rows[rows.eps == eps], eps


def main_inference_draws(rows: DataFrame, by: str) -> int:
    """The number of inference draws with the most values of `by`; the largest of those."""
    counts = rows.groupby("inference_draws")[by].nunique()
    return int(counts[counts == counts.max()].index.max())


def values_by_input(rows: DataFrame, column: str) -> Series:
    """A column of one attack by input and repeat."""
    values: Series = rows.set_index(["index", "repeat"])[column].astype(float)
    return values


def true_share(rows: DataFrame, column: str) -> Interval:
    """The share of inputs and repeats in which a column is true, with both sources of variance."""
    return accuracy(rows.assign(correct=rows[column].astype(float)))


def sampled_family(labels: Iterable[str]) -> list[str]:
    """The attacks of the first kind with several numbers of draws, from the fewest draws to the most."""
    families: dict[tuple[str, str], list[str]] = {}
    for label in labels:
        kind, draws, rest = split_label(label)
        if draws.isdigit():
            families.setdefault((kind, rest), []).append(label)
    several = [family for family in families.values() if len(family) > 1]
    return sorted(several[0], key=lambda label: int(split_label(label)[1])) if several else []


def distinguishing_title(names: Mapping[str, str], rows: DataFrame) -> str:
    """The names, by column, that tell one part of the rows from the others; "" where there is one part only."""
    return ", ".join(name for column, name in names.items() if rows[column].nunique() > 1)


def most_swept_attack(rows: DataFrame) -> str:
    """The first attack that was run with the most numbers of inference draws."""
    return str(rows.groupby("attack", sort=False).inference_draws.nunique().idxmax())


def fewer_draws_text(values: Mapping[int, Series], decimals: int = 3, *, beside: int = 2) -> str:
    """ "0.792 with one inference draw where 100 give 0.858: difference …; 0.844 with 5: …".

    `values` holds one series for each number of inference draws. The fewest, and the next where `beside` is 2, are
    set beside the most, paired by input and repeat, at a level shared out over the comparisons.
    """
    *fewer, most = sorted(values)
    texts: list[str] = []
    for count in fewer[:beside]:
        change = mean_interval(values[count] - values[most], level=1 - 0.05 / len(fewer[:beside]))
        draws = "one inference draw" if count == 1 else f"{count} inference draws"
        draws += f" where {most} give {values[most].mean():.{decimals}f}"
        draws = str(count) if texts else draws
        texts.append(f"{values[count].mean():.{decimals}f} with {draws}: {significance_text(change, decimals)}")
    return "; ".join(texts)
