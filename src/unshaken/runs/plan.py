"""The plan of a run: its units in order, each with everything that its result depends on."""

from __future__ import annotations

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
        units.append(TrainUnit(model.label, model.label, source))
        units += _attack_units(config, model.label, source, inputs)
        units += _analysis_units(config, model.label, source, inputs)
    attacks = [unit for unit in units if isinstance(unit, AttackUnit)]
    return [*units, *_transfer_units(config, attacks, inputs)]


def _attack_units(config: RecipeConfig, model: str, source: ModelSource, inputs: Fingerprint) -> Iterator[AttackUnit]:
    for repeat in range(config.evaluation.repeats):
        for attack in (CLEAN, *config.attacks):
            yield AttackUnit(
                label=f"{model} {attack.label} r{repeat}",
                model=model,
                source=source.digest,
                seed=source.seed,  # networks of several seeds have draws of their own
                data=config.data,
                inputs=inputs,
                attack=attack,
                repeat=repeat,
                prediction=config.evaluation.prediction,
            )


def _analysis_units(
    config: RecipeConfig, model: str, source: ModelSource, inputs: Fingerprint
) -> Iterator[AnalysisUnit]:
    for analysis in config.analyses:
        yield AnalysisUnit(
            label=f"{model} {analysis.label}",
            model=model,
            source=source.digest,
            seed=source.seed,
            data=config.data,
            inputs=inputs,
            analysis=analysis,
            attacks=config.attacks if needs_attacks(analysis.part) else [],
        )


def _transfer_units(config: RecipeConfig, attacks: list[AttackUnit], inputs: Fingerprint) -> Iterator[TransferUnit]:
    """The perturbations of every source, and every stored set, given to each (other) model.

    What was kept for fooling all networks of its source is not given to one of these.
    """
    labelled = {model.label: model for model in config.models}
    fooled = config.transfer.sources if config.transfer.keep == "fooled" else []
    networks = {source: {network.label for network in networks_in(source, labelled)} for source in fooled}
    for clean in (unit for unit in attacks if unit.attack.is_clean):
        for made in (unit for unit in attacks if is_source(unit, config) and unit.repeat == clean.repeat):
            if clean.model not in (made.model, *networks.get(made.model, ())):
                label = f"{clean.model} {made.attack.label} from {made.model} r{clean.repeat}"
                yield _transfer_unit(clean, label, UnitPerturbations(made.name, made.model, made.attack))
        for path in config.transfer.sets:
            label = f"{clean.model} {Path(path).stem} r{clean.repeat}"
            yield _transfer_unit(clean, label, StoredPerturbations(path, inputs.sets.get(path)))


def _transfer_unit(
    clean: AttackUnit, label: str, perturbations: UnitPerturbations | StoredPerturbations
) -> TransferUnit:
    """Perturbations given to the model of a unit of clean rows, predicted with the same draws."""
    return TransferUnit(
        label=label,
        model=clean.model,
        source=clean.source,
        seed=clean.seed,
        data=clean.data,
        inputs=clean.inputs,
        perturbations=perturbations,
        repeat=clean.repeat,
        prediction=clean.prediction,
    )


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
        curves=_curves_source(config, inputs) if model.training else None,
        needs={role: source_of(config, config.model(label), inputs) for role, label in model.needs.items()},
    )


def _curves_source(config: RecipeConfig, inputs: Fingerprint) -> CurvesSource | None:
    curves = config.curves
    if curves is None:
        return None
    drawn_alike = replace(curves, smooth=1)  # how the figure is smoothed changes no model
    return CurvesSource(drawn_alike, config.evaluation.rule, inputs.images.get(curves.split))
