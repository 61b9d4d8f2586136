"""The plan of a run: its units in order, each with everything that its result depends on."""

from __future__ import annotations

import inspect
import itertools
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from unshaken.analysis import ANALYSES
from unshaken.errors import lookup
from unshaken.models import derive
from unshaken.runs.parts import PARTS, Table
from unshaken.runs.recipe import Recipe
from unshaken.runs.resolve import needs_of, networks_in
from unshaken.store import digest
from unshaken.training.self_training import takes_unlabelled

AROUND = ("smoothing", "mean_network")  # models that are trained as what they are made of,
BLIND = ("clean", "constant_noise", "variable_noise")  # on inputs that do not look at the model
CLEAN = {"kind": "none", "label": "clean", "eps": [0.0]}


@dataclass(frozen=True)
class Unit:
    """The smallest piece of a run that is computed, stored and resumed as a whole.

    `config` is everything that the result depends on: its hash is in the name.
    """

    kind: str  # "train", "attack", "transfer" or "analysis"
    label: str
    model: str
    config: Table

    @cached_property
    def name(self) -> str:
        words = re.sub(r"[^a-z0-9]+", "-", self.label.lower()).strip("-")
        return f"{words}-{self.digest}"

    @cached_property
    def digest(self) -> str:
        """The hash of `config`; for training, of what is trained: a model around another one is trained as that is.

        But not where the learner's inputs are made by an attack, which is one on the whole model, or where the model
        is evaluated meanwhile.
        """
        made = dict(self.config)
        blind = self.kind == "train" and ((made["training"] or {}).get("inputs") or {}).get("kind") in BLIND
        if blind and "curves" not in made:
            while made["model"]["kind"] in AROUND:
                made["model"] = made["model"]["base"]
        return digest(made)


def plan(recipe: Recipe, inputs: Table | None = None) -> list[Unit]:
    """The units of a recipe in order: each model, its clean rows and attacks, repeat by repeat, and its analyses.

    A model comes after those that its training needs; perturbations are transferred at the end. `inputs` is what
    the results depend on besides the recipe, see `fingerprint`.
    """
    config, units = recipe.config, list[Unit]()
    common = {**{word: config[word] for word in ("seed", "data")}, "inputs": inputs}
    evaluation = {word: value for word, value in config["evaluation"].items() if word != "repeats"}
    for place in _needed_first(config["models"]):
        model = config["models"][place]
        label, source = model["label"], source_of(config, place, inputs)
        common["seed"] = source["seed"]  # networks of several seeds have draws of their own
        units.append(Unit("train", label, label, source))
        for repeat in range(config["evaluation"]["repeats"]):
            for attack in (CLEAN, *config["attacks"]):
                named = {"model": digest(source), "attack": attack, "repeat": repeat, "evaluation": evaluation}
                units.append(Unit("attack", f"{label} {attack['label']} r{repeat}", label, {**common, **named}))
        for analysis in config["analyses"]:
            named = {"model": digest(source), "analysis": analysis}
            if "attacks" in inspect.signature(lookup("kind", analysis["kind"], ANALYSES)).parameters:
                named["attacks"] = config["attacks"]
            units.append(Unit("analysis", f"{label} {analysis['label']}", label, {**common, **named}))
    return units + _transfers(config, units, inputs)


def _transfers(config: Table, units: list[Unit], inputs: Table | None) -> list[Unit]:
    """The perturbations of every source, and every stored set, given to each (other) model.

    What was kept for misleading all networks of its source is not given to one of these.
    """
    found, labelled = [], {model["label"]: model for model in config["models"]}
    chosen = config["transfer"]["sources"] if config["transfer"]["keep"] == "fooled" else ()
    fooled = {source: {label for label, _ in networks_in(source, labelled)} for source in chosen}
    clean = {(unit.model, unit.config["repeat"]): unit for unit in units if is_clean(unit)}
    for model, repeat in clean:
        own = {word: clean[model, repeat].config[word] for word in ("seed", "data", "inputs", "model", "evaluation")}
        for made in (unit for unit in units if is_source(unit, config)):
            own_of = {made.model, *fooled.get(made.model, ())}
            if model not in own_of and made.config["repeat"] == repeat:
                named = {"made": made.name, "source": made.model, "attack": made.config["attack"], "repeat": repeat}
                label = f"{model} {made.config['attack']['label']} from {made.model} r{repeat}"
                found.append(Unit("transfer", label, model, own | named))
        for path in config["transfer"]["sets"]:
            named = {"set": path, "content": (inputs or {}).get("sets", {}).get(path), "repeat": repeat}
            found.append(Unit("transfer", f"{model} {Path(path).stem} r{repeat}", model, own | named))
    return found


def is_clean(unit: Unit) -> bool:
    return unit.kind == "attack" and unit.config["attack"]["kind"] == "none"


def is_source(unit: Unit, config: Table) -> bool:
    """Whether the perturbations of a unit are kept, to be given to other models."""
    return unit.kind == "attack" and not is_clean(unit) and unit.model in config["transfer"]["sources"]


def _needed_first(models: list[Table]) -> list[int]:
    """Places of the models in their order, but those that another one's training needs before that one."""
    labels = {model["label"]: place for place, model in enumerate(models)}

    def needed(place: int) -> list[int]:
        return [*itertools.chain(*(needed(labels[name]) for name in needs_of(models[place]).values())), place]

    return list(dict.fromkeys(itertools.chain(*map(needed, range(len(models))))))


def unlabelled_too(model: Table, config: Table) -> bool:
    """Whether a model is trained on the unlabelled images: with a teacher's labels, or without any label."""
    if "teacher" in needs_of(model):
        return True
    if not model["training"] or config["data"]["unlabelled"] is None:
        return False
    return takes_unlabelled(lookup("kind", model["training"]["objective"]["kind"], PARTS["objective"]))


def source_of(config: Table, place: int, inputs: Table | None = None) -> Table:
    """What a model depends on: nothing of attacks, evaluation or test images, so that runs can share a trained one.

    Models that it needs are in it, by the word of `needs_of`; so are the [curves], which are stored with the model and
    may select its weights.
    """
    model = config["models"][place]
    found = {word: model[word] for word in ("network", "model", "training")} | {"seed": seed_of(model, config)}
    if inputs is not None:
        found |= {"network_made": inputs["networks"][place], "unshaken": inputs["unshaken"]}
        found |= {"images": inputs["data"].get("train") if model["training"] else None}
    if unlabelled_too(model, config):
        found["unlabelled"] = (inputs or {}).get("unlabelled")
    if model["training"] and (curves := config.get("curves")):
        told = {word: value for word, value in curves.items() if word != "smooth"}  # a matter of drawing
        images = ((inputs or {}).get("data") or {}).get(curves["split"])
        found["curves"] = told | {"rule": config["evaluation"]["rule"], "images": images}
    labels = [other["label"] for other in config["models"]]
    found |= {word: source_of(config, labels.index(name), inputs) for word, name in needs_of(model).items()}
    return found


def seed_of(model: Table, config: Table) -> int:
    """The seed of a model: its own where a recipe has several, and another one where it is a replica."""
    seed: int = model["seed"] if "seed" in model else config["seed"]
    return derive(seed, "replica", model["replica"]) if "replica" in model else seed
