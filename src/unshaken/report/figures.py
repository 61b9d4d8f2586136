"""Figures: accuracy against eps, training, and images before and after an attack; one function for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.report.pictures import Pictures, choose
from unshaken.report.source import Source, write
from unshaken.report.tables import NORMS, Panel, eps_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE = "#1f2328", "#6a7079", "#d8dbe0"
"""Text, secondary text, lines: on the page they follow its colour scheme."""

MEAN_COLOUR = "#d55e00"
COLOURS = {"fgsm": "#0072b2", "fgm": "#0072b2", "pgd": "#009e73", "ifgsm": "#a0579b"}
OTHERS = ("#a6761d", "#5b7fd4", "#8c8c8c")
"""One hue for each kind of attack, told apart by every kind of colour vision (after Okabe and Ito, 2008)."""

CLEAN = "no attack"
MARKERS = {"fgsm": "o", "fgm": "o", "pgd": "s", "ifgsm": "^", "mean": "D"}

STYLE = {
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "svg.hashsalt": "unshaken",
}


class Inline(NamedTuple):
    """A figure as SVG text for the page: for a desktop and for a phone."""

    wide: str
    narrow: str


@contextmanager
def _style(**settings: Any) -> Iterator[None]:
    import matplotlib

    style: Any = {**STYLE, **settings}
    with matplotlib.rc_context(style):
        yield


def write_figures(source: Source, found: Sequence[Panel]) -> dict[str, Inline]:
    """figures/<name>.svg, .png, .pdf of every figure there is something for; returns them for the page."""
    makers: dict[str, Callable[[bool], Figure]] = {}
    if found:
        makers["accuracy"] = lambda narrow: accuracy_figure(found, narrow=narrow)
    if source.histories:
        makers["training"] = lambda narrow: training_figure(source.histories, narrow=narrow)
    if (pictures := choose(source, found)) is not None:
        names = source.about.get("data", {}).get("labels", [])
        makers["pictures"] = lambda narrow: picture_figure(pictures, names, narrow=narrow)
    inline = {}
    for name, make in makers.items():
        with _style():
            wide, narrow = _settled(make(False)), _settled(make(True))
            for kind in ("svg", "png", "pdf"):
                write(source.folder / "figures" / f"{name}.{kind}", _rendered(wide, kind))
        with _style(**{"svg.fonttype": "none"}):
            inline[name] = Inline(_for_page(wide, f"{name}-wide-"), _for_page(narrow, f"{name}-narrow-"))
    return inline


@_style()
def accuracy_figure(found: Sequence[Panel], *, narrow: bool = False) -> Figure:
    """Accuracy against eps with 95 % intervals, one line for each attack, one set of axes for each model and norm.

    MEAN is the broad line underneath, and the interval bars of one eps stand side by side, so that attacks of equal
    strength do not hide each other.
    """
    columns = 1 if narrow else min(len(found), 2)
    rows = -(-len(found) // columns)
    figure = _figure(3.7 if narrow else 7.6, (2.6 if narrow else 3.2 if columns > 1 else 3.7) * rows + 0.4 * narrow)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    styles, handles = line_styles(found), dict[str, Any]()
    for place, panel in enumerate(found):
        handles |= _draw_panel(axes[place], panel, styles)
        axes[place].set_ylabel("accuracy" if place % columns == 0 else "")
    for empty in axes[len(found) :]:
        empty.set_visible(False)
    handles = dict(sorted(handles.items(), key=lambda item: (item[0] != CLEAN, item[0].startswith("MEAN"))))
    below: dict[str, Any] = {"loc": "outside lower center", "ncols": 3, "columnspacing": 1.2}
    figure.legend(handles.values(), handles, **(below if narrow else {"loc": "outside right upper"}))
    return figure


@_style()
def training_figure(histories: dict[str, list[dict[str, float]]], *, narrow: bool = False) -> Figure:
    """Loss and training accuracy after every epoch, one line for each model."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(3.7, 4.4) if narrow else _figure(7.6, 2.6)
    axes = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
    palette = ["#0072b2", MEAN_COLOUR, "#009e73", "#a0579b", *OTHERS]
    for axis, key, label in zip(
        axes, ("loss", "accuracy"), ("loss (nats per image)", "training accuracy"), strict=True
    ):
        for place, (model, history) in enumerate(histories.items()):
            epochs, dashes = range(1, len(history) + 1), ("-", "--", ":")[place // len(palette) % 3]
            values = [epoch[key] for epoch in history]
            axis.plot(
                epochs, values, dashes, color=palette[place % len(palette)], lw=1.6, marker="o", ms=3, label=model
            )
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if len(histories) > 1:
        axes[0].legend()
    return figure


@_style()
def picture_figure(pictures: Pictures, names: Sequence[str], *, narrow: bool = False) -> Figure:
    """Images, their perturbations (magnified; grey is no change) and the attacked images, with predicted labels.

    A frame and a bold label mark an image whose right prediction became wrong.
    """
    n = min(len(pictures.labels), 4 if narrow else 8)
    width, (high, wide) = 3.7 if narrow else 7.6, pictures.clean.shape[1:3]
    figure = _figure(width, 3 * (width - 0.8) / n * high / wide * 0.92 + 0.7)
    axes = figure.subplots(3, n, squeeze=False)
    change = (pictures.attacked - pictures.clean) * pictures.gain() + 0.5
    for row, images in enumerate((pictures.clean, change, pictures.attacked)):
        for axis, image in zip(axes[row], images, strict=False):
            _show(axis, image)
    for i in range(n):
        label, before, after = (_name(names, part[i]) for part in (pictures.labels, pictures.before, pictures.after))
        axes[0, i].set_xlabel(label if before == label else f"{before}\n(is {label})", color=MUTED)
        axes[2, i].set_xlabel(after)
        if pictures.fell()[i]:
            axes[2, i].set_xlabel(after, color=MEAN_COLOUR, fontweight="bold")
            axes[2, i].spines[:].set(visible=True, color=MEAN_COLOUR, linewidth=2)
    for axis, told in zip(axes[:, 0], ("clean", f"change\n× {pictures.gain():.2g}", "attacked"), strict=True):
        axis.set_ylabel(told, rotation=0, ha="right", va="center", labelpad=8)
    return figure


def line_styles(found: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    """How to draw each curve: hue and marker by attack, shade by number of draws (more is darker), MEAN broad."""
    first = {label: curve.iloc[0] for panel in found for label, curve in panel.curves.items()}
    kinds = sorted({row.attack for row in first.values()} - {*COLOURS, "mean"})
    hues = COLOURS | {kind: OTHERS[i % len(OTHERS)] for i, kind in enumerate(kinds)}
    losses = sorted({row.loss for row in first.values()})
    styles: dict[str, dict[str, Any]] = {}
    for label, row in first.items():
        dashes = ("-", (0, (5, 1.5)), (0, (2, 1)), (0, (5, 1, 1, 1)))[losses.index(row.loss) % 4]
        if row.attack == "mean":
            styles[label] = {"color": MEAN_COLOUR, "lw": 3.6, "zorder": 1.9, "marker": "D", "ms": 7.5, "ls": dashes}
            continue
        counts = sorted(
            {int(r.attack_draws) for r in first.values() if r.attack == row.attack and r.attack_draws.isdigit()}
        )
        rank = counts.index(int(row.attack_draws)) if row.attack_draws.isdigit() else len(counts) - 1
        shade = _lighter(hues[row.attack], 0.5 * (1 - rank / (len(counts) - 1)) if len(counts) > 1 else 0.0)
        styles[label] = {"color": shade, "lw": 1.3, "marker": MARKERS.get(row.attack, "v"), "ms": 3.6, "ls": dashes}
    return styles


def _draw_panel(axis: Axes, panel: Panel, styles: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One panel; returns label -> line for the legend."""
    from matplotlib.transforms import offset_copy

    handles: dict[str, Any] = {}
    if panel.clean is not None:
        handles[CLEAN] = axis.axhline(panel.clean.value, color=MUTED, ls=(0, (4, 3)), lw=1.2)
    step, middle = min(4.0, 20 / len(panel.curves)), (len(panel.curves) - 1) / 2
    for place, (label, curve) in enumerate(panel.curves.items()):
        bars = [curve.accuracy - curve.low, curve.high - curve.accuracy]
        aside = offset_copy(axis.transData, axis.get_figure(root=True), (place - middle) * step, units="points")
        colour = styles[label]["color"]
        axis.errorbar(curve.eps, curve.accuracy, bars, fmt="none", ecolor=colour, elinewidth=1, transform=aside)
        (handles[label],) = axis.plot(curve.eps, curve.accuracy, **styles[label])
    sizes = panel.eps()
    margin = 0.05 * (sizes[-1] - sizes[0]) or 0.1 * sizes[0] or 1.0
    shown = sizes if len(sizes) <= 6 else sizes[:: -(-len(sizes) // 6)]
    axis.set_xticks(shown, [eps_text(sizes)[e] for e in shown])
    axis.set(xlim=(sizes[0] - margin, sizes[-1] + margin), ylim=(-0.02, 1.02))
    axis.set(xlabel=f"eps, size of the perturbation ({NORMS.get(panel.norm, panel.norm)} norm)", title=panel.title)
    return handles


def _show(axis: Axes, image: Any) -> None:
    """One image (H, W, C) in [0, 1] without axes, pixels kept sharp."""
    axis.imshow(
        image[..., :3] if image.shape[-1] >= 3 else image[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="none"
    )
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    axis.spines[:].set(visible=True, color=RULE)


def _name(names: Sequence[str], label: int) -> str:
    """The name of a class, cut to the width of an image."""
    name = names[label] if label < len(names) else str(label)
    return name if len(name) <= 10 else f"{name[:9]}…"


def _lighter(colour: str, share: float) -> tuple[float, float, float]:
    """The colour mixed with a share of white."""
    from matplotlib.colors import to_rgb

    red, green, blue = (part + (1 - part) * share for part in to_rgb(colour))
    return red, green, blue


def _figure(width: float, height: float) -> Figure:
    """An empty figure in inches, in nobody's list of open figures."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.07))


def _settled(figure: Figure) -> Figure:
    """The figure with its layout found once, for every format."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _rendered(figure: Figure, kind: str, **options: Any) -> bytes:
    """The figure as a file's content, without the date: the same run gives the same bytes."""
    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
    stream = BytesIO()
    figure.savefig(stream, format=kind, dpi=200, metadata=dated[kind], **options)
    return stream.getvalue()


def _for_page(figure: Figure, prefix: str) -> str:
    """An <svg> element that takes the page's width, font and colours; ids get a prefix, to be unique on the page."""
    text = _rendered(figure, "svg", transparent=True).decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"|font-family: [^;"]*(; )?', "", text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", text)
    for colour, variable in ((INK, "--ink"), (MUTED, "--muted"), (RULE, "--rule")):
        text = text.replace(colour, f"var({variable})")
    return text
