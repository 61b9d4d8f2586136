"""The verdict in plain words: how far to believe a run, then what it found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from unshaken.evaluation.checks import Finding
from unshaken.evaluation.statistics import accuracy, difference
from unshaken.report.accuracy import Panel, above_chance, point_at, rows_behind
from unshaken.report.doubts import doubts
from unshaken.report.section import Section, Wording
from unshaken.report.stored_run import StoredRun
from unshaken.report.tables import unit_label
from unshaken.report.wording import eps_text

if TYPE_CHECKING:
    from pandas import DataFrame

WORDING = Wording("verdict")


class Paragraph(NamedTuple):
    """What is said of one panel, by its title; the title is "" for sentences on the whole run."""

    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.title}: {self.text}" if self.title else self.text


def verdict(source: StoredRun, curves: Sequence[Panel], sections: Sequence[Section]) -> list[str]:
    """How far to believe a run, then what it found, as sentences for a terminal."""
    checks = source.checks
    nothing = ["Nothing was attacked, so there is nothing to check."]
    return [
        *(nothing if only_analyses(source) else [check_summary(checks)]),
        *(finding.sentence for finding in checks if finding.passed is False),
        *doubts(source),
        *map(str, results(source, curves, sections)),
    ]


def only_analyses(source: StoredRun) -> bool:
    """Whether a run is one of analyses alone: nothing was attacked in it or is going to be."""
    kinds = {unit.kind for unit in source.record.units if unit.kind != "attack" or unit_label(unit) != "clean"}
    return "analysis" in kinds and "attack" not in kinds and not (source.rows.attack != "none").any()


def results(source: StoredRun, curves: Sequence[Panel], sections: Sequence[Section]) -> list[Paragraph]:
    """A paragraph for each model and norm, and the sentences of the sections.

    Where a section comes first on the page, its sentences stand for those of single models.
    """
    sentences = [Paragraph("", sentence) for section in sections for sentence in section.sentences]
    if any(section.position == "first" for section in sections):
        return sentences
    single = panel_results(source, curves)
    return [*sentences, *single] if all_at_chance(source, curves) else [*single, *sentences]


def all_at_chance(source: StoredRun, curves: Sequence[Panel]) -> bool:
    """Whether no model that was attacked knows more than chance."""
    return bool(curves) and not any(above_chance(panel, source.rows) for panel in curves)


def panel_results(source: StoredRun, curves: Sequence[Panel]) -> list[Paragraph]:
    """A paragraph for each model and norm: clean accuracy, the strongest attack, MEAN beside draws.

    A model that guesses does so under every attack, so it has one paragraph.
    """
    if not curves:
        return [Paragraph("", sentence) for sentence in _without_attacks(source)]
    several = len({panel.model for panel in curves}) > 1
    paragraphs = []
    for panel in curves:
        n = int(panel.curves[panel.strongest()].n.iloc[0])
        clean = "" if panel.clean is None else WORDING.clean([str(panel.clean)], n, source.record.data.name)
        if above_chance(panel, source.rows):
            paragraphs.append(Paragraph(panel.title, _attacked(panel, source.rows, clean)))
        else:
            text = f"{clean}, not surely better than chance: accuracy under attack says nothing about such a model."
            paragraphs.append(Paragraph(panel.model if several else "", text))
    return list(dict.fromkeys(paragraphs))


def _without_attacks(source: StoredRun) -> list[str]:
    """What is said of a run in which nothing was attacked: clean accuracies, and what is missing."""
    if not only_analyses(source):
        return ["No attack has finished yet, so there is nothing to say about robustness."]
    sentences = []
    if clean := {model: accuracy(rows) for model, rows in source.rows.groupby("model", sort=False)}:
        texts = [f"{interval} on {model}" if len(clean) > 1 else str(interval) for model, interval in clean.items()]
        sentences.append(f"{WORDING.clean(texts, source.rows['index'].nunique(), source.record.data.name)}.")
    if not any(unit.kind == "analysis" and unit.status == "done" for unit in source.record.units):
        sentences.append("No analysis has finished yet.")
    return sentences


def check_summary(findings: list[Finding]) -> str:
    """The checks in one sentence."""
    failed, unknown = ([f.check for f in findings if f.passed is state] for state in (False, None))
    return WORDING.check_summary(len(findings), failed, unknown)


def _attacked(panel: Panel, rows: DataFrame, clean: str) -> str:
    """Accuracy without an attack and under the strongest, at the smallest, an informative and the largest size."""
    strongest, texts = panel.strongest(), eps_text(panel.eps())
    curve = panel.curves[strongest]
    sizes = sorted(eps for eps in curve.eps if eps > 0) or [0.0]
    middle = panel.informative(strongest)
    if middle in (sizes[0], sizes[-1]):
        middle = sizes[len(sizes) // 2]
    under = [f"{point_at(curve, eps)} at eps {texts[eps]}" for eps in sorted({sizes[0], middle, sizes[-1]})]
    attacked = WORDING.attacked(clean, strongest, len(panel.curves), under)
    return " ".join([attacked, *_mean_sentences(panel, rows)])


def _mean_sentences(panel: Panel, rows: DataFrame) -> list[str]:
    """MEAN and MOMENTS beside the one-step attack with the most draws, paired by input, at its informative eps."""
    first = {label: curve.iloc[0] for label, curve in panel.curves.items()}
    draws = {label: str(row.attack_draws) for label, row in first.items() if row.attack in ("fgsm", "fgm")}
    sampled = {label: int(number) for label, number in draws.items() if number.isdigit()}
    if not sampled:
        return []
    other = max(sampled, key=lambda label: (sampled[label], -float(panel.curves[label].accuracy.mean())))
    eps, sentences = panel.informative(other), list[str]()
    drawn, theirs = point_at(panel.curves[other], eps).value, rows_behind(panel.curves[other], eps, rows)
    for kind in ("mean", "moments"):
        labels = [label for label, row in first.items() if row.attack == kind]
        if not labels:
            continue
        label = min(labels, key=lambda label: first[label].loss != first[other].loss)
        ours = rows_behind(panel.curves[label], eps, rows)
        if set(ours.repeat) & set(theirs.repeat):
            beside = "" if sentences else f" where {other} leaves {drawn:.3f}"
            value, size = point_at(panel.curves[label], eps).value, eps_text(panel.eps())[eps]
            sentences.append(WORDING.one_gradient(kind, label, value, size, beside, difference(ours, theirs)))
    return sentences
