"""What there is, in words: every dict of parts with a line for each entry, and a recipe with all its settings."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Mapping
from typing import Any

from unshaken.analysis import ANALYSES, SMOOTHNESS, ZEROS
from unshaken.attacks import ATTACKS, LOSSES, NORMS
from unshaken.attacks.norms import STARTS
from unshaken.attacks.pgd import UPDATES
from unshaken.evaluation.checks import CHECKS
from unshaken.data import DATASETS
from unshaken.models import MADE_OF, MODELS
from unshaken.models.matrix_estimation import ESTIMATES
from unshaken.models.mean_field import INITIALS
from unshaken.networks import NETWORKS
from unshaken.runs.plan import plan
from unshaken.evaluation.predict import RULES
from unshaken.runs.recipe import Recipe, recipe_folders
from unshaken.training import AUGMENTS, INPUTS, NOISES, OBJECTIVES, OPTIMIZERS, SCHEDULES, WAYS


def catalogue() -> dict[str, dict[str, str]]:
    """{kind of part: {name: one line}} for recipes and every dict that a recipe chooses from."""
    tables: dict[str, Mapping[str, Any]] = {
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
    }
    found = {"recipes": {path.stem: _title(path.read_text(encoding="utf-8")) for path in _recipes()}}
    found |= {kind: {name: first_line(entry) for name, entry in table.items()} for kind, table in tables.items()}
    found["datasets"] = {name: _source(entry) for name, entry in DATASETS.items()}
    found["norms"] = {name: norm.told for name, norm in NORMS.items()}
    found["ways"] = {name: way.told for name, way in WAYS.items()}
    found["starts"] = dict(STARTS)
    found["initials"] = dict(INITIALS)
    return found


def describe(recipe: Recipe) -> str:
    """A resolved recipe as text: what it is, what it would compute, and every setting."""
    config = recipe.config
    units = plan(recipe)
    attacks = [attack["label"] for attack in config["attacks"]]
    sizes = sorted({size for attack in config["attacks"] for size in attack["eps"]})
    lines = [
        config["title"] or recipe.name,
        " ".join(config["about"].split()),
        "",
        f"preset      {recipe.preset or 'none'}",
        f"data        {_settings(config['data'])}",
        *(f"model       {model['label']}: {_part(model['model'])}" for model in config["models"]),
        *_distinct("network", [_networks(model["network"]) for model in config["models"]]),
        *_distinct("training", [_settings(model["training"] or {}) for model in config["models"]]),
        f"attacks     {', '.join(attacks)}",
        *(f"analysis    {_part({**analysis, 'label': None})}" for analysis in config["analyses"]),
        f"eps         {', '.join(f'{size:g}' for size in sizes)}",
        f"evaluation  {_settings(config['evaluation'])}",
        f"seed        {config['seed']}",
        f"units       {len(units)} ({sum(unit.kind == 'train' for unit in units)} to train)",
        "",
        "every attack",
        *(
            f"  {attack['label']:<12} {_part({**attack, 'label': None, 'name': None, 'eps': None})}"
            for attack in config["attacks"]
        ),
    ]
    return "\n".join(lines)


def _networks(given: dict[str, Any] | list[dict[str, Any]]) -> str:
    """The network, or that of each member."""
    return " + ".join(map(_part, given)) if isinstance(given, list) else _part(given)


def _distinct(what: str, told: list[str]) -> list[str]:
    """A line for each different text."""
    return [f"{what:<12}{text}" for text in dict.fromkeys(told)]


def first_line(entry: Any) -> str:
    """The first sentence of an entry's documentation."""
    return inspect.cleandoc(entry.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _source(dataset: Any) -> str:
    """Where a dataset comes from: its Hub name, or what its function says."""
    return f"{dataset.args[1]} on the Hugging Face Hub" if getattr(dataset, "args", ()) else first_line(dataset)


def _recipes() -> list[Any]:
    found = {path.stem: path for folder in reversed(recipe_folders()) for path in folder.glob("*.toml")}
    return [found[name] for name in sorted(found)]


def _title(text: str) -> str:
    return str(tomllib.loads(text).get("title", ""))


def _part(given: dict[str, Any]) -> str:
    return f"{given['kind']}({_settings({word: v for word, v in given.items() if word != 'kind'})})"


def _settings(given: dict[str, Any]) -> str:
    """word=value for every setting that has a value."""
    told = {word: _part(v) if isinstance(v, dict) and "kind" in v else v for word, v in given.items()}
    return ", ".join(f"{word}={value}" for word, value in told.items() if value not in (None, False))
