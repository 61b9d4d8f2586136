"""How much of the robustness survives: the accuracy that a first attack leaves, under all attacks of the run together.

An input survives in a repeat where it is classified rightly under every one of them.
"""

import math
from collections.abc import Hashable, Sequence
from itertools import pairwise
from textwrap import fill
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from pandas import DataFrame, Series

from unshaken.evaluation.checks.finding import aimed
from unshaken.evaluation.statistics import Interval, crossed, mean
from unshaken.report.accuracy import NORMS, Panel, Point, chance_accuracy
from unshaken.report.drawing import CLEAN, INK, MUTED, facet_figure, row_ticks, shade, styled
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
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import UNKNOWN, eps_text

# losses that climb a cross-entropy: what a paper's evaluation stops at
CROSS_ENTROPY = ("cross_entropy", "naive_cross_entropy", "mean_cross_entropy", "log_error")
# what an attack has that the first one has not, in the order in which they are put together
KINDS = ("more steps", "restarts", "other losses", "one step", "transfer", "no gradient", "other attacks")
# kinds of which one at least must be there: a single step, or other draws, falsify nothing
STRONGER = {"more steps", "restarts", "other losses", "transfer", "no gradient"}
# with three of these kinds a run is about what survives
FALSIFIERS = {"restarts", "other losses", "transfer", "no gradient"}
FIRST = ""  # the kind of the first attack
WORDING = Wording("survival")


class Stage(NamedTuple):
    """One kind of attack: accuracy under it alone, under it and all before it, and the share that is of the first."""

    kind: str
    attacks: list[str]
    alone: Point
    survives: Point
    share: Interval


class Survival(NamedTuple):
    """A model, or the networks of a group, at one eps: the first attack, then each kind.

    `above_chance` says whether it is surely better than chance without an attack (or not known); `left_out` are kinds
    that not all networks of the group were attacked with.
    """

    title: str
    model: str
    norm: str
    eps: float
    n: int
    clean: float | None
    above_chance: bool
    stages: list[Stage]
    left_out: list[str]

    def lost(self) -> float:
        """The share of the accuracy without an attack that all attacks together take; 0 where it is not known."""
        return 1 - self.stages[-1].survives.value / self.clean if self.clean else 0.0


def survival_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """What survives all attacks; None where no kind of STRONGER is beside the first."""
    survivals = measure_survival(run, panels)
    if not survivals:
        return None
    drawn = informative(survivals)
    drawing = WORDING.drawing("survival", lambda narrow: survival_figure(drawn, narrow=narrow))
    sentences = _sentences(drawn)
    kinds = {stage.kind for survival in survivals for stage in survival.stages}
    position = "first" if sentences and len(kinds & FALSIFIERS) > 2 else "figures"
    return Section("survival", WORDING.title(), sentences, [drawing], [survival_table(survivals)], position)


def measure_survival(run: StoredRun, panels: Sequence[Panel]) -> list[Survival]:
    """Every model or group, norm and eps where the first attack has a stronger one on the label beside it."""
    rows, labels, survivals = aimed(run.rows), attack_labels(panels), []
    attacked = (rows.attack != "none") & (rows.eps > 0) & rows.role.isin(["sweep", "transfer"])
    attacked_rows = rows.loc[attacked, ["model", *ATTACK_COLUMNS, "eps", "role", "index", "repeat", "correct"]]
    group = group_of(run.record, rows.model.unique())
    several = [len(set(group.values())) > 1, *(attacked_rows[key].nunique() > 1 for key in ("norm", "inference_draws"))]
    by_target = attacked_rows.groupby([attacked_rows.model.map(group), "norm", "inference_draws"], sort=False)
    for (model, norm, draws), target in by_target:
        plain_pgd = (target.role == "sweep") & (target.attack.str.partition(" (")[0] == "pgd")
        first = target[plain_pgd & target.loss.isin(CROSS_ENTROPY)]
        if len(first) == 0:
            continue
        clean = rows[(rows.attack == "none") & rows.model.isin(target.model.unique()) & (rows.inference_draws == draws)]
        point = network_point(correct_by_network(clean)) if len(clean) else None
        accuracy, above_chance = (None, True) if point is None else (point.value, point.low > chance_accuracy(clean))
        names = (str(model), f"{NORMS.get(norm, norm)} norm", f"{draws} inference draws")
        title = ", ".join(name for name, distinguishes in zip(names, several, strict=True) if distinguishes)
        for eps, at_eps in target.groupby("eps"):
            stages, n, left_out = measure_stages(at_eps, first.iloc[0], labels)
            if any(stage.kind in STRONGER for stage in stages):
                key = (title, str(model), str(norm), float(eps))
                survivals.append(Survival(*key, n, accuracy, above_chance, stages, left_out))
    return survivals


def measure_stages(
    rows: DataFrame, base: Series, labels: dict[tuple[Hashable, ...], str]
) -> tuple[list[Stage], int, list[str]]:
    """(stages of one model or group at one eps, number of inputs, kinds left out).

    Stages are of the repeats that all of them have. A kind that would leave out a network or an input is left out: what
    is left of inputs that were chosen, as those that mislead another model, is no accuracy of this one.
    """
    attacks, correct_by_attack = dict[str, list[str]](), []
    for _, attack in rows.groupby([*ATTACK_COLUMNS, "role"], sort=False):
        kind = _kind(attack.iloc[0], base)
        attacks.setdefault(kind, []).append(attack_label(attack.iloc[0], labels))
        correct_by_attack.append(attack.assign(kind=kind, correct=attack.correct.astype(float)))
    by_input = pd.concat(correct_by_attack).groupby(["kind", "model", "index", "repeat"])
    correct = by_input.correct.min().unstack("kind")
    if FIRST not in correct:
        return [], 0, []
    complete, left_out = correct[[FIRST]].dropna(), []
    networks, inputs = complete.index.unique("model"), complete.index.unique("index")
    for kind in (kind for kind in KINDS if kind in correct):
        joined = complete.join(correct[kind]).dropna()
        counts = joined.reset_index().groupby("model")["index"].nunique()
        if len(counts) == len(networks) and (counts == len(inputs)).all():
            complete = joined
        else:
            left_out.append(kind)

    def pooled(column: Series) -> DataFrame:
        return correct_by_network(column.rename("correct").reset_index())

    so_far, first = complete.cummin(axis=1), pooled(complete[FIRST])
    stages = []
    for kind in complete:
        survivors, alone = pooled(so_far[kind]), network_point(pooled(complete[kind]))
        stages.append(Stage(kind, attacks[kind], alone, network_point(survivors), ratio(survivors, first)))
    return stages, len(inputs), left_out


def ratio(subset: DataFrame, whole: DataFrame) -> Interval:
    """Mean of `subset` divided by that of `whole`, of which it is a part, with its 95 % interval.

    By the delta method: r ± that of the mean of (subset − r·whole) / mean(whole) over inputs and repeats. Where all or
    nothing is left there is no variance to see, and the bound is that of no exception in n·mean(whole) trials.
    """
    over, under = crossed(subset), crossed(whole)
    if not under.any():
        return UNKNOWN
    value = float(over.mean() / under.mean())
    bound = 1 - 0.025 ** (1 / (under.mean() * len(under)))
    if value in (0.0, 1.0):
        return Interval(0.0, 0.0, bound) if value == 0 else Interval(1.0, 1 - bound, 1.0)
    change = mean((over - value * under) / under.mean())
    return Interval(value, max(0.0, value + change.low), min(1.0, value + change.high))


def informative(survivals: Sequence[Survival]) -> list[Survival]:
    """Every model at the smallest eps at which all attacks take half of the accuracy, on average, or at the largest.

    Models are compared at the same eps of a norm; one that was not attacked there is left out.
    """
    lost = [(survival.norm, survival.eps, survival.lost()) for survival in survivals]
    means = pd.DataFrame(lost, columns=["norm", "eps", "lost"]).groupby(["norm", "eps"], as_index=False).lost.mean()
    halved = means[means.lost >= 0.5].groupby("norm").eps.min()
    eps = means.groupby("norm").eps.max().to_dict() | halved.to_dict()
    return [survival for survival in survivals if survival.eps == eps[survival.norm]]


def survival_table(survivals: Sequence[Survival]) -> Table:
    """Every stage of every model at every eps."""
    stages = [(survival, stage) for survival in survivals for stage in survival.stages]
    values = [
        (*survival[:5], stage.kind or "first", "; ".join(stage.attacks), *stage.alone, *stage.survives, *stage.share)
        for survival, stage in stages
    ]
    names = ["title", "model", "norm", "eps", "n", "kind", "attacks"]
    names += [f"{name}{end}" for name in ("alone", "survives") for end in ("", "_low", "_high", "_spread")]
    data = pd.DataFrame(values, columns=[*names, "share", "share_low", "share_high"])
    columns = {
        "model": data.title if data.title.nunique() > 1 else None,
        "attacks": [WORDING.attacks(stage) for _, stage in stages],
        "eps": data.eps.map(eps_text(data.eps)),
        "right under these alone": [stage.alone.in_full() for _, stage in stages],
        "right under all so far": [stage.survives.in_full() for _, stage in stages],
        "share of the first": ["" if math.isnan(stage.share.value) else WORDING.share(stage) for _, stage in stages],
    }
    left_out = {
        kind: [*dict.fromkeys(survival.model for survival in survivals if kind in survival.left_out)]
        for kind in dict.fromkeys(kind for survival in survivals for kind in survival.left_out)
    }
    return column_table("survival", data, columns, note=WORDING.note(left_out))


@styled()
def survival_figure(survivals: Sequence[Survival], *, narrow: bool = False) -> Figure:
    """Bars for each kind of attack: accuracy under it alone, and of what is right under it and all above it."""
    alone, so_far = labels = ["under these attacks alone", "under all so far"]
    labels += [CLEAN] * any(survival.clean is not None for survival in survivals)
    light, dark = (shade("#0072b2", [0, 1], draws) for draws in (0, 1))

    def draw(axis: Axes, survival: Survival) -> dict[str, Any]:
        for index, stage in enumerate(survival.stages):
            _bar(axis, index - 0.2, 0.26, stage.alone, light)
            _bar(axis, index + 0.12, 0.34, stage.survives, dark)
        handles: dict[str, Any] = {alone: Patch(color=light), so_far: Patch(color=dark)}
        if survival.clean is not None:
            handles[CLEAN] = axis.axvline(survival.clean, zorder=0.9, color=MUTED, ls=(0, (4, 3)), lw=1.2)
        names = [fill(stage.kind or stage.attacks[0], 18) for stage in survival.stages]
        row_ticks(axis, names, labelsize=8)
        axis.set(xlim=(0, 1.14), ylim=(len(names) - 0.5, -0.5), xlabel="accuracy")
        axis.set_title(fill(WORDING.axes_title(survival), 40))
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        return handles

    height = 0.42 * max(len(survival.stages) for survival in survivals) + 0.75
    columns = 1 if len(survivals) == 1 and not narrow else 2
    return facet_figure(survivals, draw, narrow=narrow, height=height, columns=columns, labels=labels)


def _bar(axis: Axes, y: float, height: float, point: Point, colour: Any) -> None:
    """A bar with its interval and its number."""
    axis.barh(y, point.value, height=height, color=colour)
    axis.plot([point.low, point.high], [y] * 2, color=INK, lw=0.8)
    text: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points", "size": 7, "va": "center"}
    axis.annotate(f"{point.value:.3f}", (max(point.value, point.high), y), **text)


def _kind(row: Series, base: Series) -> str:
    """What the attack of a row has that the first one has not; one that differs in several ways is of the first."""
    differs = {
        "transfer": row.role == "transfer",
        FIRST: all(row[column] == base[column] for column in ATTACK_COLUMNS),
        "no gradient": row.attack.startswith("spsa"),
        "one step": row.steps == 1,
        "other losses": row.loss not in CROSS_ENTROPY,
        "restarts": row.restarts > base.restarts,
        "more steps": row.steps > base.steps,
    }
    return next((kind for kind, holds in differs.items() if holds), "other attacks")


def _sentences(survivals: Sequence[Survival]) -> list[str]:
    """What survives on each model that knows more than chance; of many, on those where least and most does."""
    chosen = [s for s in survivals if s.above_chance and not math.isnan(s.stages[-1].share.value)]
    if len(chosen) > 4:
        least, *_, most = sorted(chosen, key=lambda survival: survival.stages[-1].share.value)
        chosen = [least, most]
    return [WORDING.sentence(survival, _largest_drop(survival.stages)) for survival in chosen]


def _largest_drop(stages: Sequence[Stage]) -> tuple[float, str] | None:
    """By how much what survives drops most, and with which kind; None where two drop alike."""
    drops = [(before.survives.value - stage.survives.value, stage.kind) for before, stage in pairwise(stages)]
    largest, *others = sorted(drops, reverse=True)
    return None if largest[0] <= 0 or (others and math.isclose(largest[0], others[0][0])) else largest
