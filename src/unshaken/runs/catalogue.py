"""What there is, in words: every dict of parts with a line for each entry, and a recipe with all its settings."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any

from unshaken.analysis import ANALYSES
from unshaken.analysis.directions import ZEROS
from unshaken.analysis.robustness import SMOOTHNESS
from unshaken.attacks import ATTACKS, LOSSES, NORMS
from unshaken.attacks.norms import STARTS, UPDATES
from unshaken.data import DATASETS
from unshaken.evaluation.checks import CHECKS
from unshaken.evaluation.predict import RULES
from unshaken.models import MADE_OF, MODELS
from unshaken.models.matrix_estimation import ESTIMATES
from unshaken.models.mean_field import INITIALS
from unshaken.networks import NETWORKS
from unshaken.runs.parts import Part
from unshaken.runs.plan import plan
from unshaken.runs.recipe import Recipe, parse, recipe_paths
from unshaken.runs.units import TrainUnit
from unshaken.training import AUGMENTS, INPUTS, NOISES, OBJECTIVES, OPTIMIZERS, SCHEDULES, WAYS

TABLES: dict[str, Mapping[str, Any]] = {
    "networks": NETWORKS,
    "models": MODELS | MADE_OF,
    "estimates": ESTIMATES,
    "augments": AUGMENTS,
    "inputs": INPUTS,
    "noises": NOISES,
    "objectives": OBJECTIVES,
    "optimizers": OPTIMIZERS,
    "schedules": SCHEDULES,
    "attacks": ATTACKS,
    "analyses": ANALYSES,
    "smoothness": SMOOTHNESS,
    "zeros": ZEROS,
    "losses": LOSSES,
    "updates": UPDATES,
    "rules": RULES,
    "checks": CHECKS,
    "norms": NORMS,
    "ways": WAYS,
    "starts": STARTS,
    "initials": INITIALS,
}


def catalogue() -> dict[str, dict[str, str]]:
    """{kind of part: {name: one line}} for recipes and every dict that a recipe chooses from."""
    recipes = {name: str(parse(path).get("title", "")) for name, path in recipe_paths().items()}
    tables = {kind: {name: line(entry) for name, entry in table.items()} for kind, table in TABLES.items()}
    return {"recipes": recipes, **tables, "datasets": {name: _source(entry) for name, entry in DATASETS.items()}}


def line(entry: Any) -> str:
    """What an entry of a table is: a sentence itself, one that it holds, or the first of its documentation."""
    return entry if isinstance(entry, str) else getattr(entry, "description", None) or first_line(entry)


def first_line(entry: Any) -> str:
    """The first sentence of an entry's documentation."""
    return inspect.cleandoc(entry.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def describe(recipe: Recipe) -> str:
    """A resolved recipe as text: what it is, what it would compute, and every setting."""
    config, units = recipe.config, plan(recipe)
    sizes = sorted({size for attack in config.attacks for size in attack.eps})
    lines = [
        config.title or recipe.name,
        " ".join(config.about.split()),
        "",
        f"preset      {recipe.preset or 'none'}",
        f"data        {_pairs(vars(config.data))}",
        *(f"model       {model.label}: {_text(model.model)}" for model in config.models),
        *_distinct("network", [_text(model.network) for model in config.models]),
        *_distinct("training", [_pairs(vars(model.training)) if model.training else "" for model in config.models]),
        f"attacks     {', '.join(attack.label for attack in config.attacks)}",
        *(f"analysis    {_text(analysis.settings)}" for analysis in config.analyses),
        f"eps         {', '.join(f'{size:g}' for size in sizes)}",
        f"evaluation  {_pairs(vars(config.evaluation.prediction) | {'repeats': config.evaluation.repeats})}",
        f"seed        {config.seed}",
        f"units       {len(units)} ({sum(isinstance(unit, TrainUnit) for unit in units)} to train)",
        "",
        "every attack",
        *(f"  {attack.label:<12} {_text(attack.settings)}" for attack in config.attacks),
    ]
    return "\n".join(lines)


def _distinct(heading: str, texts: list[str]) -> list[str]:
    """A line for each different text."""
    return [f"{heading:<12}{text}" for text in dict.fromkeys(texts)]


def _source(dataset: Callable[..., Any]) -> str:
    """Where a dataset comes from: its Hub name, or what its function says."""
    arguments = getattr(dataset, "args", ())
    return f"{arguments[1]} on the Hugging Face Hub" if arguments else first_line(dataset)


def _pairs(settings: Mapping[str, Any]) -> str:
    """name=value for every setting that has a value."""
    return ", ".join(f"{name}={_text(value)}" for name, value in settings.items() if value not in (None, False))


def _text(value: Any) -> str:
    """A value as a recipe's description has it; the networks of the members of an ensemble with a plus."""
    if isinstance(value, Part):
        return f"{value.kind}({_pairs(value.arguments)})"
    if isinstance(value, list) and value and all(isinstance(entry, Part) for entry in value):
        return " + ".join(map(_text, value))
    return f"({_pairs(vars(value))})" if is_dataclass(value) else str(value)
