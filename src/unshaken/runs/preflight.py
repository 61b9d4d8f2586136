"""Before any work: every model of a recipe on one input, as its attacks, the analyses and its training will use it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from unshaken.analysis.robustness import smoothness_under
from unshaken.attacks import ATTACKS, LOSSES
from unshaken.attacks.losses import LATENT
from unshaken.attacks.sampling import SCHEMES
from unshaken.attacks.transfer import load_transfer_set, match_inputs
from unshaken.data import Data
from unshaken.models import StochasticClassifier
from unshaken.models.latents import check_coded, reconstructions
from unshaken.runs.loading import new_model
from unshaken.runs.parts import all_arguments, bound, errors_of
from unshaken.runs.plan import source_of
from unshaken.runs.settings import AnalysisConfig, ModelConfig, RecipeConfig, TrainingConfig
from unshaken.training import train
from unshaken.training.inputs import Points, points_per_input, with_augmentation
from unshaken.training.learner import compared_inputs, new_optimizer, steps_to_store
from unshaken.training.loop import learning_rate_factors
from unshaken.training.self_training import check_unlabelled, takes_unlabelled
from unshaken.types import Positive
from unshaken.validate import check_range


def preflight(config: RecipeConfig, data: dict[str, Data], unlabelled: Tensor | None) -> None:
    """Raise `ValueError` for what cannot work: a model, how it is used, images without labels, stored sets."""
    test = data["test"]
    for spec in config.models:
        source = source_of(config, spec)
        model = new_model(source, test)
        check_attacks(model, config, spec, test.x[:1])
        check_analyses(model, config.analyses, test.x[:1])
        if spec.training:
            check_training(model, config, spec.label, spec.training, data)
        if "continues" in spec.needs:
            continued = new_model(source.needs["continues"], test)
            with errors_of(f"[training]: {spec.label} continues {spec.needs['continues']!r}"):
                model.start_at(continued.network())
    if unlabelled is not None:
        check_unlabelled(unlabelled, test.x.shape[1:])
    for path in config.transfer.sets:
        match_inputs(load_transfer_set(path), test.x)
    names = [Path(path).stem for path in config.transfer.sets]  # which tell stored sets apart
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"[transfer]: two of the sets are files called {name!r}: rename one.")


def check_attacks(model: StochasticClassifier, config: RecipeConfig, spec: ModelConfig, x: Tensor) -> None:
    """A draw, and what the attacks and analyses of a model, and those of its training, attack instead of draws."""
    model.logits(x, model.draw(1, seed=0))
    attacks = [attack.arguments for attack in config.attacks]
    if spec.training:
        attack = spec.training.inputs.get("attack")
        attacks += [all_arguments(ATTACKS, attack)] if attack else []
        attacks += [attack.arguments for attack in config.curves.attacks] if config.curves else []
    used = [arguments.get("draws") for arguments in attacks]
    for draws in (analysis.settings.get("draws") for analysis in config.analyses):
        used += draws if isinstance(draws, list) else [draws]
    for scheme in sorted(SCHEMES.keys() & set(used)):
        model.logits(x, SCHEMES[scheme](model))
    if any(LOSSES.get(arguments.get("loss", "")) in LATENT for arguments in attacks):
        check_coded(model.net, "encode")


def check_analyses(model: StochasticClassifier, analyses: Sequence[AnalysisConfig], x: Tensor) -> None:
    """What analyses ask of a model beside logits."""
    for analysis in analyses:
        if analysis.settings.kind == "latent_shift":
            reconstructions(model, x, model.draw(1, seed=0))
        if analysis.settings.kind == "conditions":
            smoothness_under(model, analysis.settings.get("smoothness"), analysis.settings.get("rule"))


def check_training(
    model: StochasticClassifier, config: RecipeConfig, label: str, training: TrainingConfig, data: dict[str, Data]
) -> None:
    """The schedule, what is stored, the optimizer, the objective, and one input as the training would see it."""
    parts, examples, test = bound(train, vars(training)), len(data.get("train", data["test"]).y), data["test"]
    learning_rate_factors(parts["schedule"], training.epochs)
    if config.data.unlabelled is None:
        minibatches = points_per_input(parts["inputs"]) * -(-examples // training.batch_size)
        steps_to_store(model, training.burn_in, training.thin, minibatches * training.epochs)
    if takes_unlabelled(parts["objective"]):
        check_coded(model.net, "encode", "decode")
    try:
        for group in new_optimizer(model, parts["optimizer"], examples, 0).param_groups:
            check_range("lr", group["lr"], Positive)
    except (ValueError, TypeError) as error:
        raise ValueError(f"[training]: optimizer of {label}: {error}") from error
    x, y, augment = test.x[:1], test.y[:1], partial(parts["augment"], seed=0)
    augment(x)
    points = Points(torch.zeros_like(y), torch.zeros_like(y), 0, 0)
    with errors_of(f"[training]: inputs of {label}"):
        compared_inputs(parts["objective"], with_augmentation(parts["inputs"])(model, x, y, points, augment, 0))
