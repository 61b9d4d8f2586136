"""Checks for masked gradients: an attack that is given more must not be weaker than one that is given less.

Source: Athalye, Carlini & Wagner, "Obfuscated gradients give a false sense of security" (2018), section 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unshaken.evaluation.checks.finding import (
    ATTACK,
    Finding,
    aimed,
    attack_name,
    counted,
    far,
    kinds,
    named,
    sized,
)
from unshaken.evaluation.statistics import difference

if TYPE_CHECKING:
    from pandas import DataFrame

POINT = [*ATTACK, "inference_draws", "eps"]
"""The columns that name one accuracy: one attack on one model, predicted in one way, at one size."""

ANSWER = ["index", "repeat", "correct"]

SETTLED = 0.01
"""A fall of accuracy by less than this is none: the attack has converged."""


class Pair(NamedTuple):
    """Rows of the same inputs and repeats under two attacks, of which `more` should leave no more accuracy than `less`.

    `first` and `second` say which two, `where` on which model and at which eps.
    """

    first: str
    second: str
    where: str
    less: DataFrame
    more: DataFrame

    def __str__(self) -> str:
        less, more = self.less.correct.mean(), self.more.correct.mean()
        return f"{self.first} leaves {less:.3f}, {self.second} {more:.3f} ({self.where})"


def black_box(rows: DataFrame) -> Finding:
    """A model's own gradient tells more than another model's: transferred perturbations must not be stronger.

    Of attacks that use eps as far as it goes: others move inputs further on a model that is harder to deceive.
    """
    own, known, pairs = dict(iter(far(_attacked(rows)).groupby(POINT, sort=False))), kinds(rows), []
    for (*key, source), given in rows[rows.role == "transfer"].groupby([*POINT, "source"], sort=False):
        if tuple(key) in own:
            name = f"{_name(given, known)} made against {source}"
            pairs += _paired(name, "made against the model itself", given, own[tuple(key)])
    return _judged(
        "black box",
        pairs,
        "No perturbation was made against one model and given to another, beside the same attack on that one.",
        "Perturbations made against another model are not stronger than those made against the model itself",
        "Perturbations made against another model are stronger than those made against the model itself, a sign of "
        "masked gradients",
    )


def gradient_free(rows: DataFrame) -> Finding:
    """A gradient tells more than values of the loss: SPSA must not be stronger than every attack with a gradient."""
    known, pairs = kinds(rows), []
    for _, group in sized(_attacked(rows)).groupby(["model", "norm", "inference_draws", "eps"], sort=False):
        blind = group.attack.str.startswith("spsa")
        strongest = _strongest(group[~blind])
        for _, guessed in group[blind].groupby(POINT, sort=False):
            pairs += _paired(_name(guessed, known), _name(strongest, known), guessed, strongest)
    return _judged(
        "gradient free",
        pairs,
        "No attack without a gradient (SPSA) was run beside one that has it.",
        "An attack without a gradient is not stronger than the strongest that has it",
        "An attack without a gradient is stronger than all that have it, a sign of masked gradients",
    )


def one_step(rows: DataFrame) -> Finding:
    """Many steps can do what one does: a single step must not be stronger than the strongest of many.

    Of attacks that use eps as far as it goes.
    """
    alike = [column for column in POINT if column not in ("attack", "steps", "restarts")]
    made, known, pairs = far(_attacked(rows)), kinds(rows), []
    for _, group in made[~made.attack.str.startswith("spsa")].groupby(alike, sort=False):
        many = _strongest(group[group.steps > 1])
        for _, single in group[group.steps == 1].groupby(POINT, sort=False):
            pairs += _paired(_name(single, known), _name(many, known), single, many)
    return _judged(
        "one step",
        pairs,
        "No attack was run with one step and with many, with the same loss and draws.",
        "A single step is not stronger than many",
        "A single step is stronger than many, which do not find what is there",
    )


def more_steps(rows: DataFrame) -> Finding:
    """An attack has converged where accuracy falls no more with its steps, nor with its restarts."""
    known, words = kinds(rows), dict[str, None]()
    pairs: list[Pair] = []
    for word in ("steps", "restarts"):
        for _, family in aimed(_attacked(rows)).groupby([c for c in POINT if c != word], sort=False):
            counts = sorted(family[word].unique())[-2:]
            if len(counts) == 2:
                few, many = (family[family[word] == count] for count in counts)
                made = _paired(_name(family, known, word), f"from {counts[0]} to {counts[1]} {word}", few, many)
                pairs, words = pairs + made, words | dict.fromkeys([word] * len(made))
    if not pairs:
        return Finding("more steps", None, "No attack was run with two numbers of steps, or of restarts.")
    level = 1 - 0.05 / len(pairs)
    falls = [(difference(pair.less, pair.more, level=level), pair) for pair in pairs]
    doubtful = [(fall, pair) for fall, pair in falls if fall.low > 0 and fall.value > SETTLED]
    fall, pair = max(doubtful or falls, key=lambda found: found[0].value)
    if doubtful:
        told = f"Accuracy under {pair.first} is still falling by {fall.value:.3f} {pair.second} ({pair.where})"
        return Finding("more steps", False, f"{told}: the attack has not converged, so it is too high.", fall.value)
    told = f"{pair.first} {pair.second} ({pair.where})"
    told = f"the largest fall is {fall}, {told}" if fall.value > 0 else f"it falls nowhere, as in {told}"
    by = f" by more than {SETTLED:g}" if any(fall.low > 0 for fall, _ in falls) else ""
    said = f"Accuracy does not surely fall{by} with {' and '.join(words)}: {told}."
    return Finding("more steps", True, said, fall.value)


def _judged(name: str, pairs: list[Pair], nothing: str, holds: str, fails: str) -> Finding:
    """No `more` leaves surely more accuracy than its `less`, at a level shared out over all; the worst pair is told."""
    if not pairs:
        return Finding(name, None, nothing)
    level = 1 - 0.05 / len(pairs)
    changes = [(difference(pair.more, pair.less, level=level), pair) for pair in pairs]
    doubtful = [(change, pair) for change, pair in changes if change.low > 0]
    worst, pair = max(doubtful or changes, key=lambda found: found[0].value)
    return Finding(name, not doubtful, f"{fails if doubtful else holds}: {pair}.", worst.value)


def _paired(first: str, second: str, less: DataFrame, more: DataFrame | None) -> list[Pair]:
    """The inputs and repeats that both have; no pair where there are none."""
    keys = ["index", "repeat"]
    if more is None:
        return []
    where = f"{less.model.iloc[0]}, eps {less.eps.iloc[0]:.4g}"
    less, more = less[ANSWER].merge(more[keys]), more[ANSWER].merge(less[keys])
    return [Pair(first, second, where, less, more)] if len(less) else []


def _attacked(rows: DataFrame) -> DataFrame:
    """Rows of attacks on the model itself, at the sizes of the recipe."""
    return rows.loc[(rows.role == "sweep") & (rows.attack != "none"), [*POINT, *ANSWER]]


def _strongest(rows: DataFrame) -> DataFrame | None:
    """The rows of the attack that leaves the least accuracy; None where there is none."""
    parts = [part for _, part in rows.groupby(POINT, sort=False)]
    return min(parts, key=lambda part: part.correct.mean(), default=None)


def _name(part: DataFrame | None, known: DataFrame, besides: str = "") -> str:
    """The attack of some rows, with its loss, steps and restarts where there are several of its kind."""
    if part is None:
        return ""
    row = part.iloc[0]
    same = known[(known.attack == row.attack) & (known.attack_draws == row.attack_draws)]
    several = [word for word in ("loss", "steps", "restarts") if word != besides and same[word].nunique() > 1]
    extra = [row.loss if word == "loss" else counted(word, row[word]) for word in several]
    return named(attack_name(row.attack, row.attack_draws), *extra)
