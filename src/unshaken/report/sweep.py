"""Models that differ in one number: which setting of a recipe orders them, and what was measured on them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.report.accuracy import Panel, Point, accuracy_table, point_at, rows_behind
from unshaken.report.accuracy import panels as panels_of
from unshaken.report.drawing import CLEAN
from unshaken.report.groups import group_of
from unshaken.report.sections.models import Shared, shared
from unshaken.report.sections.seeds import grouped
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text

if TYPE_CHECKING:
    from pandas import DataFrame, Series


MIN_VALUES = 3
"""Two values are no sweep: models that differ like this are compared as any others are."""


class Family(NamedTuple):
    """Models, or groups of networks, that share every setting but one: by its value, in increasing order."""

    name: str
    models: dict[float, str]


class Setting(NamedTuple):
    """A numeric setting, by its path in a recipe, and the families of models that differ in it alone."""

    path: str
    families: list[Family]

    @property
    def word(self) -> str:
        return self.path.split(".")[-1].replace("_", " ")

    @property
    def values(self) -> list[float]:
        return sorted({value for family in self.families for value in family.models})

    @property
    def reach(self) -> tuple[int, int]:
        """How many models it orders, at how many values."""
        return sum(len(family.models) for family in self.families), len(self.values)


class Sweep(NamedTuple):
    """A setting with what was measured on its models.

    `attacks` and the eps that each is told of at, by label; `rows`, in which a network of a group is a repeat;
    `several`: whether there are networks of several seeds.
    """

    setting: Setting
    attacks: dict[str, Shared]
    eps: dict[str, float]
    rows: DataFrame
    several: bool

    @property
    def labels(self) -> list[str]:
        """No attack, then the attacks."""
        return [CLEAN] * any(attack.clean for attack in self.attacks.values()) + list(self.attacks)

    def size(self, label: str) -> str:
        """The eps of an attack as text."""
        return eps_text(self.attacks[label].eps())[self.eps[label]]

    def point(self, label: str, model: str, eps: float | None = None) -> Point | None:
        """Accuracy of a model under an attack, or under none; None where it was not run."""
        if label == CLEAN:
            return next((attack.clean[model] for attack in self.attacks.values() if model in attack.clean), None)
        curve = self.attacks[label].curves.get(model)
        return None if curve is None else point_at(curve, self.eps[label] if eps is None else eps)

    def behind(self, label: str, model: str, eps: float | None = None) -> DataFrame:
        """The rows of that point."""
        if label != CLEAN:
            return rows_behind(self.attacks[label].curves[model], self.eps[label] if eps is None else eps, self.rows)
        curve = next(attack.curves[model] for attack in self.attacks.values() if model in attack.clean)
        draws = curve.inference_draws.iloc[0]
        chosen = (self.rows.attack == "none") & (self.rows.model == model) & (self.rows.inference_draws == draws)
        return self.rows[chosen]

    def networks(self, label: str, model: str, eps: float | None = None) -> Series:
        """Accuracy of every network at that point, by seed."""
        found: Series = self.behind(label, model, eps).groupby("repeat").correct.mean()
        return found

    def curve(self, label: str, family: Family) -> DataFrame:
        """Accuracy of a family under an attack: `value` of the setting, `model`, and the numbers of a Point."""
        import pandas as pd

        points = {value: self.point(label, model) for value, model in family.models.items()}
        told = [(value, family.models[value], *point) for value, point in points.items() if point is not None]
        return pd.DataFrame(told, columns=["value", "model", "accuracy", *Point._fields[1:]])

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every model under every attack at every eps."""
        for family in self.setting.families:
            for value, model in family.models.items():
                for label in self.labels:
                    for eps in [0.0] if label == CLEAN else self.attacks[label].eps():
                        point = self.point(label, model, eps)
                        if point is None:
                            continue
                        told = {"models": family.name, "setting": self.setting.path, "value": value, "model": model}
                        told |= {"attack": label, "norm": "" if label == CLEAN else self.attacks[label].norm}
                        single = self.networks(label, model, eps) if self.several else None
                        told |= {"eps": eps, "networks": 1 if single is None else len(single), "accuracy": point.value}
                        told |= {"low": point.low, "high": point.high, "spread": point.spread}
                        yield told | {"best": math.nan if single is None else single.max()}


def swept_setting(about: dict[str, Any]) -> Setting | None:
    """The numeric setting of network, model or training that orders most models of a recipe, at most values.

    Models that differ in more than this setting are another family if others share the rest with them, or in none.
    """
    entries = about.get("recipe", {}).get("models", [])
    group = group_of(about, [entry["label"] for entry in entries])
    told = {group[e["label"]]: _made_of(e) for e in entries}
    paths = dict.fromkeys(path for leaves in told.values() for path, value in leaves.items() if _is_number(value))
    found = [Setting(path, families) for path in paths if (families := _families(path, told))]
    return max(found, key=lambda setting: setting.reach, default=None)


def measure_sweep(setting: Setting, source: StoredRun, panels: Sequence[Panel]) -> Sweep | None:
    """What was measured on models that differ in the setting; None where fewer than three of a family were attacked."""
    rows = grouped(source)
    several = len(rows) > 0
    rows, panels = (rows, panels_of(accuracy_table(rows))) if several else (source.rows, panels)
    members = {model for family in setting.families for model in family.models.values()}
    attacks = shared([panel for panel in panels if panel.model in members])
    attacked = {model for attack in attacks for model in attack.curves}
    families = []
    for family in setting.families:
        models = {value: model for value, model in family.models.items() if model in attacked}
        families += [family._replace(models=models)] * (len(models) >= MIN_VALUES)
    if not families:
        return None
    found = {attack.label: attack for attack in attacks}
    return Sweep(setting._replace(families=families), found, _at_one_size(attacks), rows, several)


def _at_one_size(attacks: Sequence[Shared]) -> dict[str, float]:
    """The informative eps of the strongest attack in a norm, for all of that norm and aim that were run there."""
    found = {}
    for attack in attacks:
        strongest = min(
            (other for other in attacks if (other.norm, other.apart) == (attack.norm, attack.apart)), key=Shared.mean
        )
        eps = strongest.informative()
        found[attack.label] = eps if eps in attack.eps() else attack.informative()
    return found


def _families(path: str, told: Mapping[str, Mapping[str, Any]]) -> list[Family]:
    """Models that share every setting but this one, where they have three values of it or more."""
    together: dict[str, dict[float, str]] = {}
    for model, leaves in told.items():
        if _is_number(leaves.get(path)):
            rest = json.dumps({word: value for word, value in leaves.items() if word != path}, sort_keys=True)
            together.setdefault(rest, {})[leaves[path]] = model
    kept = [dict(sorted(models.items())) for models in together.values() if len(models) >= MIN_VALUES]
    return [Family(name, models) for name, models in zip(_names(kept), kept, strict=True)]


def _names(kept: Sequence[Mapping[float, str]]) -> list[str]:
    """What the labels of a family have in common and others do not; else how they begin, else the first of them."""
    labels = [list(models.values()) for models in kept]
    parts = [[part for part in own[0].split(", ") if all(part in one.split(", ") for one in own)] for own in labels]
    names = [", ".join(part for part in own if not all(part in other for other in parts)) for own in parts]
    begins = [_beginning(own) for own in labels]
    good = (found for found in (names, begins) if all(found) and len({*found}) == len(found))
    return [""] if len(kept) == 1 else next(good, [own[0] for own in labels])


def _beginning(labels: Sequence[str]) -> str:
    """ "FGSM" for FGSM-1 and FGSM-10."""
    alike = takewhile(lambda letters: len({*letters}) == 1, zip(*labels, strict=False))
    return "".join(letters[0] for letters in alike).rstrip(" ,-=0123456789.")


def _made_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """(path, value) of every setting of a model of a recipe; the number of a member is a name and orders nothing."""
    leaves = dict(_leaves({word: entry.get(word) for word in ("network", "model", "training")}))
    if leaves.get("model.kind") == "member":
        leaves["model.number"] = str(leaves["model.number"])
    return leaves


def _leaves(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of every setting in a table of tables."""
    for word, value in table.items():
        path = f"{above}.{word}" if above else word
        if isinstance(value, dict):
            yield from _leaves(value, path)
        else:
            yield path, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
