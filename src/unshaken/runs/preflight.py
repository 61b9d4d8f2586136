"""Before any work: every model of a recipe on one input, as its attacks, the analyses and its training will use it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from unshaken.analysis.conditions import smooth_limit
from unshaken.attacks import ATTACKS, LOSSES
from unshaken.attacks.losses import LATENT
from unshaken.attacks.pgd import SCHEMES
from unshaken.attacks.transfer import check_made_for, load_transfer_set
from unshaken.data import Data
from unshaken.models import StochasticClassifier
from unshaken.models.base import check_coded
from unshaken.runs.parts import Table, bound, full
from unshaken.runs.plan import source_of
from unshaken.runs.resolve import needs_of
from unshaken.training.inputs import Points, points_per_input, shown
from unshaken.training.loop import check_before, learning_rates, update_rule, when_to_store
from unshaken.training.self_training import check_unlabelled, takes_unlabelled
from unshaken.runs.units import new_model


def rehearse(config: Table, data: dict[str, Data], unlabelled: Tensor | None) -> None:
    """Raise `ValueError` for what cannot work: a model, how it is used, images without labels, stored sets."""
    test = data["test"]
    for place, spec in enumerate(config["models"]):
        source = source_of(config, place)
        model = new_model(source, test)
        rehearse_attacks(model, config, spec, test.x[:1])
        rehearse_analyses(model, config["analyses"], test.x[:1])
        if spec["training"]:
            rehearse_training(model, config, spec, data)
            rehearse_start(model, spec, source, test)
    if unlabelled is not None:
        check_unlabelled(unlabelled, test.x.shape[1:])
    for path in config["transfer"]["sets"]:
        check_made_for(load_transfer_set(path), test.x)
    check_apart([Path(path).stem for path in config["transfer"]["sets"]])


def rehearse_attacks(model: StochasticClassifier, config: Table, spec: Table, x: Tensor) -> None:
    """A draw, and what the attacks and analyses of a model, and those of its training, have in the place of draws."""
    model.logits(x, model.draw(1, seed=0))
    inputs = (spec["training"] or {}).get("inputs", {})
    attacks = [*config["attacks"], *([inputs["attack"]] if "attack" in inputs else [])]
    attacks += config.get("curves", {}).get("attacks", []) if spec["training"] else []
    used = [full(attack, ATTACKS).get("draws") for attack in attacks]
    for draws in (analysis.get("draws") for analysis in config["analyses"]):
        used += draws if isinstance(draws, list) else [draws]
    for scheme in sorted(SCHEMES.keys() & set(used)):
        model.logits(x, SCHEMES[scheme](model))
    if any(LOSSES.get(attack.get("loss")) in LATENT for attack in attacks):
        check_coded(model.net, "encode")


def rehearse_analyses(model: StochasticClassifier, analyses: Sequence[Table], x: Tensor) -> None:
    """What analyses ask of a model beside logits."""
    for analysis in analyses:
        if analysis["kind"] == "latent_shift":
            model.reconstructions(x, model.draw(1, seed=0))
        if analysis["kind"] == "conditions":
            smooth_limit(model, analysis["smoothness"], analysis["rule"])


def rehearse_training(model: StochasticClassifier, config: Table, spec: Table, data: dict[str, Data]) -> None:
    """The schedule, what is stored, the optimizer, the objective, and one input as the training would see it."""
    settings, examples, test = bound(spec["training"]), len(data.get("train", data["test"]).y), data["test"]
    learning_rates(settings["schedule"], settings["epochs"])
    if config["data"]["unlabelled"] is None:
        minibatches = points_per_input(settings["inputs"]) * -(-examples // settings["batch_size"])
        when_to_store(model, settings["burn_in"], settings["thin"], minibatches * settings["epochs"])
    if takes_unlabelled(settings["objective"]):
        check_coded(model.net, "encode", "decode")
    try:
        update_rule(model, settings["optimizer"], examples, 0)
    except (ValueError, TypeError) as error:
        raise ValueError(f"[training]: optimizer of {spec['label']}: {error}") from error
    x, y, change = test.x[:1], test.y[:1], partial(settings["augment"], seed=0)
    change(x)
    points = Points(torch.zeros_like(y), torch.zeros_like(y), 0, 0)
    try:
        check_before(settings["objective"], shown(settings["inputs"])(model, x, y, points, change, 0))
    except ValueError as error:
        raise ValueError(f"[training]: inputs of {spec['label']}: {error}") from error


def rehearse_start(model: StochasticClassifier, spec: Table, source: Table, test: Data) -> None:
    """That a model can start at the one that its training continues."""
    if (name := needs_of(spec).get("continues")) is not None:
        try:
            model.start_at(new_model(source["continues"], test).network())
        except ValueError as error:
            raise ValueError(f"[training]: {spec['label']} continues {name!r}: {error}") from error


def check_apart(names: list[str]) -> None:
    """Stored sets are told apart by their file names."""
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"[transfer]: two of the sets are files called {twice[0]!r}: rename one.")
