"""Attacks that were run on several models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.report.accuracy import LATENT, NORMS, SERIES, Panel, Point, apart, point_at
from unshaken.report.wording import eps_text

if TYPE_CHECKING:
    from pandas import DataFrame


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
    return [
        attack._replace(
            label=", ".join(
                [attack.label]
                + [f"{NORMS.get(attack.norm, attack.norm)} norm"] * (len(norms) > 1)
                + [f"{key[-1]} inference draws"] * (len(draws) > 1)
                + [attack.apart] * (attack.apart == LATENT)
            )
        )
        for key, attack in several.items()
    ]
