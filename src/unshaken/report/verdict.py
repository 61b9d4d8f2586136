"""The verdict in plain words, and every reason to doubt it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unshaken.evaluation.checks import Finding, check
from unshaken.evaluation.statistics import Interval, accuracy, difference
from unshaken.report.accuracy import Panel, above_chance, accuracy_table, panels, point_at, rows_behind
from unshaken.report.doubts import Histories, doubts
from unshaken.report.section import Section
from unshaken.report.stored_run import StoredRun
from unshaken.report.tables import unit_label
from unshaken.report.wording import eps_text, listed, number_word

if TYPE_CHECKING:
    from pandas import DataFrame


def verdict(
    run: dict[str, Any],
    rows: DataFrame,
    analyses: Mapping[str, DataFrame] | None = None,
    histories: Histories | None = None,
) -> list[str]:
    """How far to believe a run, then what it found, as sentences for a terminal.

    `run` is run.json, `analyses` the rows of its analyses by kind, `histories` the epochs of its trained models.
    """
    from unshaken.report.sections import sections

    known = {model: [dict(epoch) for epoch in epochs] for model, epochs in (histories or {}).items()}
    source = StoredRun(Path(), run, rows, known, {}, dict(analyses or {}))
    found, curves = findings(rows), panels(accuracy_table(rows))
    told = results(source, curves, sections(source, curves))
    return [
        *(
            ["Nothing was attacked, so there is nothing to check."]
            if only_analyses(run, rows)
            else check_summary(found)
        ),
        *(f.sentence for f in found if f.passed is False),
        *doubts(run, rows, histories),
        *(f"{panel}: {text}" if panel else text for panel, text in told),
    ]


def findings(rows: DataFrame) -> list[Finding]:
    """Every check of the rows, doubts first; none where nothing was attacked."""
    return check(rows) if (rows.attack != "none").any() else []


def only_analyses(run: dict[str, Any], rows: DataFrame) -> bool:
    """Whether a run is one of analyses alone: nothing was attacked in it or is going to be."""
    kinds = {unit["kind"] for unit in run.get("units", []) if unit["kind"] != "attack" or unit_label(unit) != "clean"}
    return "analysis" in kinds and "attack" not in kinds and not (rows.attack != "none").any()


def results(source: StoredRun, curves: Sequence[Panel], more: Sequence[Section]) -> list[tuple[str, str]]:
    """(panel, paragraph) for each model and norm, and the sentences of the sections.

    Where a section comes first on the page, its sentences stand for those of single models.
    """
    sentences = [("", sentence) for section in more for sentence in section.sentences]
    if any(section.position == "first" for section in more):
        return sentences
    if all_at_chance(source, curves):
        return [*sentences, *panel_results(source, curves)]
    return [*panel_results(source, curves), *sentences]


def all_at_chance(source: StoredRun, curves: Sequence[Panel]) -> bool:
    """Whether no model that was attacked knows more than chance."""
    return bool(curves) and not any(above_chance(panel, source.rows) for panel in curves)


def panel_results(source: StoredRun, curves: Sequence[Panel]) -> list[tuple[str, str]]:
    """(panel, paragraph) for each model and norm: clean accuracy, the strongest attack, MEAN beside draws."""
    run, rows = source.about, source.rows
    if curves:
        known = [
            panel if above_chance(panel, rows) else panel._replace(title=_model(panel, curves)) for panel in curves
        ]
        return list(dict.fromkeys((panel.title, _panel(panel, run, rows)) for panel in known))
    if not only_analyses(run, rows):
        return [("", "No attack has finished yet, so there is nothing to say about robustness.")]
    clean = [(str(model), accuracy(part)) for model, part in rows.groupby("model", sort=False)]
    told = [f"{found} on {model}" if len(clean) > 1 else str(found) for model, found in clean]
    on = f"{_inputs(run, rows['index'].nunique())} is {listed(told)}" if told else ""
    done = any(unit["kind"] == "analysis" and unit["status"] == "done" for unit in run.get("units", []))
    said = [f"Without an attack, accuracy on {on}."] * bool(told) + ["No analysis has finished yet."] * (not done)
    return [("", sentence) for sentence in said]


def check_summary(found: list[Finding]) -> list[str]:
    """The checks in one sentence."""
    failed, unknown = ([f for f in found if f.passed is state] for state in (False, None))
    made = len(found) - len(unknown)
    if not found:
        return ["There are no rows to check yet."]
    if failed:
        names = ", ".join(f.check for f in failed)
        return [f"{len(failed)} of {made} checks {'raises' if len(failed) == 1 else 'raise'} a doubt: {names}."]
    if not unknown:
        return [f"All {number_word(made)} checks pass."]
    left = ", ".join(f.check for f in unknown)
    if made == 0:
        return [f"No check could be made: {left}."]
    return [f"All {number_word(made)} checks that could be made pass; not made: {left}."]


def _panel(panel: Panel, run: dict[str, Any], rows: DataFrame) -> str:
    strongest = panel.strongest()
    curve = panel.curves[strongest]
    if panel.clean is not None and not above_chance(panel, rows):
        data = _inputs(run, int(curve.n.iloc[0]))
        return (
            f"Without an attack, accuracy on {data} is {panel.clean}, not surely better than chance: accuracy under "
            "attack says nothing about such a model."
        )
    sizes = _some(sorted(e for e in curve.eps if e > 0) or [0.0], panel.informative(strongest))
    texts = eps_text(panel.eps())
    under = listed([f"{point_at(curve, e)} at eps {texts[e]}" for e in sizes])
    among = (
        f"the strongest of the {number_word(len(panel.curves))} attacks" if len(panel.curves) > 1 else "the only attack"
    )
    data = _inputs(run, int(curve.n.iloc[0]))
    clean = "" if panel.clean is None else f"Without an attack, accuracy on {data} is {panel.clean}. "
    return f"{clean}Under {strongest}, {among}, it is {under}.{_mean_sentence(panel, rows)}"


def _model(panel: Panel, curves: Sequence[Panel]) -> str:
    """The model alone, where there are several: one that guesses does so under every attack."""
    return panel.model if len({other.model for other in curves}) > 1 else ""


def _inputs(run: dict[str, Any], n: int) -> str:
    return f"{n:,} " + (f"test inputs of {run['data']['name']}" if run.get("data") else "inputs")


CHEAP = {"mean": "which attacks one average network", "moments": "which takes one pass of means and variances"}
"""Attacks that need one gradient, and what to say of them."""


def _mean_sentence(panel: Panel, rows: DataFrame) -> str:
    """MEAN and MOMENTS beside the one-step attack with the most draws, paired by input, at its informative eps."""
    single = [label for label, c in panel.curves.items() if c.attack.iloc[0] in ("fgsm", "fgm")]
    sampled = [label for label in single if str(panel.curves[label].attack_draws.iloc[0]).isdigit()]
    if not sampled:
        return ""
    other = max(sampled, key=lambda label: _strength(panel.curves[label]))
    drawn, eps, told = panel.curves[other], panel.informative(other), ""
    for attack, what in CHEAP.items():
        label = _same_loss(panel, attack, drawn.loss.iloc[0])
        if label is None:
            continue
        ours, theirs = rows_behind(panel.curves[label], eps, rows), rows_behind(drawn, eps, rows)
        if set(ours.repeat) & set(theirs.repeat):
            beside = f" where {other} leaves {point_at(drawn, eps).value:.3f}" if not told else ""
            told += (
                f" {label}, {what}, leaves {point_at(panel.curves[label], eps).value:.3f} at eps "
                f"{eps_text(panel.eps())[eps]}{beside}: {_judged(attack.upper(), difference(ours, theirs))}."
            )
    return told


def _strength(curve: DataFrame) -> tuple[int, float]:
    """The number of draws of an attack, then how little accuracy it leaves."""
    return int(curve.attack_draws.iloc[0]), -float(curve.accuracy.mean())


def _same_loss(panel: Panel, attack: str, loss: str) -> str | None:
    """The curve of an attack, the one with this loss where there are several."""
    labels = [label for label, curve in panel.curves.items() if curve.attack.iloc[0] == attack]
    return min(labels, key=lambda label: panel.curves[label].loss.iloc[0] != loss, default=None)


def _judged(name: str, change: Interval) -> str:
    if change == (0, 0, 0):
        return "the two agree on every input"
    gap = f"difference {change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
    if change.low > 0:
        return f"{name} is the weaker attack there ({gap})"
    if change.high < 0:
        return f"{name} is the stronger attack there ({gap})"
    return f"no difference beyond chance ({gap})"


def _some(sizes: list[float], middle: float) -> list[float]:
    """The smallest, an informative and the largest size; the central one where the informative is at an end."""
    if middle in (sizes[0], sizes[-1]):
        middle = sizes[len(sizes) // 2]
    return sorted({sizes[0], middle, sizes[-1]})
