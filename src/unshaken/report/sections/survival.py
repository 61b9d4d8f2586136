"""How much of the robustness survives: the accuracy that a first attack leaves, under all attacks of the run together.

An input survives in a repeat where it is classified rightly under every one of them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.evaluation.checks.finding import aimed
from unshaken.evaluation.statistics import Interval, crossed, mean
from unshaken.report.accuracy import NORMS, Panel, Point, chance_accuracy
from unshaken.report.drawing import CLEAN, INK, MUTED, facets, legend, legend_height, shade, styled
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
from unshaken.report.wording import eps_text, listed, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

CROSS_ENTROPY = ("cross_entropy", "naive_cross_entropy", "mean_cross_entropy", "log_error")
"""Losses that climb a cross-entropy: what a paper's evaluation stops at."""

KINDS = ("more steps", "restarts", "other losses", "one step", "transfer", "no gradient", "other attacks")
"""What an attack has that the first one has not, in the order in which they are put together."""

STRONGER = {"more steps", "restarts", "other losses", "transfer", "no gradient"}
"""Kinds of which one at least must be there: a single step, or other draws, falsify nothing."""

FALSIFIERS = {"restarts", "other losses", "transfer", "no gradient"}
"""With three of these kinds a run is about what survives."""

FIRST = ""
"""The kind of the first attack."""

NAMED = {
    "one step": "a single step",
    "transfer": "perturbations made against other models",
    "no gradient": "an attack without a gradient",
}
"""Kinds that a sentence names in other words."""

TOLD = 4
"""Of more models than this only two are told of."""

SHOWN = 3
"""The most attacks of a kind that a table names."""

HUE = "#0072b2"


class Stage(NamedTuple):
    """One kind of attack: accuracy under it alone, under it and all before it, and the share that is of the first."""

    kind: str
    attacks: list[str]
    alone: Point
    survives: Point
    share: Interval

    def named(self) -> str:
        """ "restarts: PGD-1 (10 restarts)"."""
        more = len(self.attacks) - SHOWN
        shown = [*self.attacks[:SHOWN], f"{more} others"] if more > 1 else self.attacks
        return f"{self.kind}: {listed(shown)}" if self.kind else self.attacks[0]


class Survival(NamedTuple):
    """A model, or the networks of a group, at one eps: the first attack, then each kind.

    `knows` says whether it is surely better than chance without an attack (or not known); `left_out` are kinds that
    not all networks of the group were attacked with.
    """

    title: str
    model: str
    norm: str
    eps: float
    n: int
    clean: float | None
    knows: bool
    stages: list[Stage]
    left_out: list[str]

    def lost(self) -> float:
        """The share of the accuracy without an attack that all attacks together take; 0 where it is not known."""
        return 1 - self.stages[-1].survives.value / self.clean if self.clean else 0.0


def survival_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """What survives all attacks; None where no kind of STRONGER is beside the first."""
    found = survivals(source, panels)
    if not found:
        return None
    drawn = informative(found)
    kinds = {stage.kind for part in found for stage in part.stages}
    drawing = Drawing(
        "survival",
        lambda narrow: survival_figure(drawn, narrow=narrow),
        "Accuracy under each kind of attack alone and under all so far; the numbers are in the table below",
        "Accuracy under the first attack of the recipe with a cross-entropy, then under each other kind. Light: under "
        "this kind alone. Dark: of inputs that are classified rightly under it and under all above it. The dashed line "
        "is the accuracy without an attack; thin lines are 95 % intervals.",
    )
    sentences = _sentences(drawn)
    place = "first" if sentences and len(kinds & FALSIFIERS) > 2 else "figures"
    title = "How much of the robustness survives"
    return Section("survival", title, sentences, [drawing], [survival_table(found)], place)


def survivals(source: StoredRun, panels: Sequence[Panel]) -> list[Survival]:
    """Every model or group, norm and eps where the first attack has a stronger one on the label beside it."""
    rows, known, found = aimed(source.rows), attack_labels(panels), []
    attacked = (rows.attack != "none") & (rows.eps > 0) & rows.role.isin(["sweep", "transfer"])
    made = rows.loc[attacked, ["model", *ATTACK_COLUMNS, "eps", "role", "index", "repeat", "correct"]]
    group = group_of(source.about, rows.model.unique())
    keys = ["model", "norm", "inference_draws"]
    for (model, norm, draws), part in made.groupby([made.model.map(group), *keys[1:]], sort=False):
        base = _first(part)
        if base is None:
            continue
        own = rows[(rows.attack == "none") & rows.model.isin(part.model.unique()) & (rows.inference_draws == draws)]
        clean = network_point(correct_by_network(own)) if len(own) else None
        knows = clean is None or clean.low > chance_accuracy(own)
        named = {"model": model, "norm": f"{NORMS.get(norm, norm)} norm", "inference_draws": f"{draws} inference draws"}
        several = [len(set(group.values())) > 1, *(made[key].nunique() > 1 for key in keys[1:])]
        title = ", ".join(name for name, more in zip(named.values(), several, strict=True) if more)
        for eps, at_eps in part.groupby("eps"):
            stages, n, left_out = stages_of(at_eps, base, known)
            if any(stage.kind in STRONGER for stage in stages):
                right = None if clean is None else clean.value
                found.append(Survival(title, str(model), str(norm), float(eps), n, right, knows, stages, left_out))
    return found


def stages_of(
    rows: DataFrame, base: Series, known: dict[tuple[Hashable, ...], str]
) -> tuple[list[Stage], int, list[str]]:
    """(stages of one model or group at one eps, number of inputs, kinds left out).

    Stages are of the repeats that all of them have. A kind that would leave out a network or an input is left out: what
    is left of inputs that were chosen, as those that mislead another model, is no accuracy of this one.
    """
    import pandas as pd

    told, parts = dict[str, list[str]](), []
    for _, part in rows.groupby([*ATTACK_COLUMNS, "role"], sort=False):
        kind, label = _kind(part.iloc[0], base), attack_label(part.iloc[0], known)
        told.setdefault(kind, []).append(label)
        parts.append(part[["model", "index", "repeat", "correct"]].assign(kind=kind))
    right = pd.concat(parts).astype({"correct": float})
    table = right.groupby(["kind", "model", "index", "repeat"]).correct.min().unstack("kind")
    if FIRST not in table:
        return [], 0, []
    kept, left_out = table[[FIRST]].dropna(), []
    networks = kept.index.unique("model")
    for kind in (kind for kind in KINDS if kind in table):
        both = kept.join(table[kind]).dropna()
        inputs = both.reset_index().groupby("model")["index"].nunique()
        if len(inputs) == len(networks) and (inputs == kept.index.unique("index").size).all():
            kept = both
        else:
            left_out.append(kind)
    columns = list(kept)
    alone, so_far = ({kind: _pooled(part[kind]) for kind in columns} for part in (kept, kept.cummin(axis=1)))
    stages = [
        Stage(
            kind,
            told[kind],
            network_point(alone[kind]),
            network_point(so_far[kind]),
            ratio(so_far[kind], so_far[FIRST]),
        )
        for kind in columns
    ]
    return stages, int(kept.index.get_level_values("index").nunique()), left_out


def ratio(part: DataFrame, whole: DataFrame) -> Interval:
    """Mean of `part` divided by that of `whole`, of which it is a part, with its 95 % interval.

    By the delta method: r ± that of the mean of (part − r·whole) / mean(whole) over inputs and repeats. Where all or
    nothing is left there is no variance to see, and the bound is that of no exception in n·mean(whole) trials.
    """
    over, under = crossed(part), crossed(whole)
    if not under.any():
        return Interval(*(float("nan"),) * 3)
    value = float(over.mean() / under.mean())
    most = 1 - 0.025 ** (1 / (under.mean() * len(under)))
    if value in (0.0, 1.0):
        return Interval(value, 0.0 if value == 0 else 1 - most, most if value == 0 else 1.0)
    change = mean((over - value * under) / under.mean())
    return Interval(value, max(0.0, value + change.low), min(1.0, value + change.high))


def informative(found: Sequence[Survival]) -> list[Survival]:
    """Every model at the smallest eps at which all attacks take half of the accuracy, on average, or at the largest.

    Models are compared at the same eps of a norm; one that was not attacked there is left out.
    """
    kept = []
    for norm in dict.fromkeys(part.norm for part in found):
        by_eps: dict[float, list[Survival]] = {}
        for part in sorted((part for part in found if part.norm == norm), key=lambda part: part.eps):
            by_eps.setdefault(part.eps, []).append(part)
        halved = [parts for parts in by_eps.values() if sum(part.lost() for part in parts) >= len(parts) / 2]
        kept += (halved or [*by_eps.values()][-1:])[0]
    return [part for part in found if part in kept]


def survival_table(found: Sequence[Survival]) -> Table:
    """Every stage of every model at every eps."""
    import pandas as pd

    values, body, titled = [], [], len({part.title for part in found}) > 1
    texts = eps_text([part.eps for part in found])
    for part in found:
        for stage in part.stages:
            told = (
                part.title,
                part.model,
                part.norm,
                part.eps,
                part.n,
                stage.kind or "first",
                "; ".join(stage.attacks),
            )
            values.append((*told, *stage.alone, *stage.survives, *stage.share))
            share = percent(stage.share.value) if stage.share.value == stage.share.value else ""
            share += f" [{percent(stage.share.low)}, {percent(stage.share.high)}]" if share and stage.kind else ""
            line = [stage.named(), texts[part.eps], stage.alone.in_full(), stage.survives.in_full(), share]
            body.append([part.title] * titled + line)
    names = ["title", "model", "norm", "eps", "n", "kind", "attacks"]
    for what in ("alone", "survives"):
        names += [what, f"{what}_low", f"{what}_high", f"{what}_spread"]
    data = pd.DataFrame(values, columns=[*names, "share", "share_low", "share_high"])
    head = ["model"] * titled + [
        "attacks",
        "eps",
        "right under these alone",
        "right under all so far",
        "share of the first",
    ]
    note = "Mean ± standard deviation over the networks of a group, or over the repeats of one network, and the 95 % "
    note += "interval of the mean. An input is right under several attacks if it is right under every one in the same "
    note += "repeat. Transfer is every perturbation that was made against another model. What survives all is a lower "
    note += (
        "bound: an attacker who does not know the inference draws could not choose the attack of each input so well."
    )
    return Table("survival", data, head, body, note=note + _left_out(found))


@styled()
def survival_figure(found: Sequence[Survival], *, narrow: bool = False) -> Figure:
    """Bars for each kind of attack: accuracy under it alone, and of what is right under it and all above it."""
    stages = max(len(part.stages) for part in found)
    marks = ["under these attacks alone", "under all so far", CLEAN]
    height = 0.42 * stages + 0.75
    more = legend_height(3.7 if narrow else 7.6, marks)
    single = len(found) == 1 and not narrow
    figure, axes = facets(len(found), narrow=narrow, height=height, more=more, columns=1 if single else 2)
    for axis, part in zip(axes, found, strict=True):
        handles = _draw(axis, part)
    legend(figure, dict(zip(marks, handles, strict=False)), below=True)
    return figure


def _draw(axis: Axes, part: Survival) -> list[Any]:
    """One model; returns the marks for the legend."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    light, dark = shade(HUE, [0, 1], 0), shade(HUE, [0, 1], 1)
    for place, stage in enumerate(part.stages):
        for shift, height, value, colour in ((-0.2, 0.26, stage.alone, light), (0.12, 0.34, stage.survives, dark)):
            axis.barh(place + shift, value.value, height=height, color=colour)
            axis.plot([value.low, value.high], [place + shift] * 2, color=INK, lw=0.8)
            where: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points", "va": "center"}
            axis.annotate(f"{value.value:.3f}", (max(value.value, value.high), place + shift), size=7, **where)
    if part.clean is not None:
        axis.axvline(part.clean, color=MUTED, ls=(0, (4, 3)), lw=1.2, zorder=0.9)
    names = [fill(stage.kind or stage.attacks[0], 18) for stage in part.stages]
    axis.set_yticks(range(len(names)), names)
    axis.set(xlim=(0, 1.14), ylim=(len(names) - 0.5, -0.5), xlabel="accuracy")
    axis.set_title(
        fill(", ".join([*([part.title] if part.title else []), f"eps {eps_text([part.eps])[part.eps]}"]), 40)
    )
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axis.grid(True, axis="x")
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", length=0, labelsize=8)
    dashed = Line2D([], [], color=MUTED, ls=(0, (4, 3)), lw=1.2)
    return [Patch(color=light), Patch(color=dark), *([dashed] if part.clean is not None else [])]


def _first(rows: DataFrame) -> Series | None:
    """A row of the first PGD of the recipe that climbs a cross-entropy; None where there is none."""
    plain = rows.attack.str.partition(" (")[0] == "pgd"
    chosen = rows[(rows.role == "sweep") & plain & rows.loss.isin(CROSS_ENTROPY)]
    return None if len(chosen) == 0 else chosen.iloc[0]


def _kind(row: Series, base: Series) -> str:
    """What the attack of a row has that the first one has not; one that differs in several ways is of the first."""
    if row.role == "transfer":
        return "transfer"
    if all(row[column] == base[column] for column in ATTACK_COLUMNS):
        return FIRST
    if row.attack.startswith("spsa"):
        return "no gradient"
    if row.steps == 1:
        return "one step"
    if row.loss not in CROSS_ENTROPY:
        return "other losses"
    if row.restarts > base.restarts:
        return "restarts"
    return "more steps" if row.steps > base.steps else "other attacks"


def _pooled(right: Series) -> DataFrame:
    """A column of `stages_of` as rows of `together`."""
    return correct_by_network(right.rename("correct").reset_index())


def _sentences(found: Sequence[Survival]) -> list[str]:
    """What survives on each model that knows more than chance; of many, on those where least and most does."""
    known = [part for part in found if part.knows and part.stages[-1].share.value == part.stages[-1].share.value]
    if len(known) > TOLD:
        ordered = sorted(known, key=lambda part: part.stages[-1].share.value)
        known = [ordered[0], ordered[-1]]
    return [_sentence(part) for part in known]


def _sentence(part: Survival) -> str:
    """What survives on one model, and with which kind most of it falls."""
    first, last = part.stages[0], part.stages[-1]
    on = f"On {part.title}, " if part.title else ""
    start = f"{on}{first.attacks[0]} at eps {eps_text([part.eps])[part.eps]} leaves an accuracy of "
    start += f"{first.alone.value:.3f}; "
    if last.survives.value == first.alone.value:
        return f"{start}all of it survives the other attacks."
    left = f"{last.survives.value:.3f}" if last.survives.value else "none"
    share = f"{percent(last.share.value)} [{percent(last.share.low)}, {percent(last.share.high)}]"
    return f"{start}{left} of it survives all attacks together ({share}){_largest(part.stages)}."


def _largest(stages: Sequence[Stage]) -> str:
    """The kind with which what survives drops most; nothing where two drop alike."""
    drops = [(before.survives.value - stage.survives.value, stage.kind) for before, stage in pairwise(stages)]
    (drop, kind), *others = sorted(drops, reverse=True)
    if drop <= 0 or (others and math.isclose(drop, others[0][0])):
        return ""
    return f"; the largest drop, by {drop:.3f}, comes with {NAMED.get(kind, kind)}"


def _left_out(found: Sequence[Survival]) -> str:
    """A sentence on every kind that not all networks of a group were attacked with on all inputs."""
    groups: dict[str, list[str]] = {}
    for part in found:
        for kind in part.left_out:
            if part.model not in groups.setdefault(kind, []):
                groups[kind].append(part.model)
    return "".join(
        f" Left out, because not every network of {listed(names)} has it for every input: {NAMED.get(kind, kind)}."
        for kind, names in groups.items()
    )
