"""Figures of every run: accuracy against eps, training, and images before and after an attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unshaken.report.accuracy import NORMS, STEP, Panel
from unshaken.report.drawing import (
    CLEAN,
    INK,
    MEAN_COLOUR,
    MUTED,
    RULE,
    Inline,
    draw_lines,
    empty_figure,
    eps_axis,
    legend,
    legend_height,
    line_styles,
    named_styles,
    styled,
    write_figure,
)
from unshaken.report.groups import group_of, representatives
from unshaken.report.pictures import Pictures, choose_pictures
from unshaken.report.section import Section
from unshaken.report.stored_run import StoredRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


OFF = "mean network alone"


def write_figures(source: StoredRun, found: Sequence[Panel], sections: Sequence[Section] = ()) -> dict[str, Inline]:
    """figures/<name>.svg, .png, .pdf of every figure there is something for; returns them for the page."""
    makers: dict[str, Callable[[bool], Figure]] = {}
    first = representatives(source.about, [panel.model for panel in found])
    if drawn := [panel for panel in drawable_panels(found) if panel.model in first]:
        alone = mean_networks(source.about)
        makers["accuracy"] = lambda narrow: accuracy_figure(drawn, alone, narrow=narrow)
    if source.histories:
        groups = group_of(source.about, list(source.histories))
        makers["training"] = lambda narrow: training_figure(source.histories, groups, narrow=narrow)
    if (pictures := choose_pictures(source, found)) is not None:
        names = source.class_names
        makers["pictures"] = lambda narrow: picture_figure(pictures, names, narrow=narrow)
    makers |= {drawing.name: drawing.make for section in sections for drawing in section.drawings}
    return {name: write_figure(source.folder / "figures", name, make) for name, make in makers.items()}


def drawable_panels(found: Sequence[Panel]) -> list[Panel]:
    """The panels to draw where one has two sizes: at one there is no line, least of all for a step of its own."""
    several = any(len(panel.eps()) > 1 for panel in found)
    return [panel for panel in found if several and (len(panel.eps()) > 1 or panel.apart != STEP)]


def mean_networks(about: dict[str, Any]) -> dict[str, str]:
    """Label of a model -> label of its mean network by itself, where a recipe has both."""
    models = about.get("recipe", {}).get("models", [])
    made = {entry["label"]: [entry.get(word) for word in ("network", "training", "seed", "model")] for entry in models}
    alone = [entry for entry in models if (entry.get("model") or {}).get("kind") == "mean_network"]
    of = [(one["label"], [*made[one["label"]][:3], one["model"]["base"]]) for one in alone]
    return {label: one for one, base in of for label, how in made.items() if how == base}


@styled()
def accuracy_figure(found: Sequence[Panel], alone: Mapping[str, str] | None = None, *, narrow: bool = False) -> Figure:
    """Accuracy against eps with 95 % intervals, one line for each attack, one set of axes for each model and norm.

    MEAN and MOMENTS are the broad lines underneath, and the interval bars of one eps stand side by side, so that
    attacks of equal strength do not hide each other. An attack with several losses is drawn with its strongest. A model
    whose mean network by itself was attacked too (`alone`) has it in its own axes, as a line for each kind of attack.
    """
    found = _with_mean_networks(found, alone or {})
    columns = 1 if narrow else min(len(found), 2)
    rows = -(-len(found) // columns)
    found = [panel.strongest_losses() for panel in found]
    styles, handles = line_styles(found), dict[str, Any]()
    styles |= {label: style | {"color": INK, "ls": ":"} for label, style in styles.items() if label.endswith(OFF)}
    width, height = (3.7, 2.4) if narrow else (7.6, 3.2 if columns > 1 else 3.7)
    below = narrow or max(map(len, styles)) > 18
    figure = empty_figure(width, height * rows + (legend_height(width, [CLEAN, *styles]) if below else 0))
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for place, panel in enumerate(found):
        handles |= _draw_panel(axes[place], panel, styles)
        axes[place].set_ylabel("accuracy" if place % columns == 0 else "")
    for empty in axes[len(found) :]:
        empty.set_visible(False)
    legend(figure, handles, below=below)
    return figure


def _with_mean_networks(found: Sequence[Panel], alone: Mapping[str, str]) -> list[Panel]:
    """The panels without those of mean networks, whose curves join the panel of their model, one of each kind."""
    kept = []
    for panel in found:
        if panel.model in alone.values():
            continue
        own = [p for p in found if p.model == alone.get(panel.model) and (p.norm, p.apart) == (panel.norm, panel.apart)]
        kinds = {f"{c.attack.iloc[0].upper()}, {OFF}": c for p in own for c in reversed(p.curves.values())}
        kept.append(panel._replace(curves=panel.curves | kinds))
    return kept


@styled()
def training_figure(
    histories: dict[str, list[dict[str, Any]]], groups: Mapping[str, str] | None = None, *, narrow: bool = False
) -> Figure:
    """Loss and training accuracy after every epoch: a line for each model, alike for the networks of a group."""
    from matplotlib.ticker import MaxNLocator

    group = {model: (groups or {}).get(model, model) for model in histories}
    labels = list(dict.fromkeys(group.values()))
    many = len(labels) > 5
    figure = (
        empty_figure(3.7, 4.4 + legend_height(3.7, labels) * many)
        if narrow
        else empty_figure(7.6, max(2.6, (0.3 + 0.19 * len(labels)) * many))
    )
    axes = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
    styles, handles = named_styles(labels), dict[str, Any]()
    for axis, key, label in zip(
        axes, ("loss", "accuracy"), ("loss (nats per image)", "training accuracy"), strict=True
    ):
        for model, history in histories.items():
            epochs, values = range(1, len(history) + 1), [epoch[key] for epoch in history]
            (handles[group[model]],) = axis.plot(epochs, values, **styles[group[model]] | {"ms": 3.6})
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if many:
        legend(figure, handles, below=narrow)
    elif len(labels) > 1:
        axes[0].legend(handles.values(), handles)
    return figure


@styled()
def picture_figure(pictures: Pictures, names: Sequence[str], *, narrow: bool = False) -> Figure:
    """Images, their perturbations (magnified; grey is no change) and the attacked images, with predicted labels.

    A frame and a bold label mark an image whose right prediction became wrong.
    """
    n = min(len(pictures.labels), 4 if narrow else 8)
    width, (high, wide) = 3.7 if narrow else 7.6, pictures.clean.shape[1:3]
    figure = empty_figure(width, 3 * (width - 0.8) / n * high / wide * 0.92 + 0.7)
    axes = figure.subplots(3, n, squeeze=False)
    change = (pictures.attacked - pictures.clean) * pictures.gain() + 0.5
    for row, images in enumerate((pictures.clean, change, pictures.attacked)):
        for axis, image in zip(axes[row], images, strict=False):
            show_image(axis, image)
    for i in range(n):
        label, before, after = (_name(names, part[i]) for part in (pictures.labels, pictures.before, pictures.after))
        axes[0, i].set_xlabel(label if before == label else f"{before}\n(is {label})", color=MUTED)
        axes[2, i].set_xlabel(after)
        if pictures.fooled()[i]:
            axes[2, i].set_xlabel(after, color=MEAN_COLOUR, fontweight="bold")
            axes[2, i].spines[:].set(visible=True, color=MEAN_COLOUR, linewidth=2)
    for axis, told in zip(axes[:, 0], ("clean", f"change\n× {pictures.gain():.2g}", "attacked"), strict=True):
        axis.set_ylabel(told, rotation=0, ha="right", va="center", labelpad=8)
    return figure


def _draw_panel(axis: Axes, panel: Panel, styles: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One panel; returns label -> line for the legend."""
    handles: dict[str, Any] = {}
    if panel.clean is not None:
        handles[CLEAN] = axis.axhline(panel.clean.value, color=MUTED, ls=(0, (4, 3)), lw=1.2)
    handles |= draw_lines(axis, panel.curves, styles)
    eps_axis(axis, panel.eps())
    axis.set(xlabel=f"eps, size of the perturbation ({NORMS.get(panel.norm, panel.norm)} norm)", title=panel.title)
    return handles


def show_image(axis: Axes, image: Any) -> None:
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
