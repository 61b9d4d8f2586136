"""The verdict in plain words, and every reason to doubt it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unshaken.checks import Finding, check
from unshaken.report.tables import SERIES, Panel, accuracy_table, at, eps_text, panels, part_label
from unshaken.statistics import Interval, accuracy, difference

if TYPE_CHECKING:
    from pandas import DataFrame

WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def verdict(run: dict[str, Any], rows: DataFrame) -> list[str]:
    """How far to believe a run, then what it found, as sentences for a terminal; `run` is run.json."""
    found = findings(rows)
    curves = panels(accuracy_table(rows))
    return [
        *believe(found),
        *(f.sentence for f in found if f.passed is False),
        *doubts(run, rows),
        *(f"{panel}: {text}" if panel else text for panel, text in results(run, rows, curves)),
    ]


def findings(rows: DataFrame) -> list[Finding]:
    """Every check of the rows, doubts first; none where there are no rows."""
    return check(rows) if len(rows) else []


def results(run: dict[str, Any], rows: DataFrame, curves: Sequence[Panel]) -> list[tuple[str, str]]:
    """(panel, paragraph) for each model and norm: clean accuracy, the strongest attack, MEAN beside draws."""
    if not curves:
        return [("", "No attack has finished yet, so there is nothing to say about robustness.")]
    return [(panel.title, _panel(panel, run, rows)) for panel in curves]


def believe(found: list[Finding]) -> list[str]:
    """The checks in one sentence."""
    failed, unknown = ([f for f in found if f.passed is state] for state in (False, None))
    made = len(found) - len(unknown)
    if not found:
        return ["There are no rows to check yet."]
    if failed:
        names = ", ".join(f.check for f in failed)
        return [f"{len(failed)} of {made} checks {'raises' if len(failed) == 1 else 'raise'} a doubt: {names}."]
    if not unknown:
        return [f"All {_word(made)} checks pass."]
    left = ", ".join(f.check for f in unknown)
    return [f"{_word(made).capitalize()} of {len(found)} checks pass; the others could not be made: {left}."]


def doubts(run: dict[str, Any], rows: DataFrame) -> list[str]:
    """Reasons for doubt that lie in the run, not in its rows: few inputs, one repeat, units without a result."""
    said = []
    if len(rows) and rows.repeat.nunique() == 1:
        said.append(
            "Each input was predicted with one set of draws only (one repeat), so the intervals cover the choice of "
            "inputs but not the luck of the draws."
        )
    if len(rows) and rows.repeat.nunique() == 2:
        said.append(
            "There are two repeats only, so the variance of the draws is hardly known and intervals can be wide."
        )
    for model, clean in rows[rows.attack == "none"].groupby("model") if len(rows) else ():
        chance = float(clean.drop_duplicates("index").label.value_counts(normalize=True).max())
        if (found := accuracy(clean)).low <= chance:
            said.append(f"Without an attack {model} is not surely better than chance ({chance:.3f}): {found}.")
    if len(rows) and (n := rows["index"].nunique()) < 100:
        said.append(f"Only {n} inputs were attacked, so every interval is wide.")
    return said + [_missing(units) for units in _unfinished(run.get("units", []))]


def _unfinished(units: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Units without a result, those of one part and one status together."""
    together: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for unit in units:
        if unit["status"] != "done":
            together.setdefault((unit["kind"], part_label(unit), unit["model"], unit["status"]), []).append(unit)
    return list(together.values())


def _missing(units: list[dict[str, Any]]) -> str:
    """ "PGD-10 on mean_field failed (2 units): out of memory." """
    first = units[0]
    what = "The training of" if first["kind"] == "train" else f"{part_label(first)} on"
    told = {"failed": "failed", "skipped": "could not start"}.get(first["status"], "has not been run yet")
    count = f" ({len(units)} units)" if len(units) > 1 else ""
    reason = f": {first['error'].strip().rstrip('.')}" if first.get("error") else ""
    return f"{what} {first['model']} {told}{count}{reason}."


def informative(panel: Panel, label: str) -> float:
    """The smallest eps at which the attack at least halves the accuracy; its largest where there is none."""
    curve = panel.curves[label]
    start = panel.clean.value if panel.clean is not None else float(curve.accuracy.iloc[0])
    halved = curve[(curve.eps > 0) & (curve.accuracy <= start / 2)]
    return float(halved.eps.min() if len(halved) else curve.eps.max())


def _panel(panel: Panel, run: dict[str, Any], rows: DataFrame) -> str:
    strongest = panel.strongest()
    curve = panel.curves[strongest]
    sizes = _some(sorted(e for e in curve.eps if e > 0) or [0.0], informative(panel, strongest))
    texts = eps_text(panel.eps())
    under = _listed([f"{at(curve, e)} at eps {texts[e]}" for e in sizes])
    among = f"the strongest of the {_word(len(panel.curves))} attacks" if len(panel.curves) > 1 else "the only attack"
    data = f"{curve.n.iloc[0]:,} " + (f"test inputs of {run['data']['name']}" if run.get("data") else "inputs")
    clean = "" if panel.clean is None else f"Without an attack, accuracy on {data} is {panel.clean}. "
    return f"{clean}Under {strongest}, {among}, it is {under}.{_mean_sentence(panel, rows)}"


def _mean_sentence(panel: Panel, rows: DataFrame) -> str:
    """MEAN beside the one-step attack with the most draws, paired by input, at that attack's informative eps."""
    single = [label for label, c in panel.curves.items() if c.attack.iloc[0] in ("fgsm", "fgm")]
    sampled = [label for label in single if str(panel.curves[label].attack_draws.iloc[0]).isdigit()]
    means = [label for label, c in panel.curves.items() if c.attack.iloc[0] == "mean"]
    if not sampled or not means:
        return ""
    other = max(sampled, key=lambda label: int(panel.curves[label].attack_draws.iloc[0]))
    mean, drawn, eps = panel.curves[means[0]], panel.curves[other], informative(panel, other)
    ours, theirs = _rows_of(mean, eps, rows), _rows_of(drawn, eps, rows)
    if not set(ours.repeat) & set(theirs.repeat):
        return ""
    change, size = difference(ours, theirs), eps_text(panel.eps())[eps]
    return (
        f" MEAN, which attacks one average network, leaves {at(mean, eps).value:.3f} at eps {size} where {other} "
        f"leaves {at(drawn, eps).value:.3f}: {_judged(change)}."
    )


def _judged(change: Interval) -> str:
    if change == (0, 0, 0):
        return "the two agree on every input"
    gap = f"difference {change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
    if change.low > 0:
        return f"MEAN is the weaker attack there ({gap})"
    if change.high < 0:
        return f"MEAN is the stronger attack there ({gap})"
    return f"no difference beyond chance ({gap})"


def _rows_of(curve: DataFrame, eps: float, rows: DataFrame) -> DataFrame:
    """The rows behind one point of a curve."""
    first = curve.iloc[0]
    chosen = (rows.role == "sweep") & (rows.eps == eps)
    for column in SERIES:
        chosen &= rows[column] == first[column]
    return rows[chosen]


def _some(sizes: list[float], middle: float) -> list[float]:
    """The smallest, an informative and the largest size; the central one where the informative is at an end."""
    if middle in (sizes[0], sizes[-1]):
        middle = sizes[len(sizes) // 2]
    return sorted({sizes[0], middle, sizes[-1]})


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _word(n: int) -> str:
    return WORDS[n] if n < len(WORDS) else str(n)
