"""Networks of one setting trained from several seeds: what is the setting's, and what the luck of training."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas import DataFrame, Series

from unshaken.report.accuracy import NORMS, Panel, Point, accuracy_table, grid, point_at, rows_behind, shared_attacks
from unshaken.report.accuracy import panels as panels_of
from unshaken.report.drawing import eps_axis, facet_figure, line_styles, named_styles, styled
from unshaken.report.groups import draw_network_lines, network_accuracy, pool_networks, seed_difference
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table
from unshaken.report.sections.comparison import shared_level
from unshaken.report.sections.models import page_position
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text

WORDING = Wording("seeds")


def seeds_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Groups of networks; None where no setting was trained from two seeds and attacked."""
    rows = pool_networks(run)
    groups = [p for p in panels_of(accuracy_table(rows)) if rows[rows.model == p.model].repeat.nunique() > 1]
    if not groups:
        return None
    drawing = WORDING.drawing("seeds", lambda narrow: seeds_figure(groups, rows, narrow=narrow))
    drawings, position = [drawing] * any(len(p.eps()) > 1 for p in groups), page_position([p.model for p in panels])
    tables = [seeds_table(groups, rows)]
    return Section("seeds", WORDING.title(), _sentences(groups, rows), drawings, tables, position)


def networks(group: Panel, label: str, eps: float, rows: DataFrame) -> Series:
    """Accuracy of every network under one attack at one size, by seed; the "no attack" of `grid` is the clean one."""
    if label in group.curves:
        return network_accuracy(rows_behind(group.curves[label], eps, rows))
    draws = next(iter(group.curves.values())).inference_draws.iloc[0]
    clean = (rows.model == group.model) & (rows.attack == "none") & (rows.inference_draws == draws)
    return network_accuracy(rows[clean])


def seeds_table(groups: Sequence[Panel], rows: DataFrame) -> Table:
    """Mean, standard deviation and best over networks of the accuracy, for every group, attack and size."""
    values = [
        (*group[:3], label, eps, len(accuracy), *point, accuracy.max(), accuracy.idxmax(), accuracy.min())
        for group in groups
        for label, points in grid(group).items()
        for eps, point in points.items()
        if point is not None
        for accuracy in [networks(group, label, eps, rows)]
    ]
    names = "title group norm attack eps networks accuracy low high spread best best_seed worst"
    data = pd.DataFrame(values, columns=names.split())
    columns = {
        "networks of": data.title if len(groups) > 1 else None,
        "attack": data.attack,
        "eps": data.eps.map(eps_text(data.eps)),
        "networks": data.networks,
        "accuracy": [Point(row.accuracy, row.low, row.high, row.spread).in_full() for row in data.itertuples()],
        "best": data.best.map("{:.3f}".format),
    }
    return column_table("seeds", data, columns, note=WORDING.note())


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

    options: dict[str, Any] = {"labels": labels if len(labels) > 1 else [], "ylabel": "accuracy", "sharey": True}
    options["below"] = narrow or len(lines) > 1 or len(labels) > 18
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
        return [_alone(group, group.strongest(), rows) for group in groups]
    attack = min(attacks, key=lambda attack: (attack.apart, attack.mean()))
    eps = attack.informative()
    by_group = {group: network_accuracy(rows_behind(curve, eps, rows)) for group, curve in attack.curves.items()}
    base, *others = by_group
    level = shared_level(len(others))
    changes = {group: seed_difference(by_group[group], by_group[base], level=level) for group in others}
    return [WORDING.sentence(attack, eps, by_group, changes)]


def _alone(group: Panel, attack: str, rows: DataFrame) -> str:
    """An attack on one group of networks."""
    eps = group.informative(attack)
    return WORDING.alone(group, attack, eps, point_at(group.curves[attack], eps), networks(group, attack, eps, rows))
