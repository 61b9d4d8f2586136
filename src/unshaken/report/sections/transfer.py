"""Perturbations made against one model and given to another, beside those made against the model itself."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.evaluation.checks.finding import far
from unshaken.evaluation.statistics import Interval, difference
from unshaken.report.accuracy import NORMS, Panel, Point
from unshaken.report.drawing import MEAN_COLOUR, facets, styled
from unshaken.report.groups import (
    ATTACK_COLUMNS,
    attack_label,
    attack_labels,
    correct_by_network,
    group_of,
    network_point,
)
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text, significance_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

ITSELF = "itself"
"""The source of the perturbations of a white-box attack."""

DRAWN = 4
"""The most matrices that are drawn at every eps; of more, each attack at one."""

TOLD = 3
"""With more targets than this only the one that stands worst is told of."""

MANY = 4
"""The most names that stand beside each other without being tilted."""

WIDE = 6
"""A heat map with more columns has a line of the figure to itself."""

SCALE = ("#f4f7fa", "#0b4f7d")
"""The colours of accuracy 0 and 1."""


class Cell(NamedTuple):
    """Accuracy of one target, or of the networks of a group, on the perturbations of one source.

    `best` is that of the best network; `change` the difference to the target's own attack, None where it has none. Its
    interval holds for all cells of `matrices` together.
    """

    point: Point
    networks: int
    best: float
    change: Interval | None

    def stronger(self) -> bool:
        """Whether another model's perturbations surely leave less than the model's own."""
        return self.change is not None and self.change.high < 0


class Matrix(NamedTuple):
    """One attack at one eps: `cells` by (source, target), whose source is ITSELF for the white-box attack.

    All are of the same inputs: `inputs` of them, of so many that were attacked, as a source may have kept some only.

    `clean` is the accuracy of the targets without an attack, 1 where it is not known.
    """

    label: str
    norm: str
    eps: float
    clean: float
    cells: dict[tuple[str, str], Cell]
    inputs: int
    of: int

    def sources(self) -> list[str]:
        """Whose perturbations were given to others; those that are targets too come first, in the order of these."""
        made = dict.fromkeys(source for source, _ in self.cells if source != ITSELF)
        return [target for target in self.targets() if target in made] + [s for s in made if s not in self.targets()]

    def targets(self) -> list[str]:
        """Who was given perturbations of others."""
        return list(dict.fromkeys(target for source, target in self.cells if source != ITSELF))

    def white(self) -> float:
        """Accuracy under the attack on the model itself, on average over targets; 1 where it was not run."""
        own = [self.cells[ITSELF, target].point.value for target in self.targets() if (ITSELF, target) in self.cells]
        return sum(own) / len(own) if own else 1.0

    def from_half(self) -> float:
        """How far the attack on the model itself is from taking half of the accuracy."""
        return abs(self.white() - self.clean / 2)


def transfer_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Sources against targets; None where no perturbation was given to another model."""
    rows = source.rows
    given = rows[rows.role == "transfer"]
    if len(given) == 0:
        return None
    group = group_of(source.about, [*rows.model.unique(), *given.source.unique()])
    found = matrices(rows, group, panels)
    if not found:
        return None
    alone = len({group[model] for model in [*given.model.unique(), *given.source.unique()]}) == 1
    single = matrices(rows, {model: model for model in group}, panels) if alone else found
    drawn = shown(single)
    tables = [transfer_table(found, target, source.about) for target in found[0].targets()]
    tables += [matrix_table(single)] if alone and len(single[0].targets()) > 1 else []
    return Section("transfer", "Attacks made against other models", _sentences(found), [_drawing(drawn)], tables)


def matrices(rows: DataFrame, group: dict[str, str], panels: Sequence[Panel]) -> list[Matrix]:
    """Every attack that has transferred rows at every eps, by groups: those of a group are its other networks'.

    The level of the differences is shared out over all cells (Bonferroni), as the check of black-box attacks does; as
    there, attacks that do not go as far as eps allows, or aim at something else, have no difference.
    """
    known, found = attack_labels(panels), []
    clean = rows[rows.attack == "none"].groupby("model").correct.mean()
    rows = rows[["model", *ATTACK_COLUMNS, "eps", "role", "source", "index", "repeat", "correct"]]
    given = rows[rows.role == "transfer"]
    swept = rows[(rows.role == "sweep") & (rows.attack != "none")]
    own = dict(iter(swept.groupby([*ATTACK_COLUMNS, "eps"], sort=False)))
    norms = given.norm.nunique() > 1
    for key, part in given.groupby([*ATTACK_COLUMNS, "eps"], sort=False):
        white = own.get(key)
        known_to_all = set.intersection(*({*made["index"]} for _, made in part.groupby("source")))
        if not known_to_all:
            continue
        count = (len(known_to_all), max(len(known_to_all), 0 if white is None else white["index"].nunique()))
        part = part[part["index"].isin(known_to_all)]
        white = None if white is None else white[white["index"].isin(known_to_all)]
        first, cells = part.iloc[0], _paired(part, white, group)
        if len(far(part)) == 0:  # what moves an input further need not be the better attack
            cells = {where: (given, None) for where, (given, _) in cells.items()}
        label = attack_label(first, known) + (f", {NORMS.get(first.norm, first.norm)} norm" if norms else "")
        right = clean.reindex(part.model.unique()).mean()
        found.append((label, first.norm, float(first.eps), float(right) if right == right else 1.0, cells, count))
    compared = sum(base is not None for *_, cells, _ in found for _, base in cells.values())
    level = 1 - 0.05 / max(compared, 1)
    return [
        Matrix(label, norm, eps, right, {key: _cell(*both, level) for key, both in cells.items()}, *count)
        for label, norm, eps, right, cells, count in found
    ]


def shown(found: Sequence[Matrix]) -> list[Matrix]:
    """All matrices if they are few; otherwise each attack at the eps where it is nearest to taking half of all."""
    if len(found) <= DRAWN:
        return list(found)
    by_attack: dict[str, list[Matrix]] = {}
    for matrix in found:
        by_attack.setdefault(matrix.label, []).append(matrix)
    kept = [min(same, key=Matrix.from_half) for same in by_attack.values()]
    return sorted(kept, key=Matrix.white)[: 2 * DRAWN]


def transfer_table(found: Sequence[Matrix], target: str, about: dict[str, Any]) -> Table:
    """One target: every attack at every eps, made against the model itself and against each source."""
    parts = [matrix for matrix in found if target in matrix.targets()]
    own = [{source: cell for (source, to), cell in matrix.cells.items() if to == target} for matrix in parts]
    sources = list(dict.fromkeys(source for cells in own for source in cells))
    several = any(cell.networks > 1 for cells in own for cell in cells.values())
    published = [_published(matrix, target, about) for matrix in parts]
    known, texts = any(published), eps_text([matrix.eps for matrix in parts])
    few = any(matrix.inputs < matrix.of for matrix in parts)
    body = []
    for matrix, cells, value in zip(parts, own, published, strict=True):
        line = [matrix.label, texts[matrix.eps]] + [f"{matrix.inputs} of {matrix.of}"] * few
        for source in sources:
            cell = cells.get(source)
            line += [cell.point.in_full() if cell else ""] + [f"{cell.best:.3f}" if cell else ""] * several
            line += [value] * (known and source == ITSELF)
        body.append(line)
    head = ["attack", "eps"] + ["inputs"] * few
    for source in sources:
        told = f"others of {source}" if source == target else source
        head += [f"made against {told}"] + ["best"] * several + ["published"] * (known and source == ITSELF)
    one = len({to for matrix in found for to in matrix.targets()}) == 1
    name = "transfer" if one else f"transfer_{re.sub(r'[^a-z0-9]+', '_', target.lower()).strip('_')}"
    return Table(name, _long(parts, target), head, body, f"Given to {target}", _note(several, known, about, few))


def matrix_table(found: Sequence[Matrix]) -> Table:
    """Every matrix: a line for each source, a column for each target."""
    targets = list(dict.fromkeys(target for matrix in found for target in matrix.targets()))
    names, texts, body = _short(targets), eps_text([matrix.eps for matrix in found]), []
    for matrix in found:
        for source in (ITSELF, *matrix.sources()):
            cells = [matrix.cells.get((source, target)) for target in targets]
            told = [f"{cell.point.value:.3f}" if cell else "" for cell in cells]
            body.append([names.get(source, source), matrix.label, texts[matrix.eps], *told])
    head = ["made against", "attack", "eps", *(f"given to {names[target]}" for target in targets)]
    return Table("transfer_matrix", _long(found), head, body, "Each network by itself")


@styled()
def transfer_figure(found: Sequence[Matrix], *, narrow: bool = False) -> Figure:
    """A heat map for each matrix: targets across, sources down, and above them the attack on the model itself.

    Many targets of few sources stand the other way round, so that their names can be read.
    """
    sources = max(len(matrix.sources()) for matrix in found) + 1
    targets = max(len(matrix.targets()) for matrix in found)
    turned = targets > max(sources, MANY)
    rows, across = (targets, sources) if turned else (sources, targets)
    tilted = across > (3 if narrow else MANY)
    lines = max(_title(matrix).count("\n") for matrix in found)
    height = 0.34 * (rows + 1.2) + 0.9 + 0.15 * lines + 0.4 * tilted
    figure, axes = facets(len(found), narrow=narrow, height=height, columns=1 if across > WIDE else 2)
    for axis, matrix in zip(axes, found, strict=True):
        _draw(axis, matrix, turned=turned, tilted=tilted)
    return figure


def _drawing(drawn: list[Matrix]) -> Drawing:
    caption = "Accuracy of each model on perturbations made against each model, and apart from these under the attack "
    caption += "on the model itself. A darker cell is a higher accuracy, so a weaker attack. "
    caption += "Where a model has several networks, cells are means, and perturbations of its own name are those made "
    caption += "against its other networks. An orange frame marks perturbations that are surely stronger than the "
    caption += "model's own, judged over all attacks, sizes and models together: a sign of masked gradients."
    told = "Accuracy of every model on the perturbations made against every other; the numbers are in the table below"
    return Drawing("transfer", lambda narrow: transfer_figure(drawn, narrow=narrow), told, caption)


def _draw(axis: Axes, matrix: Matrix, *, turned: bool, tilted: bool) -> None:
    """One heat map; the white box stands a little apart. `turned` has the sources across."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    colours = LinearSegmentedColormap.from_list("accuracy", SCALE)
    places = {ITSELF: 0.0, **{source: 1.25 + place for place, source in enumerate(matrix.sources())}}
    targets, names = matrix.targets(), _short([*matrix.targets(), *matrix.sources()])
    for (source, target), cell in matrix.cells.items():
        if target not in targets:
            continue
        where, value = (targets.index(target), places[source]), cell.point.value
        x, y = where[::-1] if turned else where
        box: dict[str, Any] = {"facecolor": colours(value), "linewidth": 0}
        if cell.stronger():
            box |= {"edgecolor": MEAN_COLOUR, "linewidth": 2}
        axis.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, **box))
        ink = "#ffffff" if value > 0.5 else "#14171a"  # on the cell, whatever the page's colour scheme
        axis.text(x, y, f"{value:.3f}".removeprefix("0") if value < 1 else "1", color=ink, ha="center", va="center")
    told = {ITSELF: "itself (white box)"} | {source: names[source] for source in matrix.sources()}
    sides = [
        ("given to", [*range(len(targets))], [names[target] for target in targets]),
        ("made against", [places[source] for source in told], [*told.values()]),
    ]
    (xlabel, across, columns), (ylabel, down, rows) = sides[::-1] if turned else sides
    axis.set_xticks(across, columns)
    axis.set_yticks(down, rows)
    axis.tick_params(axis="both", length=0)
    if tilted:
        for text in axis.get_xticklabels():
            text.set(rotation=30, ha="right", rotation_mode="anchor")
    axis.set(xlim=(-0.5, across[-1] + 0.5), ylim=(down[-1] + 0.5, -0.5), xlabel=xlabel, ylabel=ylabel)
    axis.set_title(_title(matrix))
    axis.spines[:].set_visible(False)
    axis.grid(False)


def _title(matrix: Matrix) -> str:
    """The attack and its size, in lines of the width of a heat map."""
    return fill(f"{matrix.label}, eps {eps_text([matrix.eps])[matrix.eps]}", 36)


def _short(names: Sequence[str]) -> dict[str, str]:
    """Names without the beginning "group, " that all have in common."""
    heads = {name.rpartition(", ")[0] for name in names}
    common = heads.pop() if len(heads) == 1 else ""
    return {name: name.removeprefix(f"{common}, ") if common else name for name in names}


def _paired(
    given: DataFrame, white: DataFrame | None, group: dict[str, str]
) -> dict[tuple[str, str], tuple[DataFrame, DataFrame | None]]:
    """The rows of each (source, target), and those of the target's own attack where it has one."""
    cells: dict[tuple[str, str], tuple[DataFrame, DataFrame | None]] = {}
    for target, on_target in given.groupby(given.model.map(group), sort=False):
        base = None if white is None else white[white.model.isin(on_target.model.unique())]
        base = None if base is None or len(base) == 0 else base
        if base is not None:
            cells[ITSELF, str(target)] = base, None
        for source, made in on_target.groupby(on_target.source.map(group), sort=False):
            cells[str(source), str(target)] = made, base
    return cells


def _cell(rows: DataFrame, own: DataFrame | None, level: float) -> Cell:
    """The accuracy of one target on the perturbations of one source, and its difference to its own attack."""
    pooled, base, several = (
        correct_by_network(rows),
        None if own is None else correct_by_network(own),
        rows.model.nunique() > 1,
    )
    best = float(pooled.groupby("repeat").correct.mean().max()) if several else network_point(pooled).value
    paired = base is not None and set(base["repeat"]) & set(pooled["repeat"])
    change = difference(pooled, base, level=level) if base is not None and paired else None
    return Cell(network_point(pooled), rows.model.nunique(), best, change)


def _long(found: Sequence[Matrix], target: str | None = None) -> DataFrame:
    """A row for every cell, of one target or of all."""
    import pandas as pd

    names = ["attack", "norm", "eps", "inputs", "source", "target", "networks"]
    names += ["accuracy", "low", "high", "spread", "best"]
    unknown = Interval(*(float("nan"),) * 3)
    values = [
        (matrix.label, matrix.norm, matrix.eps, matrix.inputs, source, to, cell.networks, *cell.point, cell.best)
        + (cell.change or unknown)
        for matrix in found
        for (source, to), cell in matrix.cells.items()
        if target in (None, to)
    ]
    return pd.DataFrame(values, columns=[*names, "difference", "difference_low", "difference_high"])


def _published(matrix: Matrix, target: str, about: dict[str, Any]) -> str:
    """The published accuracy under the attack on the model itself; empty where none is known."""
    for entry in (about.get("paper") or {}).get("accuracy", []):
        same = entry["attack"] == matrix.label and math.isclose(entry["eps"], matrix.eps, rel_tol=1e-4)
        if same and entry.get("model", target) == target and entry.get("norm", matrix.norm) == matrix.norm:
            return f"{entry['value']:.3f}"
    return ""


def _note(several: bool, published: bool, about: dict[str, Any], few: bool) -> str:
    """What the numbers of a table mean."""
    spread = "networks" if several else "repeats of the draws"
    note = f"Mean ± standard deviation over {spread}, and the 95 % interval of the mean. Perturbations made against "
    note += "several networks are averaged over these"
    note += ", for each network that they are given to; best is the best network." if several else "."
    note += " The .csv also has the differences to the attack on the model itself; their intervals hold together."
    if few:
        note += " All accuracies of a line, those under the model's own attack too, are of the inputs whose "
        note += "perturbations every source has kept."
    told = (about.get("paper") or {}).get("source", "")
    return note + (f" Published in {told}." if published and told else "")


def _sentences(found: Sequence[Matrix]) -> list[str]:
    """For each target the strongest source, at the eps nearest to taking half of all, under the strongest attack there.

    Of many targets only the one whose sources come nearest to its own attack.
    """
    middle, worst = min(found, key=Matrix.from_half), dict[str, tuple[str, Cell]]()
    alike = [matrix for matrix in found if (matrix.norm, matrix.eps) == (middle.norm, middle.eps)]
    strongest = min(alike, key=Matrix.white)
    for (source, target), cell in strongest.cells.items():
        if source != ITSELF and (target not in worst or cell.point.value < worst[target][1].point.value):
            worst[target] = source, cell
    told = list(worst)
    if len(told) > TOLD:
        told = [min(told, key=lambda target: (worst[target][1].change or (math.inf,))[0])]
    return [_sentence(strongest, target, *worst[target]) for target in told]


def _sentence(matrix: Matrix, target: str, source: str, cell: Cell) -> str:
    """The strongest source of one target beside the target itself."""
    where = f"under {matrix.label} at eps {eps_text([matrix.eps])[matrix.eps]}"
    if matrix.inputs < matrix.of:
        where += f", on the {matrix.inputs} of {matrix.of} inputs whose perturbations were kept,"
    against = f"other networks of {source}" if source == target else source
    said = f"Accuracy of {target} {where} is {cell.point.in_full()} on perturbations made against {against}"
    own = matrix.cells.get((ITSELF, target))
    if own is None:
        return f"{said}."
    masked = ", a sign of masked gradients" if cell.stronger() else ""
    judgement = "" if cell.change is None else f": {significance_text(cell.change)}{masked}"
    return f"{said}, and {own.point.in_full()} on those made against itself{judgement}."
