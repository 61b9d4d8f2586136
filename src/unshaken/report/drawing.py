"""How figures look: colours and marks of attacks, intervals, legends, and their files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from unshaken.report.accuracy import Panel
from unshaken.report.stored_run import write
from unshaken.report.wording import eps_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

Content = TypeVar("Content")

INK, MUTED, RULE = "#1f2328", "#6a7079", "#d8dbe0"
"""Text, secondary text, lines: on the page they follow its colour scheme."""

MEAN_COLOUR, MOMENTS_COLOUR = "#d55e00", "#b5179e"
SCHEMES = {"mean": MEAN_COLOUR, "moments": MOMENTS_COLOUR}
COLOURS = {"fgsm": "#0072b2", "fgm": "#0072b2", "pgd": "#009e73", "ifgsm": "#a6761d"}
# one hue for each kind of attack, told apart by every kind of colour vision (after Okabe and Ito, 2008)
OTHERS = ("#6a51a3", "#5b7fd4", "#8c8c8c")

CLEAN = "no attack"
MARKERS = {"fgsm": "o", "fgm": "o", "pgd": "s", "ifgsm": "^", "mean": "D", "moments": "*"}
BROAD_STYLES = {"mean": {"lw": 3.6, "zorder": 1.9, "ms": 7.5}, "moments": {"lw": 2.6, "zorder": 1.95, "ms": 11}}
HOLLOW_STYLE = {"ms": 7, "mfc": "none", "mew": 1.4}
DASHES = ("-", (0, (5, 1.5)), (0, (2, 1)), (0, (5, 1, 1, 1)))

STYLE: Any = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), MUTED),
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon", "text.parse_math"), False),
    **{"font.size": 9, "font.family": "sans-serif", "axes.titlesize": 9, "axes.titlelocation": "left"},
    **{"axes.linewidth": 0.7, "axes.grid.axis": "y", "grid.color": RULE, "grid.linewidth": 0.6},
    "svg.hashsalt": "unshaken",
}
WIDTHS = {False: 7.6, True: 3.7}  # of a figure in inches, by whether it is for a phone

GROUND = re.compile(
    r'(<g id="[^"]*(?:figure|axes)_\d+">\s*<g id="[^"]*patch_\d+">\s*<path d="[^"]*" style="fill: )#ffffff'
)
"""What is behind a figure and its axes: white in a file, nothing on the page."""


class Inline(NamedTuple):
    """A figure as SVG text for the page: for a desktop and for a phone."""

    wide: str
    narrow: str


@contextmanager
def styled(**settings: Any) -> Iterator[None]:
    """The style of the figures, and nobody else's."""
    import matplotlib

    with matplotlib.rc_context(STYLE | settings):
        yield


def write_figure(folder: Path, name: str, make: Callable[[bool], Figure]) -> Inline:
    """<name>.svg, .png, .pdf of `make(False)`; returns it and `make(True)` for the page."""
    with styled(**{"svg.fonttype": "none"}):  # text stays text, which can be searched and edited
        wide, narrow = _settled(make(False)), _settled(make(True))
        files = {kind: _rendered(wide, kind) for kind in ("svg", "png", "pdf")}
        inline = _for_page(files["svg"], f"{name}-wide-"), _for_page(_rendered(narrow, "svg"), f"{name}-narrow-")
    for kind, content in files.items():
        write(folder / f"{name}.{kind}", content)
    return Inline(*inline)


def empty_figure(width: float, height: float) -> Figure:
    """An empty figure in inches, in nobody's list of open figures."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.07))


def facets(
    count: int, *, narrow: bool, height: float, columns: int = 2, more: float = 0.0, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with this many axes of a height in inches: side by side on a desktop, below each other on a phone.

    `more` is extra height, for a legend; `options` go to `subplots`.
    """
    columns = 1 if narrow else min(count, columns)
    rows = -(-count // columns)
    figure = empty_figure(WIDTHS[narrow], height * rows + more)
    axes = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for empty in axes[count:]:
        empty.set_visible(False)
    return figure, axes[:count]


def line_styles(panels: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    """How to draw each curve: hue and marker for the attack, a darker shade for more draws, dashes for the loss."""
    first = {label: curve.iloc[0] for panel in panels for label, curve in panel.curves.items()}
    kinds = sorted({row.attack for row in first.values()} - {*COLOURS, *SCHEMES})
    hues = COLOURS | {kind: OTHERS[i % len(OTHERS)] for i, kind in enumerate(kinds)}
    attacks = {label: (str(row.attack), str(row.attack_draws)) for label, row in first.items()}
    colours, losses = _shades(attacks, hues), list(dict.fromkeys(row.loss for row in first.values()))
    return {
        label: _attack_style(*attacks[label], colours[label]) | {"ls": DASHES[losses.index(row.loss) % len(DASHES)]}
        for label, row in first.items()
    }


def named_styles(labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How to draw one line for each model: those named for an attack (MEAN, PGD-5) as that attack is drawn."""
    attacks = {label: label.lower().partition("-")[::2] for label in labels}
    colours = _shades(attacks, COLOURS)
    others = [label for label, (kind, _) in attacks.items() if kind not in {*COLOURS, *SCHEMES}]
    hues = ["#0072b2", "#c78500", "#009e73", *OTHERS]
    if len(others) < len(labels):  # not the hues of attacks
        hues = [MUTED, *OTHERS[:2], "#cc79a7", INK]
    styles = {label: _attack_style(kind, "", colours[label]) | {"ls": "-"} for label, (kind, _) in attacks.items()}
    for index, label in enumerate(others):
        cycle, hue = divmod(index, len(hues))
        styles[label] = {"color": hues[hue], "lw": 1.6, "marker": "o", "ms": 3.6, "ls": ("-", "--", ":")[cycle % 3]}
    return styles


def _attack_style(kind: str, draws: str, colour: Any) -> dict[str, Any]:
    """MEAN and MOMENTS are broad; another attack on the average network or on the moments has their colour."""
    marker = {"marker": MARKERS.get(kind, "v")}
    if kind in SCHEMES:
        return marker | {"color": SCHEMES[kind], **BROAD_STYLES[kind]}
    if draws in SCHEMES:
        return marker | {"color": SCHEMES[draws], "lw": 1.5, **HOLLOW_STYLE}
    return marker | {"color": colour, "lw": 1.3, "ms": 3.6}


def mark_style(kind: str, draws: str) -> dict[str, Any]:
    """How to draw an attack as one point: MEAN and MOMENTS are large, every other one is hollow."""
    style = _attack_style(kind, draws, OTHERS[0]) | {"ls": "", "zorder": 2.5}
    return style | ({"ms": 1.15 * style["ms"]} if kind in SCHEMES else HOLLOW_STYLE)


def shade(hue: str, counts: Sequence[int], draws: int) -> tuple[float, float, float]:
    """The hue, up to half white: the fewest draws of `counts` are lightest."""
    from matplotlib.colors import to_rgb

    rank = counts.index(draws) if draws in counts else len(counts) - 1
    white = 0.5 * (1 - rank / (len(counts) - 1)) if len(counts) > 1 else 0.0
    red, green, blue = (channel + (1 - channel) * white for channel in to_rgb(hue))
    return red, green, blue


def _shades(attacks: Mapping[str, tuple[str, str]], hues: Mapping[str, str]) -> dict[str, tuple[float, float, float]]:
    """The colour of each attack by label, from its kind and number of draws: darker for more draws of a kind."""
    numbers = {label: int(draws) if draws.isdigit() else 0 for label, (_, draws) in attacks.items()}
    shades = {}
    for label, (kind, _) in attacks.items():
        counts = {numbers[other] for other, (k, draws) in attacks.items() if k == kind and draws.isdigit()}
        shades[label] = shade(hues.get(kind, OTHERS[0]), sorted(counts), numbers[label])
    return shades


def split_label(label: str) -> tuple[str, str, str]:
    """ "FGM-10 (loss cw)" as fgm, 10, loss cw."""
    name, _, rest = label.partition(" (")
    kind, _, draws = name.partition("-")
    return kind.lower(), draws.lower(), rest.removesuffix(")")


def attack_colours(labels: Sequence[str]) -> dict[str, Any]:
    """The colour of each attack by its label: that of MEAN or MOMENTS, or of its kind, darker for more draws."""
    attacks = {label: split_label(label)[:2] for label in labels}
    colours = _shades(attacks, COLOURS)
    return {label: _attack_style(*attack, colours[label])["color"] for label, attack in attacks.items()}


def inference_styles(counts: Sequence[int]) -> dict[int, dict[str, Any]]:
    """How to draw one line for each number of inference draws: more is darker, each with its own marker."""
    counts, style = sorted(counts), {"lw": 1.4, "ms": 4.2, "mfc": "none", "ls": "-"}
    return {n: {"color": shade(OTHERS[0], counts, n), "marker": "osD^v"[i % 5], **style} for i, n in enumerate(counts)}


def draw_lines(axis: Axes, curves: Mapping[str, DataFrame], styles: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracy against eps with interval bars that stand side by side; returns label -> line for the legend."""
    handles: dict[str, Any] = {}
    for index, (label, curve) in enumerate(curves.items()):
        bars = [curve.accuracy - curve.low, curve.high - curve.accuracy]
        offset: Any = {"transform": sideways_offset(axis, index, len(curves)), "ecolor": styles[label]["color"]}
        axis.errorbar(curve.eps, curve.accuracy, bars, fmt="none", elinewidth=1, clip_on=False, **offset)
        (handles[label],) = axis.plot(curve.eps, curve.accuracy, **styles[label])
    return handles


def eps_lines(axis: Axes, curves: Mapping[str, DataFrame], styles: Mapping[str, Any], **labels: Any) -> dict[str, Any]:
    """`draw_lines` with ticks at every eps of a curve; `labels` go to `Axes.set`."""
    eps_axis(axis, sorted({float(eps) for curve in curves.values() for eps in curve.eps}))
    axis.set(**{"xlabel": "eps"} | labels)
    return draw_lines(axis, curves, styles)


def sideways_offset(axis: Axes, index: int, count: int) -> Any:
    """The data of the axes, moved sideways by some points: for mark number `index` of `count` at one eps."""
    from matplotlib.transforms import offset_copy

    points = (index - (count - 1) / 2) * min(2.5, 16 / count)
    return offset_copy(axis.transData, axis.get_figure(root=True), points, units="points")


def eps_axis(axis: Axes, sizes: Sequence[float]) -> None:
    """Ticks at the sizes, left out where they would touch, and accuracy from 0 to 1."""
    span = sizes[-1] - sizes[0]
    margin = 0.06 * span or 0.1 * sizes[0] or 1.0
    texts, ticks = eps_text(sizes), list(sizes[:1])
    gap = (0.1 if max(map(len, texts.values())) <= 4 else 0.18) * span - 1e-9  # "0.15" and "1/255" differ in width
    for size in sizes[1:]:
        if size - ticks[-1] >= gap:
            ticks.append(size)
    axis.set_xticks(ticks, [texts[e] for e in ticks])
    axis.set(xlim=(sizes[0] - margin, sizes[-1] + margin), ylim=(-0.02, 1.02))


def log_axis(axis: Axes, values: Iterable[float], *, most: int = 9) -> None:
    """A horizontal log axis around positive values: at most so many ticks at 1, 2, 5, 10, ... or at powers of ten."""
    finite = [value for value in values if not math.isnan(value)]
    low, high = min(finite) / 1.25, max(finite) * 1.25
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [step * 10.0**power for power in powers for step in ((1, 2, 5) if high / low < 100 else (1,))]
    ticks = [mark for mark in marks if low <= mark <= high]
    ticks = ticks[:: -(-len(ticks) // most) or 1]
    axis.set(xscale="log", xlim=(low, high))
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)


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


def legend(figure: Figure, handles: Mapping[str, Any], *, below: bool) -> None:
    """One legend of the whole figure: beside it, or below in as many columns as its labels leave room for."""
    ordered = dict(sorted(handles.items(), key=lambda item: _rank(item[0])))
    layout: dict[str, Any] = {"loc": "outside right upper", "handlelength": 2.6}
    if below:
        columns = legend_columns(figure.get_figwidth(), list(ordered))
        layout = {"loc": "outside lower center", "ncols": columns, "columnspacing": 1.2}
    figure.legend(ordered.values(), ordered, **layout)


def legend_columns(width: float, labels: Sequence[str]) -> int:
    """In how many columns a legend of this many inches has room for its labels."""
    import numpy as np

    for columns in range(min(len(labels), 6), 1, -1):
        longest = [max(map(len, column)) for column in np.array_split(list(labels), columns) if len(column)]
        if sum(0.075 * length + 0.55 for length in longest) <= width:
            return columns
    return 1


def legend_height(width: float, labels: Sequence[str]) -> float:
    """The inches that a legend below a figure takes."""
    return 0.19 * -(-len(labels) // legend_columns(width, labels)) + 0.2


def _rank(label: str) -> int:
    """No attack first; MEAN and MOMENTS last, after the other attacks with their gradient."""
    if label == CLEAN:
        return 0
    return 3 if label.startswith(("MEAN", "MOMENTS")) else 2 if "-MEAN" in label or "-MOMENTS" in label else 1


def _settled(figure: Figure) -> Figure:
    """The figure with its layout computed once, for every format."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)  # what drawing begins with, without the drawing
    figure.set_layout_engine(None)  # "none" would be an engine too, for which every file is drawn twice
    for axis in figure.axes:  # the solver's last digits depend on the order of the axes, which is not always the same
        left, bottom, width, height = (round(side, 6) for side in axis.get_position(original=True).bounds)
        axis.set_position((left, bottom, width, height))
    return figure


def _rendered(figure: Figure, kind: str) -> bytes:
    """The figure as a file's content, without the date: the same run gives the same bytes."""
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    stream = BytesIO()
    figure.savefig(stream, format=kind, dpi=200, metadata=dated[kind])
    return stream.getvalue()


def _for_page(svg: bytes, prefix: str) -> str:
    """An <svg> element with the page's width, font and colours, on its ground; ids get a prefix, to be unique there."""
    text = svg.decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"|font-family: [^;"]*(; )?', "", text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", text)
    text = GROUND.sub(r"\1none", text)
    for colour, variable in ((INK, "--ink"), (MUTED, "--muted"), (RULE, "--rule")):
        text = text.replace(colour, f"var({variable})")
    return text
