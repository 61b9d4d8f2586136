"""Models that differ in one number: which setting of a recipe orders them, and what was measured on them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product, takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.report.accuracy import Panel, Point, SharedAttack, accuracy_table, point_at, rows_behind, shared_attacks
from unshaken.report.accuracy import panels as panels_of
from unshaken.report.drawing import CLEAN
from unshaken.report.groups import group_of, network_accuracy, pool_networks
from unshaken.report.stored_run import StoredRun
from unshaken.runs.record import RunRecord
from unshaken.runs.settings import ModelConfig, as_json

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MIN_VALUES = 3  # two values are no sweep: models that differ like this are compared as any others are


class Family(NamedTuple):
    """Models, or groups of networks, that share every setting but one: by its value, in increasing order."""

    name: str
    models: dict[float, str]


class Setting(NamedTuple):
    """A numeric setting, by its path in a recipe, and the families of models that differ in it alone."""

    path: str
    families: list[Family]

    @property
    def name(self) -> str:
        """The last key of the path, in plain text."""
        return self.path.split(".")[-1].replace("_", " ")

    @property
    def values(self) -> list[float]:
        return sorted({value for family in self.families for value in family.models})


class Sweep(NamedTuple):
    """A setting with what was measured on its models."""

    setting: Setting
    attacks: dict[str, SharedAttack]  # by label
    eps: dict[str, float]  # that each attack is reported at, by label
    rows: DataFrame  # in which a network of a group is a repeat
    several: bool  # whether there are networks of several seeds

    @property
    def labels(self) -> list[str]:
        """No attack, then the attacks."""
        return [CLEAN] * any(attack.clean for attack in self.attacks.values()) + list(self.attacks)

    def eps_text(self, label: str) -> str:
        """The eps of an attack as text."""
        return self.attacks[label].eps_text(self.eps[label])

    def point(self, label: str, model: str, eps: float | None = None) -> Point | None:
        """Accuracy of a model under an attack, or under none; None where it was not run."""
        if label == CLEAN:
            return next((attack.clean[model] for attack in self.attacks.values() if model in attack.clean), None)
        curve = self.attacks[label].curves.get(model)
        return None if curve is None else point_at(curve, self.eps[label] if eps is None else eps)

    def rows_of_point(self, label: str, model: str, eps: float | None = None) -> DataFrame:
        """The rows that `point` is the accuracy of."""
        if label != CLEAN:
            return rows_behind(self.attacks[label].curves[model], self.eps[label] if eps is None else eps, self.rows)
        curve = next(attack.curves[model] for attack in self.attacks.values() if model in attack.clean)
        clean = (self.rows.attack == "none") & (self.rows.model == model)
        return self.rows[clean & (self.rows.inference_draws == curve.inference_draws.iloc[0])]

    def network_accuracies(self, label: str, model: str, eps: float | None = None) -> Series:
        """Accuracy of every network at that point, by seed."""
        return network_accuracy(self.rows_of_point(label, model, eps))

    def curve(self, label: str, family: Family) -> DataFrame:
        """Accuracy of a family under an attack: `value` of the setting, `model`, and the numbers of a Point."""
        import pandas as pd

        models = family.models.items()
        lines = [(value, model, *point) for value, model in models if (point := self.point(label, model))]
        return pd.DataFrame(lines, columns=["value", "model", "accuracy", *Point._fields[1:]])

    def table(self) -> DataFrame:
        """Every model under every attack at every eps; `best` is the accuracy of the best network."""
        import pandas as pd

        models = [(family.name, *each) for family in self.setting.families for each in family.models.items()]
        attacks = [(label, attack.norm, eps) for label, attack in self.attacks.items() for eps in attack.eps()]
        lines = []
        for (family, value, model), (label, norm, eps) in product(models, [(CLEAN, "", 0.0), *attacks]):
            if (point := self.point(label, model, eps)) is not None:
                networks = self.network_accuracies(label, model, eps) if self.several else None
                count, best = (1, math.nan) if networks is None else (len(networks), networks.max())
                lines.append((family, self.setting.path, value, model, label, norm, eps, count, *point, best))
        settings = ["models", "setting", "value", "model", "attack", "norm", "eps", "networks"]
        return pd.DataFrame(lines, columns=[*settings, "accuracy", *Point._fields[1:], "best"])


def swept_setting(record: RunRecord) -> Setting | None:
    """The numeric setting of network, model or training that orders most models of a recipe, at most values.

    Models that differ in more than this setting are another family if others share the rest with them, or in none.
    """
    models = record.recipe.models
    group = group_of(record, [model.label for model in models])
    settings = {group[model.label]: _settings(model) for model in models}
    paths = dict.fromkeys(path for values in settings.values() for path, value in values.items() if _is_number(value))
    orders = [Setting(path, families) for path in paths if (families := _families(path, settings))]
    coverage = {setting.path: sum(len(family.models) for family in setting.families) for setting in orders}
    return max(orders, key=lambda setting: (coverage[setting.path], len(setting.values)), default=None)


def measure_sweep(setting: Setting, source: StoredRun, panels: Sequence[Panel]) -> Sweep | None:
    """What was measured on models that differ in the setting; None where fewer than three of a family were attacked."""
    rows = pool_networks(source)
    several = len(rows) > 0
    rows, panels = (rows, panels_of(accuracy_table(rows))) if several else (source.rows, panels)
    members = {model for family in setting.families for model in family.models.values()}
    attacks = shared_attacks([panel for panel in panels if panel.model in members])
    attacked = {model for attack in attacks for model in attack.curves}
    by_value = [(f.name, {value: m for value, m in f.models.items() if m in attacked}) for f in setting.families]
    families = [Family(name, models) for name, models in by_value if len(models) >= MIN_VALUES]
    if not families:
        return None
    by_label = {attack.label: attack for attack in attacks}
    return Sweep(setting._replace(families=families), by_label, _reported_eps(attacks), rows, several)


def _reported_eps(attacks: Sequence[SharedAttack]) -> dict[str, float]:
    """The informative eps of the strongest attack in a norm, for all of that norm and aim that were run there."""
    reported = {}
    for attack in attacks:
        alike = [other for other in attacks if (other.norm, other.apart) == (attack.norm, attack.apart)]
        eps = min(alike, key=SharedAttack.mean).informative()
        reported[attack.label] = eps if eps in attack.eps() else attack.informative()
    return reported


def _families(path: str, settings: Mapping[str, Mapping[str, Any]]) -> list[Family]:
    """Models that share every setting but this one, with three values of it or more."""
    by_rest: dict[str, dict[float, str]] = {}
    for model, values in settings.items():
        if _is_number(values.get(path)):
            rest = json.dumps({key: value for key, value in values.items() if key != path}, sort_keys=True)
            by_rest.setdefault(rest, {})[values[path]] = model
    large = [dict(sorted(models.items())) for models in by_rest.values() if len(models) >= MIN_VALUES]
    names = _names([list(models.values()) for models in large])
    return [Family(name, models) for name, models in zip(names, large, strict=True)]


def _names(families: Sequence[Sequence[str]]) -> list[str]:
    """What the labels of a family have in common and others do not; else how they begin, else the first of them."""
    if len(families) == 1:
        return [""]
    common = [
        [term for term in labels[0].split(", ") if all(term in label.split(", ") for label in labels)]
        for labels in families
    ]
    names = [", ".join(term for term in terms if not all(term in others for others in common)) for terms in common]
    beginnings = [_beginning(labels) for labels in families]
    distinct = (each for each in (names, beginnings) if all(each) and len({*each}) == len(each))
    return next(distinct, [labels[0] for labels in families])


def _beginning(labels: Sequence[str]) -> str:
    """ "FGSM" for FGSM-1 and FGSM-10."""
    alike = takewhile(lambda letters: len({*letters}) == 1, zip(*labels, strict=False))
    return "".join(letters[0] for letters in alike).rstrip(" ,-=0123456789.")


def _settings(model: ModelConfig) -> dict[str, Any]:
    """Every setting of a model of a recipe, by path; the number of a member is a name and orders nothing."""
    settings = dict(_leaves({key: as_json(model)[key] for key in ("network", "model", "training")}))
    if settings.get("model.kind") == "member":
        settings["model.number"] = str(settings["model.number"])
    return settings


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of every setting in a table of tables."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
