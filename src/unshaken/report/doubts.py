"""Reasons for doubt that lie in the run, not in its rows: training, few inputs or repeats, units without a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from unshaken.evaluation.statistics import accuracy
from unshaken.report.accuracy import chance_accuracy
from unshaken.report.groups import group_of, groups
from unshaken.report.tables import unit_label
from unshaken.report.wording import listed, number_word, percent

if TYPE_CHECKING:
    from pandas import DataFrame


Histories = Mapping[str, Sequence[Mapping[str, Any]]]
"""One list of records of epochs per trained model."""


SHOWN = 3
"""The most chains, or networks of a group, that a sentence names."""


FEW = 3
"""More parts than this that wait to be run are told of together."""


def doubts(run: dict[str, Any], rows: DataFrame, histories: Histories | None = None) -> list[str]:
    """Reasons for doubt that lie in the run, not in its rows: what training met, few inputs, one repeat, units without
    a result."""
    said = training_doubts(run, histories or {})
    attacked = bool((rows.attack != "none").any())
    lucky = attacked and (run.get("recipe", {}).get("evaluation") or {}).get("draws") != "all"
    if lucky and rows.repeat.nunique() == 1:
        said.append(
            "Each input was predicted with one set of draws only (one repeat), so the intervals cover the choice of "
            "inputs but not the luck of the draws."
        )
    if lucky and rows.repeat.nunique() == 2:
        said.append(
            "There are two repeats only, so the variance of the draws is hardly known and intervals can be wide."
        )
    for model, clean in rows[rows.attack == "none"].groupby("model", sort=False) if len(rows) else ():
        if (found := accuracy(clean)).low <= (guess := chance_accuracy(clean)):
            said.append(f"Without an attack {model} is not surely better than chance ({guess:.3f}): {found}.")
    if len(rows) and (n := rows["index"].nunique()) < 100:
        said.append(f"Only {n} inputs were {'attacked' if attacked else 'used'}, so every interval is wide.")
    return said + _left_out(_unfinished(run.get("units", [])))


def training_doubts(about: dict[str, Any], histories: Histories) -> list[str]:
    """A sentence for each model, or group of networks, with chains that diverged; one on noise that was left out, and
    one on weights that were selected on the images of the test."""
    lost = {
        model: [told for epoch in epochs for told in epoch.get("diverged", [])] for model, epochs in histories.items()
    }
    by_group: dict[str, list[str]] = {}
    for model, group in group_of(about, [model for model, chains in lost.items() if chains]).items():
        by_group.setdefault(group, []).append(model)
    said = []
    for group, models in by_group.items():
        several = groups(about).get(group)
        one = _of_one(about, models[0], lost[models[0]])
        said.append(one if several is None else _of_group(about, group, several, {m: lost[m] for m in models}))
    return said + _without_noise(about, histories) + _selected_on_test(about)


def _of_one(about: dict[str, Any], model: str, lost: Sequence[str]) -> str:
    """Which chains of one model diverged, and what it consists of."""
    told = _some([f"{name} ({where})" for name, _, where in (chain.partition(" in ") for chain in lost)], "chains")
    chains = _setting(about, model, "model", "chains")
    left = chains - len(lost) if chains else 0
    rest = "other chain" if left == 1 else f"other {number_word(left)} chains" if left > 1 else "other chains"
    rest += _stored(about, model)
    return f"In the training of {model}, {told} diverged: the model consists of the {rest}."


def _of_group(about: dict[str, Any], group: str, members: Mapping[int, str], lost: Mapping[str, Sequence[str]]) -> str:
    """How many networks of a group lost chains, and which."""
    seeds = {model: seed for seed, model in members.items()}
    names = {model: listed([chain.partition(" in ")[0] for chain in chains]) for model, chains in lost.items()}
    told = _some([f"{name} with seed {seeds[model]}" for model, name in names.items()], "networks")
    networks = f"{len(lost)} of the {len(members)} networks of {group}"
    rest = f"such a network consists of its other chains{_stored(about, next(iter(lost)))}"
    return f"Chains diverged in the training of {networks} ({told}): {rest}."


def _without_noise(about: dict[str, Any], histories: Histories) -> list[str]:
    """The largest share of noise variances that were negative, and what to do about it."""
    shares = {model: float(epochs[-1].get("clamped", 0.0)) for model, epochs in histories.items() if epochs}
    model = max(shares, key=shares.__getitem__, default=None)
    if model is None or shares[model] == 0:
        return []
    cure = "a lower learning rate"
    if _setting(about, model, "training", "friction") != "matched":
        cure += ' or friction "matched"'
    most = sum(share > 0 for share in shares.values()) > 1
    share = percent(shares[model]) if shares[model] >= 0.0005 else "less than 0.1 %"
    return [
        f"In the training of {model}, {share} of the noise variances of its sampler were negative"
        f"{', the most of all models' * most}: those weights had no noise in those steps; {cure} is the usual cure."
    ]


def _selected_on_test(about: dict[str, Any]) -> list[str]:
    """Where weights were selected on the images they are tested on, as published results often are."""
    curves = about.get("recipe", {}).get("curves") or {}
    if curves.get("split") != "test" or curves.get("select", "none") == "none":
        return []
    under = "clean accuracy" if curves["select"] == "clean" else f"accuracy under {curves['select']}"
    return [
        f"Weights were selected by their {under} on the images that they are tested on, so every accuracy is too high "
        'by the luck of that choice: split = "validation" of [curves] selects on others.'
    ]


def _stored(about: dict[str, Any], model: str) -> str:
    """What else draws are where chains store states on their way."""
    burnt = _setting(about, model, "training", "burn_in")
    return ", and of what these chains had stored before" if burnt is not None else ""


def _setting(about: dict[str, Any], model: str, section: str, name: str) -> Any:
    """The value of a setting of a model, however deep in that section it stands; None where it is not known."""
    entries = about.get("recipe", {}).get("models", [])
    return next((_within(entry.get(section), name) for entry in entries if entry["label"] == model), None)


def _within(table: Any, name: str) -> Any:
    if not isinstance(table, dict):
        return None
    found = (_within(value, name) for value in table.values())
    return table[name] if name in table else next((value for value in found if value is not None), None)


def _some(told: Sequence[str], what: str) -> str:
    """All of a few, or the first and how many there are besides."""
    more = len(told) - SHOWN
    return listed([*told[:SHOWN], f"{more} other {what}"] if more > 1 else told)


def _unfinished(units: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Units without a result, those of one part and one status together."""
    together: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for unit in units:
        if unit["status"] != "done":
            together.setdefault((unit["kind"], unit_label(unit), unit["model"], unit["status"]), []).append(unit)
    return list(together.values())


def _left_out(parts: list[list[dict[str, Any]]]) -> list[str]:
    """A sentence for each part without a result; one for all those that have not been run yet, if they are many."""
    waiting = [units for units in parts if units[0]["status"] not in ("failed", "skipped")]
    if len(waiting) <= FEW:
        return [_missing(units) for units in parts]
    models = list(dict.fromkeys(units[0]["model"] for units in waiting))
    said = [_missing(units) for units in parts if units not in waiting]
    return [*said, f"{sum(map(len, waiting))} units have not been run yet, on {listed(models)}."]


def _missing(units: list[dict[str, Any]]) -> str:
    """ "PGD-10 on mean_field failed (2 units): out of memory." """
    first = units[0]
    what = "The training of" if first["kind"] == "train" else f"{unit_label(first)} on"
    told = {"failed": "failed", "skipped": "could not start"}.get(first["status"], "has not been run yet")
    count = f" ({len(units)} units)" if len(units) > 1 else ""
    reason = f": {first['error'].strip().rstrip('.')}" if first.get("error") else ""
    return f"{what} {first['model']} {told}{count}{reason}."
