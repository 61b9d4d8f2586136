"""What of training must be known before any result: diverged chains, weights without noise or chosen on the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unshaken.report.groups import group_of, groups
from unshaken.report.wording import listed, percent, word

Histories = Mapping[str, Sequence[Mapping[str, Any]]]
"""One list of records of epochs per trained model."""

SHOWN = 3
"""The most chains, or networks of a group, that a sentence names."""


def of_training(about: dict[str, Any], histories: Histories) -> list[str]:
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
    rest = "other chain" if left == 1 else f"other {word(left)} chains" if left > 1 else "other chains"
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
