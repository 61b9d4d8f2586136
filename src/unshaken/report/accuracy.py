"""Accuracy of every attack at every eps with its interval; the curves, and the attacks, that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.evaluation.checks.finding import OWN_STEP, UNAIMED, full_name, is_one_of
from unshaken.evaluation.statistics import accuracy, crossed
from unshaken.report.wording import eps_text

if TYPE_CHECKING:
    from pandas import DataFrame, Series


# the columns that name one curve: one attack on one model, predicted in one way
SERIES = ["model", "attack", "norm", "loss", "attack_draws", "steps", "restarts", "inference_draws"]

PANEL = ["model", "norm", "inference_draws"]  # the columns in which the curves of a panel agree
NORMS = {"linf": "L∞", "l2": "L2"}
STEP, LATENT = "a step of its own", "aimed at the latent"  # what sets attacks apart from others of their norm


class Point(NamedTuple):
    """An accuracy, its 95 % interval, and its standard deviation over repeats (NaN where there is one repeat)."""

    value: float
    low: float
    high: float
    spread: float = float("nan")

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def in_full(self) -> str:
        """ "0.417 ± 0.012 [0.380, 0.454]"."""
        return str(self) if self.spread != self.spread else str(self).replace(" [", f" ± {self.spread:.3f} [")


class Panel(NamedTuple):
    """The curves that can be compared: one model, one norm, one number of inference draws, one aim."""

    title: str  # what tells the panel from the others; "" where it is the only one
    model: str
    norm: str
    clean: Point | None  # None where the clean inputs were not evaluated
    curves: dict[str, DataFrame]  # label (FGSM-10, MEAN) -> rows of `accuracy_table`, by eps

    @property
    def apart(self) -> str:
        """What sets its attacks apart from others of the norm, in words; "" where nothing does."""
        return str(apart(next(iter(self.curves.values()))).iloc[0])

    def eps(self) -> list[float]:
        """Every size that an attack of the panel was run with."""
        return sorted({float(eps) for curve in self.curves.values() for eps in curve.eps})

    def strongest(self) -> str:
        """The attack that comes nearest to the lowest accuracy, on average over the sizes it was run with."""
        import pandas as pd

        every = pd.concat(self.curves, names=["label"])
        excess = every.accuracy - every.groupby("eps").accuracy.transform("min")
        return str(excess.groupby("label", sort=False).mean().idxmin())

    def strongest_losses(self) -> Panel:
        """The panel with every attack once: with the loss that leaves the least accuracy on average."""
        weakest_first = sorted(self.curves.items(), key=lambda item: -float(item[1].accuracy.mean()))
        strongest = {tuple(curve.iloc[0][SERIES].drop("loss")): label for label, curve in weakest_first}
        return self._replace(curves={label: c for label, c in self.curves.items() if label in strongest.values()})

    def informative(self, label: str) -> float:
        """The smallest eps at which the attack at least halves the accuracy; its largest where there is none."""
        curve = self.curves[label]
        start = self.clean.value if self.clean is not None else float(curve.accuracy.iloc[0])
        halved = curve[(curve.eps > 0) & (curve.accuracy <= start / 2)]
        return float(halved.eps.min() if len(halved) else curve.eps.max())


def accuracy_table(rows: DataFrame) -> DataFrame:
    """Accuracy of every curve at every eps, in the order of the rows; sweep rows only.

    `low` and `high` are its 95 % interval, n the number of inputs, `spread` the standard deviation over repeats of the
    accuracy of a repeat (NaN where there is one).
    """
    import numpy as np
    import pandas as pd

    values = []
    for key, group in rows[rows.role == "sweep"].groupby([*SERIES, "eps"], sort=False):
        repeats = crossed(group).mean(0)
        spread = repeats.std(ddof=1) if len(repeats) > 1 else float("nan")
        values.append((*key, group["index"].nunique(), *accuracy(group), spread))
    table = pd.DataFrame(values, columns=[*SERIES, "eps", "n", "accuracy", "low", "high", "spread"])
    # ngroup counts by first appearance: models, panels and curves keep the order of the rows, however these interleave
    order = [table.groupby(by, sort=False).ngroup() for by in (SERIES, PANEL, "model")]
    return table.iloc[np.lexsort([table.eps, *order])]


def point_at(curve: DataFrame, eps: float) -> Point:
    """The accuracy of a curve at one of its sizes."""
    row = curve[curve.eps == eps].iloc[0]
    return Point(float(row.accuracy), float(row.low), float(row.high), float(row.spread))


def rows_behind(curve: DataFrame, eps: float, rows: DataFrame) -> DataFrame:
    """The rows behind one point of a curve."""
    swept = rows[(rows.role == "sweep") & (rows.eps == eps)]
    return swept[(swept[SERIES] == curve.iloc[0][SERIES]).all(axis=1)]


def chance_accuracy(clean: DataFrame) -> float:
    """Accuracy of the answer that is always the commonest label."""
    return float(clean.drop_duplicates("index").label.value_counts(normalize=True).max())


def above_chance(panel: Panel, rows: DataFrame) -> bool:
    """Whether the model surely knows more than the commonest label; accuracy under attack says nothing where not."""
    clean = rows[(rows.attack == "none") & (rows.model == panel.model)]
    return panel.clean is None or panel.clean.low > chance_accuracy(clean)


def apart(rows: DataFrame) -> Series:
    """What sets the attack of a row apart from others of its norm, in words; "" where nothing does."""
    import pandas as pd

    texts = pd.Series("", index=rows.index, dtype=object)
    texts[is_one_of(rows, OWN_STEP)] = STEP
    texts[rows.loss.isin(UNAIMED)] = LATENT
    return texts


def panels(table: DataFrame) -> list[Panel]:
    """`accuracy_table` in groups that can be compared."""
    attacked = table[table.attack != "none"]
    result = []
    for (model, norm, draws, note), rows in attacked.groupby([*PANEL, apart(attacked).rename("apart")], sort=False):
        texts = (model, f"{NORMS.get(norm, norm)} norm", f"{draws} inference draws")
        title = [text for column, text in zip(PANEL, texts, strict=True) if attacked[column].nunique() > 1]
        clean = table[(table.attack == "none") & (table.model == model) & (table.inference_draws == draws)]
        point = point_at(clean, 0.0) if len(clean) else None
        result.append(Panel(", ".join(title + [note] * bool(note)), model, norm, point, _curves(rows)))
    return result


def grid(panel: Panel) -> dict[str, dict[float, Point | None]]:
    """The compact table: label -> accuracy at every eps, None where it was not run; first no attack, at eps 0."""
    lines = {} if panel.clean is None else {"no attack": {0.0: panel.clean}}
    lines |= {label: {eps: point_at(curve, eps) for eps in curve.eps} for label, curve in panel.curves.items()}
    sizes = sorted({eps for points in lines.values() for eps in points})
    return {label: {eps: points.get(eps) for eps in sizes} for label, points in lines.items()}


def _curves(rows: DataFrame) -> dict[str, DataFrame]:
    """Label -> rows by eps, in the order of the rows; loss, steps, restarts named where the attack is not enough."""
    curves = rows.groupby(["attack", "attack_draws", "loss", "steps", "restarts"], sort=False)
    return {full_name(curve.iloc[0], rows): curve.sort_values("eps") for _, curve in curves}


class SharedAttack(NamedTuple):
    """One attack on several models: `curves` by model, rows of `accuracy_table` by eps; `clean` by model."""

    label: str
    norm: str
    curves: dict[str, DataFrame]
    clean: dict[str, Point]

    @property
    def apart(self) -> str:
        """As of a `Panel`."""
        return str(apart(next(iter(self.curves.values()))).iloc[0])

    def eps(self) -> list[float]:
        """The sizes that the attack was run with on every model."""
        return sorted(set.intersection(*({float(eps) for eps in curve.eps} for curve in self.curves.values())))

    def eps_text(self, eps: float) -> str:
        """How to write one of its sizes."""
        return eps_text(self.eps())[eps]

    def points(self, eps: float, models: Sequence[str]) -> list[Point | None]:
        """Accuracy of each of these models at one of its sizes; None where it was not run."""
        return [point_at(self.curves[model], eps) if model in self.curves else None for model in models]

    def mean(self) -> float:
        """Accuracy under the attack, on average over models and sizes."""
        return sum(float(curve.accuracy.mean()) for curve in self.curves.values()) / len(self.curves)

    def informative(self) -> float:
        """The smallest eps at which the attack at least halves the mean accuracy of the models, or the largest."""
        start = sum(point.value for point in self.clean.values()) / max(len(self.clean), 1)
        means = {e: sum(point_at(c, e).value for c in self.curves.values()) / len(self.curves) for e in self.eps()}
        halved = [eps for eps, mean in means.items() if eps > 0 and self.clean and mean <= start / 2]
        return min(halved) if halved else max(means)


def shared_attacks(panels: Sequence[Panel]) -> list[SharedAttack]:
    """The attacks that were run on two models or more."""
    by_key: dict[tuple[Any, ...], SharedAttack] = {}
    for panel in panels:
        for label, curve in panel.curves.items():
            key = tuple(curve.iloc[0][column] for column in SERIES if column != "model")
            attack = by_key.setdefault(key, SharedAttack(label, panel.norm, {}, {}))
            attack.curves[panel.model] = curve
            if panel.clean is not None:
                attack.clean[panel.model] = panel.clean
    several = {key: attack for key, attack in by_key.items() if len(attack.curves) > 1 and attack.eps()}
    norms, draws = {attack.norm for attack in several.values()}, {key[-1] for key in several}
    attacks = []
    for key, attack in several.items():
        terms = [attack.label]
        terms += [f"{NORMS.get(attack.norm, attack.norm)} norm"] * (len(norms) > 1)
        terms += [f"{key[-1]} inference draws"] * (len(draws) > 1) + [LATENT] * (attack.apart == LATENT)
        attacks.append(attack._replace(label=", ".join(terms)))
    return attacks
