"""Figures of every run: accuracy against eps, training, and images before and after an attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.report.accuracy import NORMS, SERIES, STEP, Panel
from unshaken.report.drawing import (
    CLEAN,
    INK,
    MEAN_COLOUR,
    MUTED,
    RULE,
    WIDTHS,
    Inline,
    empty_figure,
    eps_lines,
    facet_figure,
    line_styles,
    named_styles,
    styled,
    write_figure,
)
from unshaken.report.groups import group_of, representatives
from unshaken.report.section import Section
from unshaken.report.stored_run import Examples, StoredRun
from unshaken.runs.record import RunRecord
from unshaken.training import Epoch

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


OFF = "mean network alone"  # of a curve: its model is the mean network of the one that the axes belong to


class Pictures(NamedTuple):
    """n images (n, H, W, C) before and after one attack; labels, and what is predicted before and after, (n,)."""

    attack: str
    model: str
    eps: float
    clean: np.ndarray
    attacked: np.ndarray
    labels: list[int]
    before: list[int]
    after: list[int]

    def fooled(self) -> list[bool]:
        """Whether a correct prediction became a wrong one."""
        predictions = zip(self.labels, self.before, self.after, strict=True)
        return [before == label != after for label, before, after in predictions]

    def gain(self) -> float:
        """What the perturbations are multiplied by to fill the range of grey."""
        return gain(self.clean, self.attacked)


def write_figures(source: StoredRun, curves: Sequence[Panel], sections: Sequence[Section] = ()) -> dict[str, Inline]:
    """figures/<name>.svg, .png, .pdf of every figure there is something for; returns them for the page."""
    makers: dict[str, Callable[[bool], Figure]] = {}
    first = representatives(source.record, [panel.model for panel in curves])
    if drawn := [panel for panel in drawable_panels(curves) if panel.model in first]:
        alone = mean_networks(source.record)
        makers["accuracy"] = lambda narrow: accuracy_figure(drawn, alone, narrow=narrow)
    if source.histories:
        groups = group_of(source.record, list(source.histories))
        makers["training"] = lambda narrow: training_figure(source.histories, groups, narrow=narrow)
    if (pictures := choose_pictures(source, curves)) is not None:
        makers["pictures"] = lambda narrow: picture_figure(pictures, source.record.data.labels, narrow=narrow)
    makers |= {drawing.name: drawing.make for section in sections for drawing in section.drawings}
    return {name: write_figure(source.folder / "figures", name, make) for name, make in makers.items()}


def drawable_panels(curves: Sequence[Panel]) -> list[Panel]:
    """The panels to draw if one has two sizes: at one there is no line, least of all for a step of its own."""
    several = any(len(panel.eps()) > 1 for panel in curves)
    return [panel for panel in curves if several and (len(panel.eps()) > 1 or panel.apart != STEP)]


def mean_networks(record: RunRecord) -> dict[str, str]:
    """Label of a model -> label of its mean network by itself, where a recipe has both."""
    alone: dict[str, str] = {}
    for config in record.recipe.models:
        if config.model.kind == "mean_network":
            random = replace(config, model=config.model.arguments["base"])
            alone |= {c.label: config.label for c in record.recipe.models if replace(c, label=config.label) == random}
    return alone


@styled()
def accuracy_figure(curves: Sequence[Panel], alone: Mapping[str, str] | None = None, *, narrow: bool = False) -> Figure:
    """Accuracy against eps with 95 % intervals, one line for each attack, one set of axes for each model and norm.

    MEAN and MOMENTS are the broad lines underneath, and the interval bars of one eps stand side by side, so that
    attacks of equal strength do not hide each other. An attack with several losses is drawn with its strongest. A model
    whose mean network by itself was attacked too (`alone`) has it in its own axes, as a line for each kind of attack.
    """
    drawn = [panel.strongest_losses() for panel in _with_mean_networks(curves, alone or {})]
    styles = line_styles(drawn)
    styles |= {label: style | {"color": INK, "ls": ":"} for label, style in styles.items() if label.endswith(OFF)}

    def draw(axis: Axes, panel: Panel) -> dict[str, Any]:
        handles: dict[str, Any] = {}
        if panel.clean is not None:
            handles[CLEAN] = axis.axhline(panel.clean.value, color=MUTED, ls=(0, (4, 3)), lw=1.2)
        xlabel = f"eps, size of the perturbation ({NORMS.get(panel.norm, panel.norm)} norm)"
        return handles | eps_lines(axis, panel.curves, styles, xlabel=xlabel, title=panel.title)

    labels = [CLEAN] * any(panel.clean is not None for panel in drawn) + [*styles]
    options: dict[str, Any] = {"labels": labels, "below": narrow or max(map(len, styles)) > 18, "sharey": True}
    return facet_figure(drawn, draw, narrow=narrow, height=(3.7, 3.2, 2.4), ylabel="accuracy", **options)


def _with_mean_networks(curves: Sequence[Panel], alone: Mapping[str, str]) -> list[Panel]:
    """The panels without those of mean networks, whose curves join the panel of their model, one of each kind."""
    joined = []
    for panel in curves:
        if panel.model not in alone.values():
            wanted = (alone.get(panel.model), panel.norm, panel.apart)
            means = [other for other in curves if (other.model, other.norm, other.apart) == wanted]
            kinds = {f"{c.attack.iloc[0].upper()}, {OFF}": c for p in means for c in reversed(p.curves.values())}
            joined.append(panel._replace(curves=panel.curves | kinds))
    return joined


@styled()
def training_figure(
    histories: Mapping[str, Sequence[Epoch]], groups: Mapping[str, str] | None = None, *, narrow: bool = False
) -> Figure:
    """Loss and training accuracy after every epoch: a line for each model, alike for the networks of a group."""
    from matplotlib.ticker import MaxNLocator

    group = {model: (groups or {}).get(model, model) for model in histories}
    labels = list(dict.fromkeys(group.values()))
    many, styles = len(labels) > 5, named_styles(labels)
    quantities = {"loss": "loss (nats per image)", "accuracy": "training accuracy"}

    def draw(axis: Axes, quantity: str) -> dict[str, Any]:
        handles = {}
        for model, history in histories.items():
            epochs, values = range(1, len(history) + 1), [getattr(epoch, quantity) for epoch in history]
            (handles[group[model]],) = axis.plot(epochs, values, **styles[group[model]] | {"ms": 3.6})
        axis.set(xlabel="epoch", ylabel=quantities[quantity])
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if quantity == "loss" and len(labels) > 1 and not many:
            axis.legend(handles.values(), handles)
        return handles

    height = 2.2 if narrow else max(2.6, 0.3 + 0.19 * many * len(labels))
    named = labels if many else ()
    return facet_figure(list(quantities), draw, narrow=narrow, height=height, labels=named, below=narrow)


@styled()
def picture_figure(pictures: Pictures, names: Sequence[str], *, narrow: bool = False) -> Figure:
    """Images, their perturbations (magnified; grey is no change) and the attacked images, with predicted labels.

    A frame and a bold label mark an image whose right prediction became wrong.
    """
    n = min(len(pictures.labels), 4 if narrow else 8)
    width, (high, wide) = WIDTHS[narrow], pictures.clean.shape[1:3]
    figure = empty_figure(width, 3 * (width - 0.8) / n * high / wide * 0.92 + 0.7)
    axes, gain = figure.subplots(3, n, squeeze=False), pictures.gain()
    change = (pictures.attacked - pictures.clean) * gain + 0.5
    titles = ("clean", f"change\n× {gain:.2g}", "attacked")
    for row, images, title in zip(axes, (pictures.clean, change, pictures.attacked), titles, strict=True):
        row[0].set_ylabel(title, rotation=0, ha="right", va="center", labelpad=8)
        for axis, image in zip(row, images, strict=False):
            show_image(axis, image)
    for i, fooled in enumerate(pictures.fooled()[:n]):
        label, before, after = (_name(names, ids[i]) for ids in (pictures.labels, pictures.before, pictures.after))
        axes[0, i].set_xlabel(label if before == label else f"{before}\n(is {label})", color=MUTED)
        axes[2, i].set_xlabel(after)
        if fooled:
            axes[2, i].set_xlabel(after, color=MEAN_COLOUR, fontweight="bold")
            axes[2, i].spines[:].set(visible=True, color=MEAN_COLOUR, linewidth=2)
    return figure


def show_image(axis: Axes, image: Any) -> None:
    """One image (H, W, C) in [0, 1] without axes, pixels kept sharp."""
    pixels = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="none")
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    axis.spines[:].set(visible=True, color=RULE)


def _name(names: Sequence[str], label: int) -> str:
    """The name of a class, cut to the width of an image."""
    name = names[label] if label < len(names) else str(label)
    return name if len(name) <= 10 else f"{name[:9]}…"


def gain(clean: np.ndarray, attacked: np.ndarray) -> float:
    """What the change of images is multiplied by, so that its largest pixel goes from mid-grey to black or white."""
    largest = float(abs(attacked - clean).max())
    return 0.5 / largest if largest > 0 else 1.0


def choose_pictures(source: StoredRun, panels: Sequence[Panel]) -> Pictures | None:
    """Images of the strongest attack that has some, in the first panel that has any, those of attacks apart last.

    They are those of the stored eps nearest to the informative one; None where their predictions are not stored.
    """
    stored = {tuple(rows.iloc[0][SERIES]): e for e in source.examples.values() if len(rows := e.rows)}
    for panel in sorted(panels, key=lambda panel: bool(panel.apart)):
        series = {label: tuple(curve.iloc[0][SERIES]) for label, curve in panel.curves.items()}
        if curves := {label: curve for label, curve in panel.curves.items() if series[label] in stored}:
            label = panel._replace(curves=curves).strongest()
            return _pictures(source, panel, label, stored[series[label]])
    return None


def _pictures(source: StoredRun, panel: Panel, label: str, examples: Examples) -> Pictures | None:
    informative, (x, x_adv, sizes, rows) = panel.informative(label), examples
    eps = min(sizes, key=lambda size: abs(size - informative))
    clean = source.rows[(source.rows.attack == "none") & (source.rows.model == panel.model)]
    before = _first(clean[clean.inference_draws == rows.inference_draws.iloc[0]], len(x))
    after = _first(rows[(rows.eps - eps).abs() < 1e-6], len(x))
    if min(len(before), len(after)) < len(x):
        return None
    images = [array.transpose(0, 2, 3, 1) for array in (x, x_adv[sizes.index(eps)])]
    columns = [[int(label) for label in column] for column in (after.label, before.predicted, after.predicted)]
    return Pictures(label, panel.model, eps, images[0], images[1], *columns)


def _first(rows: DataFrame, n: int) -> DataFrame:
    """The rows of inputs 0 .. n − 1 in the first repeat."""
    return rows[(rows.repeat == 0) & (rows["index"] < n)].drop_duplicates("index").sort_values("index")
