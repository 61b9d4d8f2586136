"""Which models need which: teachers, models that others continue, and models that are made of others."""

import itertools
from typing import NamedTuple

from unshaken.errors import unknown
from unshaken.models import MADE_OF
from unshaken.runs.settings import ModelConfig


class Network(NamedTuple):
    """A trained network: the label of its model, and the number of the member; None for all of them."""

    label: str
    member: int | None


def check_dependencies(models: list[ModelConfig]) -> None:
    """Every model that another one needs is there, and none needs itself."""
    labelled = {model.label: model for model in models}
    for model in models:
        _check_teacher(model, labelled)
        _check_continues(model, labelled)
    for model in models:
        if model.model.kind in MADE_OF and not model.components:
            raise ValueError(f"[model]: {model.label} is made of other models: of must name one or more; got [].")
        _check_components(model.label, (), labelled)
        for one, other in itertools.combinations(networks_in(model.label, labelled), 2):  # it would be stored but once
            if one.label == other.label and (None in (one.member, other.member) or one.member == other.member):
                made_of = f"{model.label} is made of {other.label!r} twice"
                raise ValueError(f"[model]: {made_of}: an ensemble needs separate networks.")


def needed_first(models: list[ModelConfig]) -> list[ModelConfig]:
    """The models in their order, but those that another one needs before that one."""
    labelled = {model.label: model for model in models}

    def with_needs(model: ModelConfig) -> list[ModelConfig]:
        return [*itertools.chain(*(with_needs(labelled[label]) for label in model.needs.values())), model]

    ordered = itertools.chain(*map(with_needs, models))
    return list({model.label: model for model in ordered}.values())


def networks_in(label: str, models: dict[str, ModelConfig]) -> list[Network]:
    """Which trained networks a model consists of."""
    model = models[label]
    if model.model.kind == "member":
        return [Network(name, model.model.arguments["number"]) for name in model.components]
    inner = [network for name in model.components for network in networks_in(name, models)]
    return inner or [Network(label, None)]


def _check_teacher(model: ModelConfig, models: dict[str, ModelConfig]) -> None:
    """A teacher is another model of the recipe, and has none itself."""
    teacher = model.needs.get("teacher")
    if teacher is None:
        return
    if teacher not in models:
        others = [label for label in models if label != model.label]
        raise ValueError(f"[training]: {model.label}: {unknown('teacher', teacher, others)}")
    if teacher == model.label or "teacher" in models[teacher].needs:
        section = f"[training]: {model.label}"
        raise ValueError(f"{section}: its teacher must be a model without a teacher; {teacher!r} has one.")


def _check_continues(model: ModelConfig, models: dict[str, ModelConfig]) -> None:
    """Training continues from another model of the recipe, and in no circle."""
    visited, label = [model.label], model.needs.get("continues")
    while label is not None:
        section = f"[training]: {visited[-1]} continues"
        if label not in models:
            raise ValueError(f"{section}: {unknown('model', label, [name for name in models if name not in visited])}")
        if label in visited:
            raise ValueError(f"{section} {label!r}, which continues it: one of them must start by itself.")
        visited.append(label)
        label = models[label].needs.get("continues")


def _check_components(label: str, above: tuple[str, ...], models: dict[str, ModelConfig]) -> None:
    """Models that are joined or taken apart are others of the recipe, and none is made of itself."""
    for name in models[label].components:
        section = f"[model]: {label} is made of"
        if name not in models:
            raise ValueError(f"{section}: {unknown('model', name, [other for other in models if other != label])}")
        if name in (*above, label):
            raise ValueError(f"{section} {name!r}, which is made of it: one of them must be trained.")
        _check_components(name, (*above, label), models)
