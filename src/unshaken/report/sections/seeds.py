"""Networks of one setting trained from several seeds: what is the setting's, and what the luck of training."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series

from unshaken.report.accuracy import NORMS, Panel, accuracy_table, grid, point_at, rows_behind, shared_attacks
from unshaken.report.accuracy import panels as panels_of
from unshaken.report.drawing import eps_axis, facet_figure, line_styles, named_styles, styled
from unshaken.report.groups import draw_network_lines, network_accuracy, pool_networks, seed_difference
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.sections.comparison import shared_level
from unshaken.report.sections.models import page_position
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text, significance_text


def seeds_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Groups of networks; None where no setting was trained from two seeds and attacked."""
    rows = pool_networks(run)
    groups = [p for p in panels_of(accuracy_table(rows)) if rows[rows.model == p.model].repeat.nunique() > 1]
    if not groups:
        return None
    drawing = Drawing(
        "seeds",
        lambda narrow: seeds_figure(groups, rows, narrow=narrow),
        "Accuracy against eps of every network and on average over networks; the numbers are in the table below",
        "Lines are means over networks that were trained from different seeds, thin marks the single networks, set "
        "side by side to be legible. Accuracy at eps 0 is that without an attack.",
    )
    drawings, position = [drawing] * any(len(p.eps()) > 1 for p in groups), page_position([p.model for p in panels])
    title, tables = "What the luck of training does", [seeds_table(groups, rows)]
    return Section("seeds", title, _sentences(groups, rows), drawings, tables, position)


def networks(group: Panel, label: str, eps: float, rows: DataFrame) -> Series:
    """Accuracy of every network under one attack at one size, by seed; the "no attack" of `grid` is the clean one."""
    if label in group.curves:
        return network_accuracy(rows_behind(group.curves[label], eps, rows))
    draws = next(iter(group.curves.values())).inference_draws.iloc[0]
    clean = (rows.model == group.model) & (rows.attack == "none") & (rows.inference_draws == draws)
    return network_accuracy(rows[clean])


def seeds_table(groups: Sequence[Panel], rows: DataFrame) -> Table:
    """Mean, standard deviation and best over networks of the accuracy, for every group, attack and size."""
    values, body, titled = [], [], len(groups) > 1
    texts = eps_text([0.0, *(eps for group in groups for eps in group.eps())])
    for group in groups:
        for label, points in grid(group).items():
            for eps, point in points.items():
                if point is None:
                    continue
                accuracy = networks(group, label, eps, rows)
                cells = [label, texts[eps], str(len(accuracy)), point.in_full(), f"{accuracy.max():.3f}"]
                body.append([group.title] * titled + cells)
                numbers = (eps, len(accuracy), *point, accuracy.max(), accuracy.idxmax(), accuracy.min())
                values.append((group.title, group.model, group.norm, label, *numbers))
    names = ["title", "group", "norm", "attack", "eps", "networks", "accuracy", "low", "high", "spread"]
    data = pd.DataFrame(values, columns=[*names, "best", "best_seed", "worst"])
    head = ["networks of"] * titled + ["attack", "eps", "networks", "accuracy", "best"]
    note = "Mean over networks ± their standard deviation, and its 95 % interval, which covers the choice of inputs "
    note += "and the luck of training. The repeats of the draws of each network are averaged first."
    return Table("seeds", data, head, body, note=note)


@styled()
def seeds_figure(groups: Sequence[Panel], rows: DataFrame, *, narrow: bool = False) -> Figure:
    """Accuracy against eps, means as lines and networks as marks.

    One set of axes for each attack and a colour for each group, where there are more groups than attacks; otherwise one
    for each group and a colour for each attack.
    """
    lines, models = _by_attack(groups), [group.model for group in groups]
    if 0 < len(lines) < len({*models}):
        styles = named_styles(list(dict.fromkeys(models)))
        lines = {f"under {title}": by_model for title, by_model in lines.items()}
    else:
        styles = line_styles(groups)
        lines = {group.title: {label: (group, label) for label in group.curves} for group in groups}
    labels = list(dict.fromkeys(label for by_label in lines.values() for label in by_label))

    def draw(axis: Axes, title: str) -> dict[str, Any]:
        norm = next(iter(lines[title].values()))[0].norm
        axis.set(title=title, xlabel=f"eps ({NORMS.get(norm, norm)} norm)")
        by_label = {label: _by_eps(group, attack, rows) for label, (group, attack) in lines[title].items()}
        eps_axis(axis, sorted({eps for by_eps in by_label.values() for eps in by_eps}))
        return draw_network_lines(axis, by_label, styles)

    below = narrow or len(lines) > 1 or len(labels) > 18
    options: dict[str, Any] = {"ylabel": "accuracy", "below": below, "sharey": True}
    options["labels"] = labels if len(labels) > 1 else []
    return facet_figure(list(lines), draw, narrow=narrow, height=(3.7, 3.1, 2.4), **options)


def _by_attack(groups: Sequence[Panel]) -> dict[str, dict[str, tuple[Panel, str]]]:
    """Every attack with the groups that it was run on; without those whose only size says nothing of them."""
    attacks = {(group.norm, label) for group in groups for label in group.curves}
    several_norms = len(attacks) > len({label for _, label in attacks})
    lines: dict[str, dict[str, tuple[Panel, str]]] = {}
    for group in groups:
        for label in group.curves if not group.apart else ():
            title = f"{label}, {NORMS.get(group.norm, group.norm)}" if several_norms else label
            lines.setdefault(title, {})[group.model] = (group, label)
    return lines


def _by_eps(group: Panel, attack: str, rows: DataFrame) -> dict[float, Series]:
    """Accuracy of every network by eps, from the one without an attack on where it is known."""
    by_eps = {0.0: networks(group, "", 0.0, rows)} if group.clean is not None else {}
    attacked = [float(eps) for eps in group.curves[attack].eps if eps > 0 or not by_eps]
    return by_eps | {eps: networks(group, attack, eps, rows) for eps in attacked}


def _sentences(groups: Sequence[Panel], rows: DataFrame) -> list[str]:
    """The strongest attack on each group, and how groups differ from the first, paired by seed."""
    attacks = shared_attacks(groups)
    if not attacks:
        return [_alone(group, rows) for group in groups]
    strongest = min(attacks, key=lambda attack: (attack.apart, attack.mean()))
    eps, texts = strongest.informative(), []
    by_group = {group: network_accuracy(rows_behind(curve, eps, rows)) for group, curve in strongest.curves.items()}
    (first, base), *others = by_group.items()
    for group, accuracy in others:
        change, seeds = seed_difference(accuracy, base, level=shared_level(len(others)))
        difference = "" if change is None else f": {significance_text(change)}, paired by {seeds} seeds"
        texts.append(f"{_spread(accuracy)} over {len(accuracy)} of {group}{difference}")
    start = f"Under {strongest.label} at eps {strongest.eps_text(eps)} accuracy is {_spread(base)} over {len(base)}"
    return [f"{start} networks of {first} and {'; '.join(texts)}."]


def _alone(group: Panel, rows: DataFrame) -> str:
    """The strongest attack on one group of networks."""
    label = group.strongest()
    eps = group.informative(label)
    accuracy, point = networks(group, label, eps, rows), point_at(group.curves[label], eps)
    start = f"Over {len(accuracy)} networks of {group.model}, accuracy under {label} at eps "
    return f"{start}{eps_text(group.eps())[eps]} is {point.in_full()}; the best has {accuracy.max():.3f}."


def _spread(values: Series) -> str:
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"
