"""Checks of the evaluation: what must hold of any attack that is run and scored as it should be."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from unshaken.evaluation.checks.finding import ATTACK, Finding, aimed, attacks, clean_rows, kinds, name_of, sized
from unshaken.evaluation.statistics import accuracy, difference

if TYPE_CHECKING:
    from pandas import DataFrame


def zero_size(rows: DataFrame) -> Finding:
    """A perturbation of size zero changes nothing: accuracy is the clean accuracy, on the same draws."""
    pairs = [
        (name, attacked[attacked.eps == 0], clean_rows(part))
        for name, attacked, part in attacks(rows[rows.role == "check"], rows)
    ]
    pairs = [(name, null, clean) for name, null, clean in pairs if len(null) and len(clean)]
    if not pairs:
        return Finding("zero size", None, "No attack was run with a zero-size perturbation.")
    level = 1 - 0.05 / len(pairs)
    changes = [(name, difference(null, clean, level=level)) for name, null, clean in pairs]
    name, change = max(changes, key=lambda found: abs(found[1].value))
    passed = all(change.low <= 0 <= change.high for _, change in changes)
    told = "equals" if passed else "differs from"
    return Finding(
        "zero size",
        passed,
        f"Accuracy under a zero-size attack {told} clean accuracy: the largest change is {change.value:+.3f} ({name}).",
        change.value,
    )


def larger_eps(rows: DataFrame) -> Finding:
    """A larger ball contains the smaller one: accuracy must not rise with eps under an attack that aims at it."""
    pairs = [
        (f"{name} from eps {a:g} to {b:g}", attacked[attacked.eps == b], attacked[attacked.eps == a])
        for name, attacked, _ in attacks(aimed(rows[rows.role == "sweep"]))
        for a, b in pairwise(sorted(attacked.eps.unique()))
    ]
    nothing = "No attack on the label was run at two eps."
    return _no_rise("larger eps", nothing, "Accuracy does not rise with eps", "Accuracy rises with eps", pairs)


def more_draws(rows: DataFrame) -> Finding:
    """More draws give a better gradient: accuracy must not rise with the number of attack draws.

    A step that is as long as the gradient is shorter with more draws, which differ: such an attack is left out.
    """
    sampled = sized(rows[(rows.role == "sweep") & rows.attack_draws.str.isdigit()])
    pairs, known = [], kinds(rows)
    for _, family in sampled.groupby([c for c in ATTACK if c != "attack_draws"] + ["eps"], sort=False):
        counts = sorted(family.attack_draws.unique(), key=int)
        for a, b in pairwise(counts):
            few, many = family[family.attack_draws == a], family[family.attack_draws == b]
            name, eps = name_of(family.iloc[0], known, draws=""), family.eps.iloc[0]
            pairs.append((f"{name} from {a} to {b} draws at eps {eps:g}", many, few))
    nothing = "No attack on the label was run with two numbers of attack draws."
    holds, fails = "Accuracy does not rise with attack draws", "Accuracy rises with attack draws"
    return _no_rise("more draws", nothing, holds, fails, pairs)


def huge_eps(rows: DataFrame) -> Finding:
    """With the whole box to move in, an attack that works leaves no accuracy that is surely above chance.

    One that does not use the box, since its step is one of its own, or that aims at something else, is left out.
    """
    found = []
    for name, attacked, _ in attacks(sized(rows[rows.role == "check"])):
        huge = attacked[attacked.eps == attacked.eps.max()]
        if attacked.eps.max() > 0:
            chance = float(huge.drop_duplicates("index").label.value_counts(normalize=True).max())
            found.append((accuracy(huge), chance, name))
    if not found:
        return Finding("huge eps", None, "No attack on the label was given the whole input box.")
    doubtful = [told for told in found if told[0].low > told[1]]
    worst, chance, name = max(doubtful or found)
    told = (
        f"No attack with the whole input box leaves accuracy surely above chance ({chance:.3f}); the highest is {worst}"
    )
    if doubtful:
        told = (
            f"With the whole input box an attack leaves {worst}, above chance ({chance:.3f}): it is not strong enough"
        )
    return Finding("huge eps", not doubtful, f"{told} ({name}).", worst.value)


def zero_gradient(rows: DataFrame) -> Finding:
    """An input whose gradient is exactly zero was not attacked at all."""
    shares = []
    for name, attacked, part in attacks(rows):
        clean = clean_rows(part)
        right = clean[clean.correct.astype(bool)] if len(clean) else attacked
        flags = attacked.drop_duplicates(["index", "repeat"]).merge(right[["index", "repeat"]].drop_duplicates())
        if flags.zero_gradient.notna().any():
            shares.append((float(flags.zero_gradient.mean()), name))
    if not shares:
        known = rows[(rows.attack != "none") & (rows.role != "transfer")].zero_gradient.notna().any()
        nothing = "No input that is classified rightly was attacked." if known else "No attack told its gradients."
        return Finding("zero gradient", None, nothing)
    share, name = max(shares)
    passed = share <= 0.01
    told = f"{share:.1%} of the inputs that are classified rightly had an exactly zero gradient ({name}, the highest)"
    return Finding(
        "zero gradient", passed, told + ("." if passed else ": they were not attacked, so they count as robust."), share
    )


def disjoint_draws(rows: DataFrame) -> Finding:
    """Scoring a perturbation on the draws that made it overstates the attack."""
    if rows.shared_draws.isna().any():
        return Finding("disjoint draws", None, "An attack from outside did not tell which draws it used.")
    shared = int(rows.shared_draws.max())
    few = rows.model[rows.shared_draws < 0].drop_duplicates()
    if len(few) and shared <= 0:
        whose = f"{few.iloc[0]}{f' and {len(few) - 1} more' if len(few) > 1 else ''}"
        told = f"The draws of {whose} are a few networks, all of which an attack may know: there are no others."
        return Finding("disjoint draws", None, told)
    told = "Attack and inference draws are disjoint" if shared == 0 else "Attack and inference share draws"
    return Finding("disjoint draws", shared == 0, f"{told}: {shared} of {rows.inference_draws.max()} shared.", shared)


def _no_rise(name: str, nothing: str, holds: str, fails: str, pairs: list[tuple[str, DataFrame, DataFrame]]) -> Finding:
    """No `after` is more accurate than its `before`, each judged at a level shared out over all comparisons."""
    if not pairs:
        return Finding(name, None, nothing)
    level = 1 - 0.05 / len(pairs)
    changes = [(difference(after, before, level=level), what) for what, after, before in pairs]
    rise, where = max(changes, key=lambda change: change[0].low)
    if rise.low > 0:
        return Finding(name, False, f"{fails}, beyond the interval: by {rise.value:.3f} ({where}).", rise.value)
    rise, where = max(changes, key=lambda change: change[0].value)
    least = f"the largest rise is {rise.value:.3f}" if rise.value > 0 else f"the smallest fall is {abs(rise.value):.3f}"
    return Finding(name, True, f"{holds}: {least} ({where}).", rise.value)
