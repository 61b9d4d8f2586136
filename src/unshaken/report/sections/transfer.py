"""Perturbations made against one model and given to another, beside those made against the model itself."""

import math
import re
from collections.abc import Iterator, Sequence
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
from unshaken.report.drawing import MEAN_COLOUR, facet_figure, styled
from unshaken.report.groups import (
    ATTACK_COLUMNS,
    attack_label,
    attack_labels,
    correct_by_network,
    group_of,
    network_point,
)
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table
from unshaken.report.sections.comparison import published_accuracy, shared_level
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import UNKNOWN, eps_text
from unshaken.runs.record import RunRecord

ITSELF = "itself"  # the source of the perturbations of a white-box attack
MAX_MATRICES = 4  # the most matrices that are drawn at every eps; of more, each attack at one
MAX_SENTENCES = 3  # with more targets than this only the one that stands worst has a sentence
MANY = 4  # the most names that stand beside each other without being tilted
WIDE = 6  # a heat map with more columns has a line of the figure to itself
TITLE = 36  # the most characters in a line of the title of a heat map
COLOURS = LinearSegmentedColormap.from_list("accuracy", ["#f4f7fa", "#0b4f7d"])  # of accuracy, from 0 to 1
WORDING = Wording("transfer")


class Cell(NamedTuple):
    """Accuracy of one target, or of the networks of a group, on the perturbations of one source.

    `best` is that of the best network; `change` the difference to the target's own attack, None where it has none. Its
    interval holds for all cells of `transfer_matrices` together.
    """

    networks: int
    point: Point
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
    inputs: int
    of: int
    clean: float
    cells: dict[tuple[str, str], Cell]

    def sources(self) -> list[str]:
        """Whose perturbations were given to others; those that are targets too come first, in the order of these."""
        sources, targets = dict.fromkeys(source for source, _ in self.cells if source != ITSELF), self.targets()
        return sorted(sources, key=lambda source: targets.index(source) if source in targets else len(targets))

    def targets(self) -> list[str]:
        """Who was given perturbations of others."""
        return list(dict.fromkeys(target for _, target in self.cells))

    def strongest_source(self, target: str) -> str:
        """Whose perturbations leave the least accuracy of a target."""
        sources = [source for source, to in self.cells if to == target and source != ITSELF]
        return min(sources, key=lambda source: self.cells[source, target].point.value)

    def white_box(self) -> float:
        """Accuracy under the attack on the model itself, on average over targets; 1 where it was not run."""
        values = [cell.point.value for (source, _), cell in self.cells.items() if source == ITSELF]
        return sum(values) / len(values) if values else 1.0

    def from_half(self) -> float:
        """How far the attack on the model itself is from taking half of the accuracy."""
        return abs(self.white_box() - self.clean / 2)


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
    drawing = WORDING.drawing("transfer", lambda narrow: transfer_figure(drawn, narrow=narrow))
    return Section("transfer", WORDING.title(), _sentences(matrices), [drawing], tables)


def transfer_matrices(rows: DataFrame, group: dict[str, str], panels: Sequence[Panel]) -> list[Matrix]:
    """Every attack that has transferred rows at every eps, by groups: those of a group are its other networks'.

    The level of the differences is shared out over all cells (Bonferroni), as the check of black-box attacks does; as
    there, attacks that do not go as far as eps allows, or aim at something else, have no difference.
    """
    clean = rows[rows.attack == "none"].groupby("model").correct.mean()
    rows = rows[["model", *ATTACK_COLUMNS, "eps", "role", "source", "index", "repeat", "correct"]]
    transferred, swept = rows[rows.role == "transfer"], rows[(rows.role == "sweep") & (rows.attack != "none")]
    white_box = dict(iter(swept.groupby([*ATTACK_COLUMNS, "eps"], sort=False)))
    labels, several_norms, matrices = attack_labels(panels), transferred.norm.nunique() > 1, []
    for key, attack in transferred.groupby([*ATTACK_COLUMNS, "eps"], sort=False):
        common = set.intersection(*({*perturbed["index"]} for _, perturbed in attack.groupby("source")))
        if not common:
            continue
        white = white_box.get(key, swept.head(0))
        of = max(len(common), white["index"].nunique())
        attack, white = attack[attack["index"].isin(common)], white[white["index"].isin(common)]
        first, accuracy = attack.iloc[0], clean.reindex(attack.model.unique()).mean()
        start = 1.0 if math.isnan(accuracy) else float(accuracy)
        label = attack_label(first, labels) + f", {NORMS.get(first.norm, first.norm)} norm" * several_norms
        matrix = Matrix(label, first.norm, float(first.eps), len(common), of, start, {})
        matrices.append((matrix, list(_pairs(attack, white, group))))
    level = shared_level(sum(len(base) > 0 for _, pairs in matrices for *_, base in pairs))
    return [
        matrix._replace(cells={names: _cell(attacked, base, level) for names, attacked, base in pairs})
        for matrix, pairs in matrices
    ]


def select_matrices(matrices: Sequence[Matrix]) -> list[Matrix]:
    """All matrices if they are few; otherwise each attack at the eps where it is nearest to taking half of all."""
    if len(matrices) <= MAX_MATRICES:
        return list(matrices)
    labels = dict.fromkeys(matrix.label for matrix in matrices)
    nearest = [min((m for m in matrices if m.label == label), key=Matrix.from_half) for label in labels]
    return sorted(nearest, key=Matrix.white_box)[: 2 * MAX_MATRICES]


def transfer_table(matrices: Sequence[Matrix], target: str, record: RunRecord) -> Table:
    """One target: every attack at every eps, made against the model itself and against each source."""
    every = _data(matrices)
    data, attacks = every[every.target == target], [matrix for matrix in matrices if target in matrix.targets()]
    several, incomplete = (data.networks > 1).any(), any(matrix.inputs < matrix.of for matrix in attacks)
    accuracies = [published_accuracy(record, matrix.label, matrix.eps, target, matrix.norm) for matrix in attacks]
    published = ["" if accuracy is None else f"{accuracy:.3f}" for accuracy in accuracies]
    texts = eps_text(data.eps)
    columns = [
        ("attack", [matrix.label for matrix in attacks]),
        ("eps", [texts[matrix.eps] for matrix in attacks]),
        ("inputs", [f"{matrix.inputs} of {matrix.of}" for matrix in attacks] if incomplete else None),
    ]
    for source in data.source.unique():
        cells = [matrix.cells.get((source, target)) for matrix in attacks]
        name = f"others of {source}" if source == target else source
        columns += [
            (f"made against {name}", [cell.point.in_full() if cell else "" for cell in cells]),
            ("best", [f"{cell.best:.3f}" if cell else "" for cell in cells] if several else None),
            ("published", published if any(published) and source == ITSELF else None),
        ]
    one_target = every.target.nunique() == 1
    name = "transfer" if one_target else f"transfer_{re.sub(r'[^a-z0-9]+', '_', target.lower()).strip('_')}"
    note = WORDING.note(several, incomplete, record.paper.source if any(published) else "")
    return column_table(name, data, columns, title=f"Given to {target}", note=note)


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
    rows, columns = (targets, sources) if turned else (sources, targets)
    tilted = columns > (3 if narrow else MANY)
    titles = [fill(WORDING.axes_title(matrix), TITLE) for matrix in matrices]
    height = 0.34 * (rows + 1.2) + 0.9 + 0.15 * max(title.count("\n") for title in titles) + 0.4 * tilted

    def draw(axis: Axes, content: tuple[str, Matrix]) -> None:
        title, matrix = content
        names = _short([*matrix.targets(), *matrix.sources()]) | {ITSELF: "itself (white box)"}
        targets = {target: float(index) for index, target in enumerate(matrix.targets())}
        sources = {ITSELF: 0.0} | {source: 1.25 + index for index, source in enumerate(matrix.sources())}
        for (source, target), cell in matrix.cells.items():
            _draw_cell(axis, cell, *(targets[target], sources[source])[:: -1 if turned else 1])
        sides = [("given to", targets), ("made against", sources)]
        (xlabel, across), (ylabel, down) = sides[::-1] if turned else sides
        tilt: Any = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if tilted else {}
        axis.set_xticks([*across.values()], [names[name] for name in across], **tilt)
        axis.set_yticks([*down.values()], [names[name] for name in down])
        limits = (-0.5, max(across.values()) + 0.5), (max(down.values()) + 0.5, -0.5)
        axis.set(xlim=limits[0], ylim=limits[1], xlabel=xlabel, ylabel=ylabel, title=title)
        axis.tick_params(axis="both", length=0)
        axis.spines[:].set_visible(False)
        axis.grid(False)

    contents = list(zip(titles, matrices, strict=True))
    return facet_figure(contents, draw, narrow=narrow, height=height, columns=1 if columns > WIDE else 2)


def _draw_cell(axis: Axes, cell: Cell, x: float, y: float) -> None:
    """A square with its number, in a frame where it is stronger than the model's own attack."""
    value = cell.point.value
    frame: dict[str, Any] = {"edgecolor": MEAN_COLOUR, "linewidth": 2} if cell.stronger() else {"linewidth": 0}
    axis.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, facecolor=COLOURS(value), **frame))
    ink = "#ffffff" if value > 0.5 else "#14171a"  # on the cell, whatever the page's colour scheme
    axis.text(x, y, f"{value:.3f}".removeprefix("0") if value < 1 else "1", color=ink, ha="center", va="center")


def _short(names: Sequence[str]) -> dict[str, str]:
    """Names without the beginning "group, " that all have in common."""
    heads = {name.rpartition(", ")[0] for name in names}
    common = f"{heads.pop()}, " if len(heads) == 1 else ""
    return {name: name.removeprefix(common) for name in names}


def _pairs(transferred: DataFrame, white_box: DataFrame, group: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    """(source, target) and its rows, and those of the target's own attack that they are compared with."""
    compared = len(far(transferred)) > 0  # what moves an input further need not be the better attack
    for target, on_target in transferred.groupby(transferred.model.map(group), sort=False):
        own = white_box[white_box.model.isin(on_target.model.unique())]
        if len(own):
            yield (ITSELF, target), own, own.head(0)
        for source, perturbed in on_target.groupby(on_target.source.map(group), sort=False):
            yield (source, target), perturbed, own if compared else own.head(0)


def _cell(rows: DataFrame, base: DataFrame, level: float) -> Cell:
    """The accuracy of one target on the perturbations of one source, and its difference to that on others."""
    pooled, own, networks = correct_by_network(rows), correct_by_network(base), rows.model.nunique()
    point, paired = network_point(pooled), {*pooled["repeat"]} & {*own["repeat"]}
    best = float(pooled.groupby("repeat").correct.mean().max()) if networks > 1 else point.value
    return Cell(networks, point, best, difference(pooled, own, level=level) if paired else None)


def _data(matrices: Sequence[Matrix]) -> DataFrame:
    """A row for every cell."""
    values = [
        (*matrix[:4], source, target, cell.networks, *cell.point, cell.best, *(cell.change or UNKNOWN))
        for matrix in matrices
        for (source, target), cell in matrix.cells.items()
    ]
    names = "attack norm eps inputs source target networks accuracy low high spread best"
    return pd.DataFrame(values, columns=[*names.split(), "difference", "difference_low", "difference_high"])


def _sentences(matrices: Sequence[Matrix]) -> list[str]:
    """For each target the strongest source, at the eps nearest to taking half of all, under the strongest attack there.

    Of many targets only the one whose sources come nearest to its own attack.
    """
    middle = min(matrices, key=Matrix.from_half)
    alike = [matrix for matrix in matrices if (matrix.norm, matrix.eps) == (middle.norm, middle.eps)]
    strongest = min(alike, key=Matrix.white_box)
    pairs = [(strongest.strongest_source(target), target) for target in strongest.targets()]
    if len(pairs) > MAX_SENTENCES:
        pairs = [min(pairs, key=lambda pair: (strongest.cells[pair].change or (math.inf,))[0])]
    return [WORDING.sentence(strongest, *pair) for pair in pairs]
