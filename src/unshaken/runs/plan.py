"""The plan of a run: its units in order, each with everything that its result depends on."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from unshaken.errors import lookup
from unshaken.runs.dependencies import needed_first, networks_in
from unshaken.runs.recipe import Recipe
from unshaken.runs.settings import CLEAN, ModelConfig, RecipeConfig
from unshaken.runs.sweep import needs_attacks
from unshaken.runs.units import (
    AnalysisUnit,
    AttackUnit,
    CurvesSource,
    Fingerprint,
    ModelSource,
    StoredPerturbations,
    Subject,
    TrainUnit,
    TransferUnit,
    Unit,
    UnitPerturbations,
)
from unshaken.training import OBJECTIVES
from unshaken.training.self_training import takes_unlabelled


def plan(recipe: Recipe, inputs: Fingerprint | None = None) -> list[Unit]:
    """The units of a recipe in order: each model, its clean rows and attacks, repeat by repeat, and its analyses.

    A model comes after those that its training needs; perturbations are transferred at the end. `inputs` is what
    the results depend on besides the recipe, see `fingerprint`.
    """
    config, inputs, units = recipe.config, inputs or Fingerprint(), list[Unit]()
    for model in needed_first(config.models):
        source = source_of(config, model, inputs)
        subject = Subject(model.label, source.digest, source.seed, config.data, inputs)
        units.append(TrainUnit(model.label, model.label, source))
        for repeat in range(config.evaluation.repeats):
            for attack in (CLEAN, *config.attacks):
                label = f"{model.label} {attack.label} r{repeat}"
                units.append(AttackUnit(label, subject, attack, repeat, config.evaluation.prediction))
        for analysis in config.analyses:
            attacks = config.attacks if needs_attacks(analysis.settings) else []
            units.append(AnalysisUnit(f"{model.label} {analysis.label}", subject, analysis, attacks))
    return [*units, *_transfer_units(config, [unit for unit in units if isinstance(unit, AttackUnit)])]


def _transfer_units(config: RecipeConfig, attacks: list[AttackUnit]) -> Iterator[TransferUnit]:
    """Perturbations of each source and stored set, given to the other models, but not to networks they must fool."""
    labelled = {model.label: model for model in config.models}
    fooled = config.transfer.sources if config.transfer.keep == "fooled" else []
    networks = {source: {network.label for network in networks_in(source, labelled)} for source in fooled}
    for clean in (unit for unit in attacks if unit.attack.is_clean):
        perturbations: list[tuple[str, UnitPerturbations | StoredPerturbations]] = [
            (f"{source.attack.label} from {source.model}", UnitPerturbations(source.name, source.model, source.attack))
            for source in attacks
            if is_source(source, config)
            and source.repeat == clean.repeat
            and clean.model not in (source.model, *networks.get(source.model, ()))
        ]
        checksums = clean.subject.inputs.sets
        perturbations += [
            (Path(path).stem, StoredPerturbations(path, checksums.get(path))) for path in config.transfer.sets
        ]
        for name, transferred in perturbations:
            label = f"{clean.model} {name} r{clean.repeat}"
            yield TransferUnit(label, clean.subject, transferred, clean.repeat, clean.prediction)


def is_source(unit: Unit, config: RecipeConfig) -> bool:
    """Whether the perturbations of a unit are kept, to be given to other models."""
    return isinstance(unit, AttackUnit) and not unit.attack.is_clean and unit.model in config.transfer.sources


def uses_unlabelled(model: ModelConfig, config: RecipeConfig) -> bool:
    """Whether a model is trained on the unlabelled images: with a teacher's labels, or without any label."""
    if "teacher" in model.needs:
        return True
    if model.training is None or config.data.unlabelled is None:
        return False
    return takes_unlabelled(lookup("kind", model.training.objective.kind, OBJECTIVES))


def source_of(config: RecipeConfig, model: ModelConfig, inputs: Fingerprint | None = None) -> ModelSource:
    """What a trained model depends on, with the models that it needs."""
    inputs = inputs or Fingerprint()
    unlabelled = uses_unlabelled(model, config)
    # how the figure is smoothed changes no model
    curves = replace(config.curves, smooth=1) if model.training and config.curves else None
    return ModelSource(
        network=model.network,
        model=model.model,
        training=model.training,
        seed=model.own_seed,
        initial_network=inputs.networks[config.models.index(model)] if inputs.networks else None,
        version=inputs.version,
        images=inputs.images.get("train") if model.training else None,
        uses_unlabelled=unlabelled,
        unlabelled=inputs.unlabelled if unlabelled else None,
        curves=CurvesSource(curves, config.evaluation.rule, inputs.images.get(curves.split)) if curves else None,
        needs={role: source_of(config, config.model(label), inputs) for role, label in model.needs.items()},
    )
