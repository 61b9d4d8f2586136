"""The page of `unshaken explain`: some inputs under one attack, and what the conditions say of each, class by class."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unshaken.analysis.explanation import REACH, Explanation
from unshaken.report.drawing import INK, MEAN_COLOUR, MUTED, OTHERS, Inline, empty_figure, styled, write_figure
from unshaken.report.figures import gain, show_image
from unshaken.report.section import Wording, render
from unshaken.report.stored_run import StoredRun, write
from unshaken.report.wording import eps_text, significant_digits

WORDING = Wording("explain")
CLASSES = 4  # curves of one figure: the classes that come nearest
TANGENT = (0, (5, 2))


class Case(NamedTuple):
    """The index of one input, its image (C, H, W) before and after the attack, and what is known of it."""

    input_index: int
    clean: np.ndarray
    attacked: np.ndarray
    why: Explanation


class CaseText(NamedTuple):
    """What the page says of one input; a row of its table is (whether it is the nearest class, cells)."""

    input_index: int
    outcome: str
    sentences: list[str]
    figure: Inline
    head: list[str]
    rows: list[tuple[bool, list[str]]]


def write_explain_page(source: StoredRun, cases: Sequence[Case], attack: str, eps: float) -> Path:
    """Write explain.html and the figures in explain/ into the folder of a run."""
    names, texts = source.record.data.labels, []
    for case in cases:
        index, why = case.input_index, case.why
        figure = write_figure(source.folder / "explain", f"input-{index}", partial(case_figure, case, names))
        sentences = case_sentences(why, names)
        texts.append(CaseText(index, outcome_text(why), sentences, figure, _head(why), _rows(why, names)))
    text = render(
        "explain.html.jinja",
        title=f"Why labels fell or stood: {attack}",
        about=f"{source.record.recipe.title or source.record.name}. eps {eps_text([eps])[eps]}.",
        reach=f"{REACH:g}",
        smooth=cases[0].why.smoothness is not None,
        cases=texts,
    )
    return write(source.folder / "explain.html", text)


def outcome_text(why: Explanation) -> str:
    """One word or two for what happened to the label."""
    if not why.robustness.correct:
        return "wrong before the attack"
    return "stood" if why.robustness.survived else "fell"


def case_sentences(why: Explanation, names: Sequence[str]) -> list[str]:
    """What happened, by how much, and what would have to change for the label to fall, or to stand."""
    name = partial(_name, names)
    probabilities = WORDING.probabilities(why, name, int(why.after.argmax()))
    if not why.robustness.correct:
        return [probabilities, WORDING.wrong_before(name(int(why.before.argmax())))]
    if why.robustness.length == 0:
        return [probabilities, WORDING.unmoved()]
    ratio = float(why.robustness.linear_distance.min() / why.robustness.length)
    return [probabilities, WORDING.first_order(why, name, _number), WORDING.change(why, ratio, f"{REACH:g}", _number)]


@styled()
def case_figure(case: Case, names: Sequence[str], narrow: bool = False) -> Figure:
    """Image, change and attacked image; and the margins along the perturbation with their tangents at the image."""
    figure = empty_figure(3.7, 4.6) if narrow else empty_figure(7.6, 3.0)
    layout = "abc;ddd" if narrow else "ad;bd;cd"
    ratios: dict[str, Any] = {"height_ratios": [1, 2.6]} if narrow else {"width_ratios": [1, 4.2]}
    axes = figure.subplot_mosaic(layout, **ratios)
    clean, attacked = (image.transpose(1, 2, 0) for image in (case.clean, case.attacked))
    magnified = gain(clean, attacked)
    titles = ("clean", f"change × {magnified:.2g}", "attacked")
    images = (clean, (attacked - clean) * magnified + 0.5, attacked)
    for key, title, image in zip("abc", titles, images, strict=True):
        show_image(axes[key], image)
        axes[key].set_xlabel(title, size=8, color=MUTED)
    _margins(axes["d"], case.why, names)
    return figure


def _margins(axis: Axes, why: Explanation, names: Sequence[str]) -> None:
    """f_y − f_c along the perturbation, with the tangent and the smooth bound of the class that is nearest."""
    scales, robustness, nearest = why.scales.numpy(), why.robustness, why.nearest
    lowest = why.margins.amin(0)
    others = sorted({*range(len(lowest))} - {why.label, nearest}, key=lambda c: (float(lowest[c]), c))
    classes, colours = [nearest, *others][:CLASSES], [MEAN_COLOUR, *OTHERS]
    for c, colour in zip(classes, colours, strict=False):
        width, label = 2 if c == nearest else 1.2, f"over {_name(names, c)}"
        axis.plot(scales, why.margins[:, c].numpy(), color=colour, lw=width, label=label)
    tangent = float(robustness.margin[nearest]) + scales * float(robustness.slope[nearest])
    axis.plot(scales, tangent, color=MEAN_COLOUR, ls=TANGENT, lw=1, label="its tangent")
    if why.smoothness is not None:
        bound = tangent - why.smoothness * (scales * float(robustness.length)) ** 2
        axis.plot(scales, bound, color=MUTED, ls=":", lw=1.2, label="smooth bound")
    axis.axhline(0, color=INK, lw=0.8)
    axis.axvline(1, color=MUTED, lw=0.8, ls=(0, (4, 3)))
    low = min(0.0, float(why.margins[:, classes].min()))
    axis.set(xlim=(0, REACH), ylim=(max(-1.05, low - 0.1), 1.05), xlabel="times the perturbation (1: the attack)")
    axis.set_ylabel("margin of the label")
    axis.legend(fontsize=7.5, loc="best", ncols=2, handlelength=1.6, columnspacing=1.2)


def _head(why: Explanation) -> list[str]:
    head = ["class", "probability before", "after", "margin", "first-order change", "‖gradient‖", "cosine"]
    return [*head, "linear distance", *["smooth distance"] * (why.smoothness is not None)]


def _rows(why: Explanation, names: Sequence[str]) -> list[tuple[bool, list[str]]]:
    """(whether it is the nearest class, cells) for the label and every other class, the nearest first."""
    robustness = why.robustness
    others = sorted({*range(len(why.before))} - {why.label}, key=lambda c: (float(robustness.linear_distance[c]), c))
    rows = []
    for c in [why.label, *others]:
        numbers = (robustness.margin[c], robustness.slope[c], robustness.gradient_norm[c])
        cells = [*(f"{number:.3f}" for number in numbers), _finite(robustness.cosine[c], 2)]
        cells.append(_finite(robustness.linear_distance[c], 3))
        cells += [_finite(robustness.smooth_distance[c], 3)] if robustness.smooth_distance is not None else []
        cells = [""] * len(cells) if c == why.label else cells
        rows.append((c == why.nearest, [_name(names, c), f"{why.before[c]:.3f}", f"{why.after[c]:.3f}", *cells]))
    return rows


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if label < len(names) else f"class {label}"


def _number(value: Any) -> str:
    value = float(value)
    return significant_digits(value) if value > 0 else f"{value:.3f}"


def _finite(value: Any, decimals: int) -> str:
    """A number; ∞ as such, and nothing if there is none."""
    number = float(value)
    return "∞" if math.isinf(number) else "" if math.isnan(number) else f"{number:.{decimals}f}"
