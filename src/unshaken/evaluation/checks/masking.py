"""Checks for masked gradients: an attack that is given more must not be weaker than one that is given less.

Source: Athalye, Carlini & Wagner, "Obfuscated gradients give a false sense of security" (2018), section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from unshaken.evaluation.checks.finding import ATTACK, Finding, aimed, far, full_name, kinds, sized
from unshaken.evaluation.statistics import differences

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# the columns that name one accuracy: one attack on one model, predicted in one way, at one size
POINT = [*ATTACK, "inference_draws", "eps"]
ANSWER = ["index", "repeat", "correct"]
SETTLED = 0.01  # a fall of accuracy by less than this is none: the attack has converged


class Pair(NamedTuple):
    """Rows of the same inputs and repeats under two attacks: `more` should leave no more accuracy than `less`."""

    first: str  # the name of `less`
    second: str  # that of `more`
    setting: str  # their model and eps
    less: DataFrame
    more: DataFrame

    def __str__(self) -> str:
        less, more = self.less.correct.mean(), self.more.correct.mean()
        return f"{self.first} leaves {less:.3f}, {self.second} {more:.3f} ({self.setting})"


def black_box(rows: DataFrame) -> Finding:
    """A model's own gradient tells more than another model's: transferred perturbations must not be stronger.

    Of attacks that use eps as far as it goes: others move inputs further on a model that is harder to deceive.
    """
    direct, every_kind, pairs = dict(iter(far(_attacked(rows)).groupby(POINT, sort=False))), kinds(rows), []
    for (*key, source), transferred in rows[rows.role == "transfer"].groupby([*POINT, "source"], sort=False):
        if tuple(key) in direct:
            name = f"{full_name(transferred.iloc[0], every_kind)} made against {source}"
            pairs += _paired(name, "made against the model itself", transferred, direct[tuple(key)])
    nothing = "No perturbation was made against one model and given to another, beside the same attack on that one."
    transferred = "Perturbations made against another model are"
    holds = f"{transferred} not stronger than those made against the model itself"
    fails = f"{transferred} stronger than those made against the model itself, a sign of masked gradients"
    return _judged("black box", pairs, nothing, holds, fails)


def gradient_free(rows: DataFrame) -> Finding:
    """A gradient tells more than values of the loss: SPSA must not be stronger than every attack with a gradient."""
    attacked, common = sized(_attacked(rows)), ["model", "norm", "inference_draws", "eps"]
    pairs = _beside_strongest(attacked, attacked.attack.str.startswith("spsa"), common, kinds(rows))
    nothing = "No attack without a gradient (SPSA) was run beside one that has it."
    holds = "An attack without a gradient is not stronger than the strongest that has it"
    fails = "An attack without a gradient is stronger than all that have it, a sign of masked gradients"
    return _judged("gradient free", pairs, nothing, holds, fails)


def one_step(rows: DataFrame) -> Finding:
    """Many steps can do what one does: a single step must not be stronger than the strongest of many.

    Of attacks that use eps as far as it goes.
    """
    common = [column for column in POINT if column not in ("attack", "steps", "restarts")]
    attacked = far(_attacked(rows))
    attacked = attacked[~attacked.attack.str.startswith("spsa") & (attacked.steps > 0)]
    pairs = _beside_strongest(attacked, attacked.steps == 1, common, kinds(rows))
    nothing = "No attack was run with one step and with many, with the same loss and draws."
    holds = "A single step is not stronger than many"
    fails = "A single step is stronger than many, which do not find what is there"
    return _judged("one step", pairs, nothing, holds, fails)


def more_steps(rows: DataFrame) -> Finding:
    """An attack has converged where accuracy falls no more with its steps, nor with its restarts."""
    pairs = [*_increases(rows, "steps"), *_increases(rows, "restarts")]
    if not pairs:
        return Finding("more steps", None, "No attack was run with two numbers of steps, or of restarts.")
    falls = differences((pair.less, pair.more) for _, pair in pairs)
    compared = [(fall, pair) for fall, (_, pair) in zip(falls, pairs, strict=True)]
    doubtful = [(fall, pair) for fall, pair in compared if fall.low > 0 and fall.value > SETTLED]
    fall, pair = max(doubtful or compared, key=lambda entry: entry[0].value)
    if doubtful:
        sentence = f"Accuracy under {pair.first} is still falling by {fall.value:.3f} {pair.second} ({pair.setting}): "
        sentence += "the attack has not converged, so it is too high."
        return Finding("more steps", False, sentence, fall.value)
    example = f"{pair.first} {pair.second} ({pair.setting})"
    example = f"the largest fall is {fall}, {example}" if fall.value > 0 else f"it falls nowhere, as in {example}"
    by = f" by more than {SETTLED:g}" if any(fall.low > 0 for fall in falls) else ""
    varied = " and ".join(dict.fromkeys(column for column, _ in pairs))
    return Finding("more steps", True, f"Accuracy does not surely fall{by} with {varied}: {example}.", fall.value)


def _increases(rows: DataFrame, column: str) -> Iterator[tuple[str, Pair]]:
    """Attacks that differ in a column of counts alone: the two largest of each, with the name of the column."""
    every_kind = kinds(rows)
    for _, family in aimed(_attacked(rows)).groupby([c for c in POINT if c != column], sort=False):
        counts = sorted(family[column].unique())[-2:]
        if len(counts) == 2:
            few, many = (family[family[column] == count] for count in counts)
            increase = f"from {counts[0]} to {counts[1]} {column}"
            for pair in _paired(full_name(family.iloc[0], every_kind, column), increase, few, many):
                yield column, pair


def _beside_strongest(rows: DataFrame, weaker: Series, common: list[str], every_kind: DataFrame) -> list[Pair]:
    """Each of the weaker attacks beside the strongest of the others, of those that agree in the common columns."""
    pairs = []
    for _, group in rows.assign(weaker=weaker).groupby(common, sort=False):
        if others := [other for _, other in group[~group.weaker].groupby(POINT, sort=False)]:
            more = min(others, key=lambda other: other.correct.mean())
            for _, less in group[group.weaker].groupby(POINT, sort=False):
                first, second = (full_name(attacked.iloc[0], every_kind) for attacked in (less, more))
                pairs += _paired(first, second, less, more)
    return pairs


def _judged(name: str, pairs: list[Pair], nothing: str, holds: str, fails: str) -> Finding:
    """No `more` leaves surely more accuracy than its `less`, at a level shared out over all; the worst pair is told."""
    if not pairs:
        return Finding(name, None, nothing)
    rises = differences((pair.more, pair.less) for pair in pairs)
    compared = [*zip(rises, pairs, strict=True)]
    doubtful = [(rise, pair) for rise, pair in compared if rise.low > 0]
    worst, pair = max(doubtful or compared, key=lambda entry: entry[0].value)
    return Finding(name, not doubtful, f"{fails if doubtful else holds}: {pair}.", worst.value)


def _paired(first: str, second: str, less: DataFrame, more: DataFrame) -> list[Pair]:
    """The inputs and repeats that both have; no pair where there are none."""
    setting, keys = f"{less.model.iloc[0]}, eps {less.eps.iloc[0]:.4g}", ["index", "repeat"]
    less, more = less[ANSWER].merge(more[keys]), more[ANSWER].merge(less[keys])
    return [Pair(first, second, setting, less, more)] if len(less) else []


def _attacked(rows: DataFrame) -> DataFrame:
    """Rows of attacks on the model itself, at the sizes of the recipe."""
    return rows.loc[(rows.role == "sweep") & (rows.attack != "none"), [*POINT, *ANSWER]]
