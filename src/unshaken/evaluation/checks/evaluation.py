"""Checks of the evaluation: what must hold of any attack that is run and scored as it should be."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from unshaken.evaluation.checks.finding import ATTACK, Finding, aimed, attacks, kinds, name_of, sized
from unshaken.evaluation.statistics import accuracy, differences

if TYPE_CHECKING:
    from pandas import DataFrame


def zero_size(rows: DataFrame) -> Finding:
    """A perturbation of size zero changes nothing: accuracy is the clean accuracy, on the same draws."""
    pairs = []
    for name, attacked, of_model in attacks(rows[rows.role == "check"], rows):
        null, clean = attacked[attacked.eps == 0], of_model[of_model.attack == "none"]
        pairs += [(name, null, clean)] if len(null) and len(clean) else []
    if not pairs:
        return Finding("zero size", None, "No attack was run with a zero-size perturbation.")
    changes = differences((null, clean) for _, null, clean in pairs)
    change, (name, *_) = max(zip(changes, pairs, strict=True), key=lambda entry: abs(entry[0].value))
    passed = all(change.low <= 0 <= change.high for change in changes)
    sentence = f"Accuracy under a zero-size attack {'equals' if passed else 'differs from'} clean accuracy: "
    sentence += f"the largest change is {change.value:+.3f} ({name})."
    return Finding("zero size", passed, sentence, change.value)


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
    pairs, every_kind = [], kinds(rows)
    for _, family in sampled.groupby([c for c in ATTACK if c != "attack_draws"] + ["eps"], sort=False):
        name, eps = name_of(family.iloc[0], every_kind, draws=""), family.eps.iloc[0]
        for a, b in pairwise(sorted(family.attack_draws.unique(), key=int)):
            few, many = (family[family.attack_draws == count] for count in (a, b))
            pairs.append((f"{name} from {a} to {b} draws at eps {eps:g}", many, few))
    nothing = "No attack on the label was run with two numbers of attack draws."
    holds, fails = "Accuracy does not rise with attack draws", "Accuracy rises with attack draws"
    return _no_rise("more draws", nothing, holds, fails, pairs)


def huge_eps(rows: DataFrame) -> Finding:
    """With the whole box to move in, an attack that works leaves no accuracy that is surely above chance.

    One that does not use the box, since its step is one of its own, or that aims at something else, is left out.
    """
    accuracies = []
    for name, attacked, _ in attacks(sized(rows[rows.role == "check"])):
        huge = attacked[attacked.eps == attacked.eps.max()]
        if attacked.eps.max() > 0:
            chance = float(huge.drop_duplicates("index").label.value_counts(normalize=True).max())
            accuracies.append((accuracy(huge), chance, name))
    if not accuracies:
        return Finding("huge eps", None, "No attack on the label was given the whole input box.")
    doubtful = [entry for entry in accuracies if entry[0].low > entry[1]]
    worst, chance, name = max(doubtful or accuracies)
    fails = f"With the whole input box an attack leaves {worst}, above chance ({chance:.3f}): it is not strong enough"
    holds = f"No attack with the whole input box leaves accuracy surely above chance ({chance:.3f})"
    sentence = fails if doubtful else f"{holds}; the highest is {worst}"
    return Finding("huge eps", not doubtful, f"{sentence} ({name}).", worst.value)


def zero_gradient(rows: DataFrame) -> Finding:
    """An input whose gradient is exactly zero was not attacked at all."""
    shares = []
    for name, attacked, of_model in attacks(rows):
        clean = of_model[of_model.attack == "none"]
        right = clean[clean.correct.astype(bool)] if len(clean) else attacked
        flags = attacked.drop_duplicates(["index", "repeat"]).merge(right[["index", "repeat"]].drop_duplicates())
        if flags.zero_gradient.notna().any():
            shares.append((float(flags.zero_gradient.mean()), name))
    if not shares:
        recorded = rows[(rows.attack != "none") & (rows.role != "transfer")].zero_gradient.notna().any()
        nothing = "No input that is classified rightly was attacked." if recorded else "No attack told its gradients."
        return Finding("zero gradient", None, nothing)
    share, name = max(shares)
    passed = share <= 0.01
    sentence = f"{share:.1%} of the inputs that are classified rightly had an exactly zero gradient ({name}, the "
    sentence += "highest)." if passed else "highest): they were not attacked, so they count as robust."
    return Finding("zero gradient", passed, sentence, share)


def disjoint_draws(rows: DataFrame) -> Finding:
    """Scoring a perturbation on the draws that made it overstates the attack."""
    if rows.shared_draws.isna().any():
        return Finding("disjoint draws", None, "An attack from outside did not tell which draws it used.")
    shared = int(rows.shared_draws.max())
    few = rows.model[rows.shared_draws < 0].drop_duplicates()
    if len(few) and shared <= 0:
        models = f"{few.iloc[0]}{f' and {len(few) - 1} more' if len(few) > 1 else ''}"
        sentence = f"The draws of {models} are a few networks, all of which an attack may know: there are no others."
        return Finding("disjoint draws", None, sentence)
    answer = "Attack and inference draws are disjoint" if shared == 0 else "Attack and inference share draws"
    sentence = f"{answer}: {shared} of {rows.inference_draws.max()} shared."
    return Finding("disjoint draws", shared == 0, sentence, shared)


def _no_rise(name: str, nothing: str, holds: str, fails: str, pairs: list[tuple[str, DataFrame, DataFrame]]) -> Finding:
    """No `after` is more accurate than its `before`, each judged at a level shared out over all comparisons."""
    if not pairs:
        return Finding(name, None, nothing)
    rises = differences((after, before) for _, after, before in pairs)
    changes = [(rise, setting) for rise, (setting, *_) in zip(rises, pairs, strict=True)]
    rise, setting = max(changes, key=lambda change: change[0].low)
    if rise.low > 0:
        return Finding(name, False, f"{fails}, beyond the interval: by {rise.value:.3f} ({setting}).", rise.value)
    rise, setting = max(changes, key=lambda change: change[0].value)
    least = f"the largest rise is {rise.value:.3f}" if rise.value > 0 else f"the smallest fall is {abs(rise.value):.3f}"
    return Finding(name, True, f"{holds}: {least} ({setting}).", rise.value)
