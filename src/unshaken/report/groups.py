"""Groups of a recipe: networks of the same setting, trained from different seeds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def groups(about: dict[str, Any]) -> dict[str, dict[int, str]]:
    """{group: {seed: label of the model}} for every group of two networks or more."""
    found: dict[str, dict[int, str]] = {}
    for entry in about.get("recipe", {}).get("models", []):
        if entry.get("group") is not None and entry.get("seed") is not None:
            found.setdefault(entry["group"], {})[entry["seed"]] = entry["label"]
    return {group: members for group, members in found.items() if len(members) > 1}


def group_of(about: dict[str, Any], models: Iterable[str]) -> dict[str, str]:
    """The group of each of these models, by label; a model that is in no group is its own."""
    known = {label: group for group, members in groups(about).items() for label in members.values()}
    return {model: known.get(model, model) for model in models}


def representatives(about: dict[str, Any], models: Iterable[str]) -> list[str]:
    """Of every group the first of these models, and each model that is in no group."""
    first: dict[str, str] = {}
    for model, group in group_of(about, models).items():
        first.setdefault(group, model)
    return list(first.values())
