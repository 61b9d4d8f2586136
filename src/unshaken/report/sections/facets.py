"""Figures of several axes: one for each model, attack or group, with one legend of all lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unshaken.report.drawing import WIDTHS, facets, legend, legend_height

Content = TypeVar("Content")


def facet_figure(
    contents: Sequence[Content],
    draw: Callable[[Axes, Content], Mapping[str, Any] | None],
    *,
    narrow: bool,
    height: float | tuple[float, float, float],
    columns: int = 2,
    ylabel: str = "",
    labels: Sequence[str] = (),
    below: bool = True,
    **options: Any,
) -> Figure:
    """One set of axes for each of `contents`, and one legend of `labels`, where there are any.

    `height` in inches is that of every set of axes, or (of a single one, of one of several, of one on a phone).
    `draw(axis, content)` returns {label: line}, or None where there is no legend. `ylabel` stands at the axes on the
    left, and labels of y axes stand there alone if these are shared; `options` go to `subplots`.
    """
    if isinstance(height, tuple):
        height = height[2 if narrow else len(contents) > 1]
    more = legend_height(WIDTHS[narrow], labels) if labels and below else 0.0
    figure, axes = facets(len(contents), narrow=narrow, height=height, columns=columns, more=more, **options)
    handles: dict[str, Any] = {}
    for index, (axis, content) in enumerate(zip(axes, contents, strict=True)):
        handles |= draw(axis, content) or {}
        left = index % (1 if narrow else columns) == 0
        if (ylabel and left) or (options.get("sharey") and not left):
            axis.set_ylabel(ylabel if left else "")
    if labels:
        legend(figure, {label: handles[label] for label in labels}, below=below)
    return figure


def row_ticks(axis: Axes, names: Sequence[str], **labels: Any) -> None:
    """The names of boxes or bars below each other, and a grid across them; `labels` go to `tick_params`."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0, **labels)
    axis.grid(True, axis="x")
    axis.grid(False, axis="y")
