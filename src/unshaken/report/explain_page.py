"""The page of `unshaken explain`: some inputs under one attack, and what the conditions say of each, class by class."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.analysis.explanation import REACH, Explanation
from unshaken.report.drawing import INK, MEAN_COLOUR, MUTED, OTHERS, empty_figure, styled, write_figure
from unshaken.report.figures import show_image
from unshaken.report.render import render
from unshaken.report.stored_run import StoredRun, write
from unshaken.report.wording import eps_text, significant_digits

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASSES = 4  # curves of one figure: the classes that come nearest
TANGENT = (0, (5, 2))


class Case(NamedTuple):
    """The place of one input, its image (C, H, W) before and after the attack, and what is known of it."""

    place: int
    clean: np.ndarray
    attacked: np.ndarray
    why: Explanation


def write_explain_page(source: StoredRun, cases: Sequence[Case], attack: str, eps: float) -> Path:
    """Write explain.html and the figures in explain/ into the folder of a run."""
    names = source.class_names
    folder = source.folder / "explain"
    figures = [write_figure(folder, f"input-{case.place}", _maker(case, names)) for case in cases]
    text = render(
        "explain.html.jinja",
        title=f"Why labels fell or stood: {attack}",
        about=f"{source.about.get('title') or source.about.get('name', '')}. eps {eps_text([eps])[eps]}.",
        reach=f"{REACH:g}",
        smooth=cases[0].why.smoothness is not None,
        cases=[
            {
                "place": case.place,
                "outcome": outcome_text(case.why),
                "sentences": case_sentences(case.why, names),
                "figure": figure,
                "head": _head(case.why),
                "rows": _rows(case.why, names),
            }
            for case, figure in zip(cases, figures, strict=True)
        ],
    )
    return write(source.folder / "explain.html", text)


def _maker(case: Case, names: Sequence[str]) -> Callable[[bool], Figure]:
    return lambda narrow: case_figure(case, names, narrow=narrow)


def outcome_text(why: Explanation) -> str:
    """One word or two for what happened to the label."""
    found = why.robustness
    if not found.correct:
        return "wrong before the attack"
    return "stood" if found.survived else "fell"


def case_sentences(why: Explanation, names: Sequence[str]) -> list[str]:
    """What happened, by how much, and what would have to change for the label to fall, or to stand."""
    found, label, after = why.robustness, _name(names, why.label), int(why.after.argmax())
    told = [
        f"It is {label}, with probability {_share(why.before[why.label])} before the attack and "
        f"{_share(why.after[why.label])} after it"
        + ("." if after == why.label else f", when {_name(names, after)} has {_share(why.after[after])}.")
    ]
    if not found.correct:
        seen = _name(names, int(why.before.argmax()))
        return [*told, f"It was taken for {seen} before the attack, so there is no label to defend."]
    if found.length == 0:
        return [*told, "The attack did not move it."]
    return [*told, _first_order(why, names), _change(why)]


def _first_order(why: Explanation, names: Sequence[str]) -> str:
    """The margin of the nearest class, and what the perturbation takes of it to first order."""
    found, at = why.robustness, why.nearest
    margin, slope = float(found.margin[at]), float(found.slope[at])
    takes = f"takes {_number(-slope)} of it away" if slope < 0 else f"adds {_number(slope)} to it"
    promise = "stands" if found.linear else "falls"
    return (
        f"Its margin over {_name(names, at)} is {_number(margin)}; to first order the perturbation {takes} "
        f"(gradient norm {_number(float(found.gradient_norm[at]))} × length {_number(float(found.length))} × cosine "
        f"{float(found.cosine[at]):.2f}), so by the linear condition the label {promise}"
        f"{', as it does' if bool(found.linear) == bool(found.survived) else ', which it does not'}."
    )


def _change(why: Explanation) -> str:
    """What would have to change for the label to fall, or to stand: the length of the perturbation, or its angle."""
    found, falls, stood = why.robustness, why.falls_at, bool(why.robustness.survived)
    ratio = float(found.linear_distance.min() / found.length)
    in_fact = f"{falls:.2f} times" if falls is not None else f"more than {REACH:g} times"
    if not math.isfinite(ratio):
        return (
            f"To first order it falls nowhere in this direction; in fact at {in_fact} the length of the perturbation."
        )
    if stood:
        length = f"For the label to fall, the perturbation would have to be {ratio:.2f} times as long by the linear "
        length += f"condition, {in_fact} in fact"
    else:
        length = (
            f"For the label to stand, the perturbation would have to be shorter than {ratio:.2f} times its length by "
        )
        length += f"the linear condition, {in_fact} in fact"
    return f"{length}; {_angle(why, stood=stood)}."


def _angle(why: Explanation, *, stood: bool) -> str:
    """What another direction of the same length could do."""
    found = why.robustness
    if why.needed_length > found.length:
        return f"to first order no direction of this length is enough, the best one needs {_number(why.needed_length)}"
    if why.needed_cosine < -1:
        return f"to first order a direction towards another class needs a length of only {_number(why.needed_length)}"
    side, at = "below" if stood else "above", float(found.cosine[why.nearest])
    return f"to first order its cosine at this length would have to be {side} {why.needed_cosine:.2f}, and is {at:.2f}"


@styled()
def case_figure(case: Case, names: Sequence[str], *, narrow: bool = False) -> Figure:
    """Image, change and attacked image; and the margins along the perturbation with their tangents at the image."""
    figure = empty_figure(3.7, 4.6) if narrow else empty_figure(7.6, 3.0)
    layout: Any = [["a", "b", "c"], ["d", "d", "d"]] if narrow else [["a", "d"], ["b", "d"], ["c", "d"]]
    ratios: dict[str, Any] = {"height_ratios": [1, 2.6]} if narrow else {"width_ratios": [1, 4.2]}
    axes = figure.subplot_mosaic(layout, **ratios)
    clean, attacked = (image.transpose(1, 2, 0) for image in (case.clean, case.attacked))
    change = attacked - clean
    largest = float(abs(change).max())
    gain = 0.5 / largest if largest > 0 else 1.0
    told = ("clean", f"change × {gain:.2g}", "attacked")
    for axis, image, what in zip(
        (axes["a"], axes["b"], axes["c"]), (clean, change * gain + 0.5, attacked), told, strict=True
    ):
        show_image(axis, image)
        axis.set_xlabel(what, size=8, color=MUTED)
    _margins(axes["d"], case.why, names)
    return figure


def _margins(axis: Axes, why: Explanation, names: Sequence[str]) -> None:
    """f_y − f_c along the perturbation, with the tangent and the smooth bound of the class that is nearest."""
    scales, found = why.scales.numpy(), why.robustness
    lowest = why.margins.amin(0)
    rest = sorted((c for c in range(len(lowest)) if c not in (why.label, why.nearest)), key=lambda c: float(lowest[c]))
    order = [why.nearest, *rest][:CLASSES]
    for place, c in enumerate(order):
        colour = [MEAN_COLOUR, *OTHERS][place % (1 + len(OTHERS))]
        axis.plot(
            scales,
            why.margins[:, c].numpy(),
            color=colour,
            lw=2 if place == 0 else 1.2,
            label=f"over {_name(names, c)}",
        )
    at = why.nearest
    line = float(found.margin[at]) + scales * float(found.slope[at])
    axis.plot(scales, line, color=MEAN_COLOUR, ls=TANGENT, lw=1, label="its tangent")
    if why.smoothness is not None:
        bound = line - why.smoothness * (scales * float(found.length)) ** 2
        axis.plot(scales, bound, color=MUTED, ls=":", lw=1.2, label="smooth bound")
    axis.axhline(0, color=INK, lw=0.8)
    axis.axvline(1, color=MUTED, lw=0.8, ls=(0, (4, 3)))
    low = float(min(0.0, float(why.margins[:, order].min())))
    axis.set(xlim=(0, REACH), ylim=(max(-1.05, low - 0.1), 1.05), xlabel="times the perturbation (1: the attack)")
    axis.set_ylabel("margin of the label")
    axis.legend(fontsize=7.5, loc="best", ncols=2, handlelength=1.6, columnspacing=1.2)


def _head(why: Explanation) -> list[str]:
    head = [
        "class",
        "probability before",
        "after",
        "margin",
        "first-order change",
        "‖gradient‖",
        "cosine",
        "linear distance",
    ]
    return head + ["smooth distance"] * (why.smoothness is not None)


def _rows(why: Explanation, names: Sequence[str]) -> list[tuple[bool, list[str]]]:
    """(whether it is the nearest class, cells) for the label and every other class, the nearest first."""
    found = why.robustness
    others = sorted(
        (c for c in range(len(why.before)) if c != why.label), key=lambda c: float(found.linear_distance[c])
    )
    rows = []
    for c in [why.label, *others]:
        cells = [_name(names, c), _share(why.before[c]), _share(why.after[c])]
        if c == why.label:
            cells += [""] * 5 + [""] * (why.smoothness is not None)
        else:
            parts = [found.margin[c], found.slope[c], found.gradient_norm[c]]
            cells += [f"{float(part):.3f}" for part in parts]
            cells += [_or_dash(found.cosine[c], 2), _or_dash(found.linear_distance[c], 3)]
            cells += [_or_dash(found.smooth_distance[c], 3)] if found.smooth_distance is not None else []
        rows.append((c == why.nearest, cells))
    return rows


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if label < len(names) else f"class {label}"


def _share(value: Any) -> str:
    return f"{float(value):.3f}"


def _number(value: float) -> str:
    return significant_digits(value) if value > 0 else f"{value:.3f}"


def _or_dash(value: Any, decimals: int) -> str:
    """A number; ∞ as such, and nothing where there is none."""
    number = float(value)
    return "∞" if math.isinf(number) else "" if math.isnan(number) else f"{number:.{decimals}f}"
