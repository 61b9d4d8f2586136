"""Perturbations made against one model and given to another, beside those made against the model itself."""

import math
import re
from collections.abc import Sequence
from textwrap import fill
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pandas import DataFrame

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
    network_accuracy,
    network_point,
)
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.sections.columns import column_table
from unshaken.report.sections.comparison import published_accuracy, published_note, shared_level
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import UNKNOWN, eps_text, one_eps, significance_text
from unshaken.runs.record import RunRecord

ITSELF = "itself"  # the source of the perturbations of a white-box attack
MAX_MATRICES = 4  # the most matrices that are drawn at every eps; of more, each attack at one
MAX_SENTENCES = 3  # with more targets than this only the one that stands worst has a sentence
MANY = 4  # the most names that stand beside each other without being tilted
WIDE = 6  # a heat map with more columns has a line of the figure to itself
TITLE = 36  # the most characters in a line of the title of a heat map
SCALE = ("#f4f7fa", "#0b4f7d")  # the colours of accuracy 0 and 1


class Cell(NamedTuple):
    """Accuracy of one target, or of the networks of a group, on the perturbations of one source.

    `best` is that of the best network; `change` the difference to the target's own attack, None where it has none. Its
    interval holds for all cells of `transfer_matrices` together.
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
        sources, targets = dict.fromkeys(source for source, _ in self.cells if source != ITSELF), self.targets()
        return sorted(sources, key=lambda source: targets.index(source) if source in targets else len(targets))

    def targets(self) -> list[str]:
        """Who was given perturbations of others."""
        return list(dict.fromkeys(target for source, target in self.cells if source != ITSELF))

    def white_box(self) -> float:
        """Accuracy under the attack on the model itself, on average over targets; 1 where it was not run."""
        cells = [self.cells[ITSELF, target] for target in self.targets() if (ITSELF, target) in self.cells]
        return sum(cell.point.value for cell in cells) / len(cells) if cells else 1.0

    def from_half(self) -> float:
        """How far the attack on the model itself is from taking half of the accuracy."""
        return abs(self.white_box() - self.clean / 2)

    def positions(self) -> dict[str, float]:
        """Where each source stands in a heat map; the white box is a little apart."""
        return {ITSELF: 0.0, **{source: 1.25 + index for index, source in enumerate(self.sources())}}

    def title(self) -> str:
        return f"{self.label}, eps {one_eps(self.eps)}"


def transfer_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Sources against targets; None where no perturbation was given to another model."""
    rows, transferred = run.rows, run.rows[run.rows.role == "transfer"]
    if len(transferred) == 0:
        return None
    group = group_of(run.record, [*rows.model.unique(), *transferred.source.unique()])
    matrices = transfer_matrices(rows, group, panels)
    if not matrices:
        return None
    one_group = len({group[model] for model in [*transferred.model.unique(), *transferred.source.unique()]}) == 1
    single = transfer_matrices(rows, {model: model for model in group}, panels) if one_group else matrices
    tables = [transfer_table(matrices, target, run.record) for target in matrices[0].targets()]
    tables += [matrix_table(single)] if one_group and len(single[0].targets()) > 1 else []
    drawn = select_matrices(single)
    drawing = Drawing(
        "transfer",
        lambda narrow: transfer_figure(drawn, narrow=narrow),
        "Accuracy of every model on the perturbations made against every other; the numbers are in the table below",
        "Accuracy of each model on perturbations made against each model, and apart from these under the attack on the "
        "model itself. A darker cell is a higher accuracy, so a weaker attack. Where a model has several networks, "
        "cells are means, and perturbations of its own name are those made against its other networks. An orange frame "
        "marks perturbations that are surely stronger than the model's own, judged over all attacks, sizes and models "
        "together: a sign of masked gradients.",
    )
    return Section("transfer", "Attacks made against other models", _sentences(matrices), [drawing], tables)


def transfer_matrices(rows: DataFrame, group: dict[str, str], panels: Sequence[Panel]) -> list[Matrix]:
    """Every attack that has transferred rows at every eps, by groups: those of a group are its other networks'.

    The level of the differences is shared out over all cells (Bonferroni), as the check of black-box attacks does; as
    there, attacks that do not go as far as eps allows, or aim at something else, have no difference.
    """
    clean = rows[rows.attack == "none"].groupby("model").correct.mean()
    rows = rows[["model", *ATTACK_COLUMNS, "eps", "role", "source", "index", "repeat", "correct"]]
    transferred = rows[rows.role == "transfer"]
    swept = rows[(rows.role == "sweep") & (rows.attack != "none")]
    white_box = dict(iter(swept.groupby([*ATTACK_COLUMNS, "eps"], sort=False)))
    labels, several_norms, matrices = attack_labels(panels), transferred.norm.nunique() > 1, []
    for key, attack in transferred.groupby([*ATTACK_COLUMNS, "eps"], sort=False):
        common = set.intersection(*({*perturbed["index"]} for _, perturbed in attack.groupby("source")))
        if not common:
            continue
        white = white_box.get(key, swept.head(0))
        of, attack = max(len(common), white["index"].nunique()), attack[attack["index"].isin(common)]
        pairs = _pairs(attack, white[white["index"].isin(common)], group)
        if len(far(attack)) == 0:  # what moves an input further need not be the better attack
            pairs = {names: (perturbed, None) for names, (perturbed, _) in pairs.items()}
        first, accuracy = attack.iloc[0], clean.reindex(attack.model.unique()).mean()
        label = attack_label(first, labels) + f", {NORMS.get(first.norm, first.norm)} norm" * several_norms
        start = 1.0 if math.isnan(accuracy) else float(accuracy)
        matrices.append((Matrix(label, first.norm, float(first.eps), start, {}, len(common), of), pairs))
    level = shared_level(sum(base is not None for _, pairs in matrices for _, base in pairs.values()))
    return [
        matrix._replace(cells={names: _cell(*pair, level) for names, pair in pairs.items()})
        for matrix, pairs in matrices
    ]


def select_matrices(matrices: Sequence[Matrix]) -> list[Matrix]:
    """All matrices if they are few; otherwise each attack at the eps where it is nearest to taking half of all."""
    if len(matrices) <= MAX_MATRICES:
        return list(matrices)
    nearest: dict[str, Matrix] = {}
    for matrix in matrices:
        nearest[matrix.label] = min(nearest.get(matrix.label, matrix), matrix, key=Matrix.from_half)
    return sorted(nearest.values(), key=Matrix.white_box)[: 2 * MAX_MATRICES]


def transfer_table(matrices: Sequence[Matrix], target: str, record: RunRecord) -> Table:
    """One target: every attack at every eps, made against the model itself and against each source."""
    attacks = [matrix for matrix in matrices if target in matrix.targets()]
    by_source = [{source: cell for (source, to), cell in matrix.cells.items() if to == target} for matrix in attacks]
    sources = list(dict.fromkeys(source for cells in by_source for source in cells))
    several = any(cell.networks > 1 for cells in by_source for cell in cells.values())
    accuracies = [published_accuracy(record, matrix.label, matrix.eps, target, matrix.norm) for matrix in attacks]
    published = ["" if accuracy is None else f"{accuracy:.3f}" for accuracy in accuracies]
    texts = eps_text([matrix.eps for matrix in attacks])
    incomplete = any(matrix.inputs < matrix.of for matrix in attacks)
    columns = [("attack", [matrix.label for matrix in attacks]), ("eps", [texts[matrix.eps] for matrix in attacks])]
    columns += [("inputs", [f"{matrix.inputs} of {matrix.of}" for matrix in attacks])] * incomplete
    for source in sources:
        cells = [cells.get(source) for cells in by_source]
        name = f"others of {source}" if source == target else source
        columns += [(f"made against {name}", [cell.point.in_full() if cell else "" for cell in cells])]
        columns += [("best", [f"{cell.best:.3f}" if cell else "" for cell in cells])] * several
        columns += [("published", published)] * (any(published) and source == ITSELF)
    one_target = len({to for matrix in matrices for to in matrix.targets()}) == 1
    name = "transfer" if one_target else f"transfer_{re.sub(r'[^a-z0-9]+', '_', target.lower()).strip('_')}"
    spread = "networks" if several else "repeats of the draws"
    note = f"Mean ± standard deviation over {spread}, and the 95 % interval of the mean. Perturbations made against "
    note += "several networks are averaged over these"
    note += ", for each network that they are given to; best is the best network." if several else "."
    note += " The .csv also has the differences to the attack on the model itself; their intervals hold together."
    if incomplete:
        note += " All accuracies of a line, those under the model's own attack too, are of the inputs whose "
        note += "perturbations every source has kept."
    note += published_note(record) * any(published)
    return column_table(name, _data(attacks, target), columns, title=f"Given to {target}", note=note)


def matrix_table(matrices: Sequence[Matrix]) -> Table:
    """Every matrix: a line for each source, a column for each target."""
    targets = list(dict.fromkeys(target for matrix in matrices for target in matrix.targets()))
    names, texts, body = _short(targets), eps_text([matrix.eps for matrix in matrices]), []
    for matrix in matrices:
        for source in (ITSELF, *matrix.sources()):
            cells = [matrix.cells.get((source, target)) for target in targets]
            accuracies = [f"{cell.point.value:.3f}" if cell else "" for cell in cells]
            body.append([names.get(source, source), matrix.label, texts[matrix.eps], *accuracies])
    head = ["made against", "attack", "eps", *(f"given to {names[target]}" for target in targets)]
    return Table("transfer_matrix", _data(matrices), head, body, "Each network by itself")


@styled()
def transfer_figure(matrices: Sequence[Matrix], *, narrow: bool = False) -> Figure:
    """A heat map for each matrix: targets across, sources down, and above them the attack on the model itself.

    Many targets of few sources stand the other way round, so that their names can be read.
    """
    sources = max(len(matrix.sources()) for matrix in matrices) + 1
    targets = max(len(matrix.targets()) for matrix in matrices)
    turned = targets > max(sources, MANY)
    rows, across = (targets, sources) if turned else (sources, targets)
    tilted = across > (3 if narrow else MANY)
    lines = max(fill(matrix.title(), TITLE).count("\n") for matrix in matrices)
    height = 0.34 * (rows + 1.2) + 0.9 + 0.15 * lines + 0.4 * tilted
    figure, axes = facets(len(matrices), narrow=narrow, height=height, columns=1 if across > WIDE else 2)
    for axis, matrix in zip(axes, matrices, strict=True):
        _draw_cells(axis, matrix, turned)
        _label_cells(axis, matrix, turned, tilted)
    return figure


def _draw_cells(axis: Axes, matrix: Matrix, turned: bool) -> None:
    """The squares of one heat map and their numbers; `turned` has the sources across."""
    colours = LinearSegmentedColormap.from_list("accuracy", SCALE)
    targets, positions = matrix.targets(), matrix.positions()
    for (source, target), cell in matrix.cells.items():
        x, y = (targets.index(target), positions[source])[:: -1 if turned else 1]
        value, frame = cell.point.value, {"edgecolor": MEAN_COLOUR, "linewidth": 2} if cell.stronger() else {}
        square: dict[str, Any] = {"facecolor": colours(value), "linewidth": 0, **frame}
        axis.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, **square))
        ink = "#ffffff" if value > 0.5 else "#14171a"  # on the cell, whatever the page's colour scheme
        axis.text(x, y, f"{value:.3f}".removeprefix("0") if value < 1 else "1", color=ink, ha="center", va="center")


def _label_cells(axis: Axes, matrix: Matrix, turned: bool, tilted: bool) -> None:
    """The names of targets and sources beside one heat map, and its title."""
    targets, positions = matrix.targets(), matrix.positions()
    names = _short([*targets, *matrix.sources()]) | {ITSELF: "itself (white box)"}
    sides = [
        ("given to", [*range(len(targets))], [names[target] for target in targets]),
        ("made against", [*positions.values()], [names[source] for source in positions]),
    ]
    (xlabel, across, columns), (ylabel, down, rows) = sides[::-1] if turned else sides
    axis.set_xticks(across, columns)
    axis.set_yticks(down, rows)
    axis.tick_params(axis="both", length=0)
    if tilted:
        for text in axis.get_xticklabels():
            text.set(rotation=30, ha="right", rotation_mode="anchor")
    axis.set(xlim=(-0.5, across[-1] + 0.5), ylim=(down[-1] + 0.5, -0.5), xlabel=xlabel, ylabel=ylabel)
    axis.set_title(fill(matrix.title(), TITLE))
    axis.spines[:].set_visible(False)
    axis.grid(False)


def _short(names: Sequence[str]) -> dict[str, str]:
    """Names without the beginning "group, " that all have in common."""
    heads = {name.rpartition(", ")[0] for name in names}
    common = f"{heads.pop()}, " if len(heads) == 1 else ""
    return {name: name.removeprefix(common) for name in names}


def _pairs(
    transferred: DataFrame, white_box: DataFrame, group: dict[str, str]
) -> dict[tuple[str, str], tuple[DataFrame, DataFrame | None]]:
    """The rows of each (source, target), and those of the target's own attack where it has one."""
    pairs: dict[tuple[str, str], tuple[DataFrame, DataFrame | None]] = {}
    for target, on_target in transferred.groupby(transferred.model.map(group), sort=False):
        base = white_box[white_box.model.isin(on_target.model.unique())]
        if len(base):
            pairs[ITSELF, str(target)] = base, None
        for source, perturbed in on_target.groupby(on_target.source.map(group), sort=False):
            pairs[str(source), str(target)] = perturbed, base if len(base) else None
    return pairs


def _cell(rows: DataFrame, base: DataFrame | None, level: float) -> Cell:
    """The accuracy of one target on the perturbations of one source, and its difference to its own attack."""
    pooled, networks, change = correct_by_network(rows), rows.model.nunique(), None
    point = network_point(pooled)
    best = float(network_accuracy(pooled).max()) if networks > 1 else point.value
    base = None if base is None else correct_by_network(base)
    if base is not None and {*base["repeat"]} & {*pooled["repeat"]}:
        change = difference(pooled, base, level=level)
    return Cell(point, networks, best, change)


def _data(matrices: Sequence[Matrix], target: str | None = None) -> DataFrame:
    """A row for every cell, of one target or of all."""
    names = "attack norm eps inputs source target networks accuracy low high spread best"
    values = [
        (matrix.label, matrix.norm, matrix.eps, matrix.inputs, source, to, cell.networks, *cell.point, cell.best)
        + (cell.change or UNKNOWN)
        for matrix in matrices
        for (source, to), cell in matrix.cells.items()
        if target in (None, to)
    ]
    return pd.DataFrame(values, columns=[*names.split(), "difference", "difference_low", "difference_high"])


def _sentences(matrices: Sequence[Matrix]) -> list[str]:
    """For each target the strongest source, at the eps nearest to taking half of all, under the strongest attack there.

    Of many targets only the one whose sources come nearest to its own attack.
    """
    middle = min(matrices, key=Matrix.from_half)
    alike = [matrix for matrix in matrices if (matrix.norm, matrix.eps) == (middle.norm, middle.eps)]
    strongest, worst = min(alike, key=Matrix.white_box), dict[str, tuple[str, Cell]]()
    for (source, target), cell in strongest.cells.items():
        if source != ITSELF and (target not in worst or cell.point.value < worst[target][1].point.value):
            worst[target] = source, cell
    targets = list(worst)
    if len(targets) > MAX_SENTENCES:
        targets = [min(targets, key=lambda target: (worst[target][1].change or (math.inf,))[0])]
    return [_sentence(strongest, target, *worst[target]) for target in targets]


def _sentence(matrix: Matrix, target: str, source: str, cell: Cell) -> str:
    """The strongest source of one target beside the target itself."""
    under = f"under {matrix.label} at eps {one_eps(matrix.eps)}"
    if matrix.inputs < matrix.of:
        under += f", on the {matrix.inputs} of {matrix.of} inputs whose perturbations were kept,"
    against = f"other networks of {source}" if source == target else source
    sentence = f"Accuracy of {target} {under} is {cell.point.in_full()} on perturbations made against {against}"
    white_box = matrix.cells.get((ITSELF, target))
    if white_box is None:
        return f"{sentence}."
    judgement = "" if cell.change is None else f": {significance_text(cell.change)}"
    judgement += ", a sign of masked gradients" * cell.stronger()
    return f"{sentence}, and {white_box.point.in_full()} on those made against itself{judgement}."
