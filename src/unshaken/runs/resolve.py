"""Every setting of a recipe, checked, with defaults filled in and sweeps laid out, before any work starts."""

from dataclasses import replace
from typing import Any

from unshaken.errors import unknown
from unshaken.runs import sweep
from unshaken.runs.dependencies import check_dependencies
from unshaken.runs.parts import resolve_section
from unshaken.runs.published import resolve_published
from unshaken.runs.settings import (
    CurvesConfig,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    RecipeConfig,
    TransferConfig,
    UnlabelledConfig,
)

SECTIONS = (
    *("title", "about", "seed", "data", "network", "model", "training"),
    *("attacks", "analyses", "transfer", "evaluation", "curves", "sweep", "paper"),
)
FOOLED = ("deterministic", "ensemble", "joined", "member")  # kinds of models that have members to fool, or are one


def resolve(raw: dict[str, Any]) -> RecipeConfig:
    """Every setting of a recipe, checked, with defaults filled in and sweeps laid out as models and attacks."""
    for name in raw:
        if name not in SECTIONS:
            raise unknown("section", name, SECTIONS)
    for name in ("data", "network", "model", "evaluation", *(["attacks"] if "analyses" not in raw else [])):
        if name not in raw:
            raise ValueError(f"section [{name}] is missing.")
    seeds = _seeds(raw.get("seed", 0))
    evaluation = resolve_section("[evaluation]", EvaluationConfig, raw["evaluation"])
    sweep.check_sizes("[evaluation]", evaluation.eps)
    models = sweep.for_seeds(sweep.models(raw, seeds[0]), seeds)
    check_dependencies(models)
    data = _data(raw["data"], models)
    return RecipeConfig(
        title=_text(raw, "title"),
        about=_text(raw, "about"),
        seed=seeds[0],
        data=data,
        models=models,
        attacks=sweep.attacks(raw["attacks"], evaluation.eps) if "attacks" in raw else [],
        analyses=sweep.analyses(raw.get("analyses", []), attacked=bool(raw.get("attacks"))),
        transfer=_transfer(raw.get("transfer", {}), models),
        evaluation=evaluation,
        curves=_curves(raw["curves"], evaluation.eps, data, models) if "curves" in raw else None,
        paper=resolve_published(raw.get("paper", {})),
    )


def _text(raw: dict[str, Any], name: str) -> str:
    text = raw.get(name, "")
    if not isinstance(text, str):
        raise ValueError(f"{name} must be text; got {text!r}.")
    return text


def _seeds(value: Any) -> list[int]:
    """One seed, or several: then every model is trained once with each."""
    seeds = value if isinstance(value, list) else [value]
    if not seeds or any(isinstance(seed, bool) or not isinstance(seed, int) for seed in seeds):
        raise ValueError(f"seed must be a whole number, or a list of them; got {value!r}.")
    sweep.check_unique("seeds", [str(seed) for seed in seeds])
    return seeds


def _data(settings: Any, models: list[ModelConfig]) -> DataConfig:
    """[data], with unlabelled images where a model is taught by another one."""
    data = resolve_section("[data]", DataConfig, settings)
    if data.unlabelled is not None:
        unlabelled = resolve_section("[data.unlabelled]", UnlabelledConfig, data.unlabelled)
        data = replace(data, unlabelled=unlabelled)
        same_images = unlabelled.name == data.name and unlabelled.split == "train"
        behind = unlabelled.seed == data.seed and data.train_limit is not None and unlabelled.skip >= data.train_limit
        if data.validation is not None and same_images and not behind:
            raise ValueError(
                "[data.unlabelled]: its images must not be those of [data] validation: give both sections the same "
                f"seed, and a skip of at least the train_limit of [data]; got skip {unlabelled.skip}."
            )
    elif taught := [model.label for model in models if "teacher" in model.needs]:
        raise ValueError(f"{taught[0]} has a teacher: [data.unlabelled] must say on which images.")
    return data


def _curves(settings: Any, sizes: list[float], data: DataConfig, models: list[ModelConfig]) -> CurvesConfig:
    """[curves], with attacks of one size each."""
    curves = resolve_section("[curves]", CurvesConfig, settings)
    if curves.attacks:
        curves = replace(curves, attacks=sweep.attacks(curves.attacks, sizes, "[[curves.attacks]]"))
    for attack in curves.attacks:
        if len(attack.eps) != 1:
            raise ValueError(f"[[curves.attacks]]: {attack.label} must have one eps, such as [0.1]; got {attack.eps}.")
    if curves.split == "validation" and data.validation is None:
        raise ValueError("[curves]: split 'validation' needs a share of the training images: set validation in [data].")
    if curves.select not in (names := ["none", "clean", *(attack.label for attack in curves.attacks)]):
        raise ValueError(f"[curves]: {unknown('attack to select by', curves.select, names)}")
    if curves.smooth % 2 == 0:
        raise ValueError(f"[curves]: smooth must be odd, to have a middle; got {curves.smooth}.")
    trainings = [model.training for model in models if model.training]
    if not trainings:
        raise ValueError("[curves]: section [training] is missing: no model is trained.")
    if curves.select != "none" and any(training.burn_in is not None for training in trainings):
        raise ValueError("[curves]: select must be 'none' with burn_in: such a model is made of states of many steps.")
    return curves


def _transfer(settings: Any, models: list[ModelConfig]) -> TransferConfig:
    """[transfer], with every model for a group or for "all"."""
    transfer = resolve_section("[transfer]", TransferConfig, settings)
    first = {model.group or model.label: model.label for model in reversed(models)}
    makers = [model for model in models if transfer.keep == "all" or model.label in first.values()]
    named = {"all": [model.label for model in makers]}
    for model in makers:
        named.setdefault(model.group or model.label, []).append(model.label)
    for model in models:
        named.setdefault(model.label, [model.label])
    for name in transfer.sources:
        if name not in named:
            raise ValueError(f"[transfer]: {unknown('source', name, named)}")
    sources = list(dict.fromkeys(label for name in transfer.sources for label in named[name]))
    for model in models if transfer.keep == "fooled" else ():
        kind = "an ensemble with a gate" if model.model.get("gate") else model.model.kind
        if model.label in sources and kind not in FOOLED:
            needed = "keep 'fooled' needs sources that are networks or ensembles"
            raise ValueError(f"[transfer]: {needed}; {model.label} is {kind}.")
    return replace(transfer, sources=sources)
