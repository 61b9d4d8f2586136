"""Sweeps: every combination of some values of some settings, and the labels of what they make."""

import itertools
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from unshaken.analysis import ANALYSES
from unshaken.attacks import ATTACKS
from unshaken.attacks.sampling import check_start
from unshaken.errors import lookup, unknown
from unshaken.evaluation.checks import attack_name
from unshaken.models import MADE_OF, MODELS
from unshaken.networks import NETWORKS
from unshaken.runs.merge import merge, nested
from unshaken.runs.parts import Part, check_table, errors_of, resolve_arguments, resolve_part, settable, supplied
from unshaken.runs.settings import AnalysisConfig, AttackConfig, ModelConfig, TrainingConfig
from unshaken.training import train
from unshaken.types import Count
from unshaken.validate import check_eps, check_range

COLUMNS = ("norm", "loss", "draws", "steps", "restarts", "eps")  # settings of an attack that rows hold in columns
MODEL_SECTIONS = ("network", "model", "training")
REPLICA = "replica"  # the number of a model that differs from another one by its seed alone


def models(raw: dict[str, Any], seed: int) -> list[ModelConfig]:
    """Network, model and training for each point of the grid of [sweep], with a label."""
    sections = {name: raw[name] for name in MODEL_SECTIONS if name in raw}
    for name, section in sections.items():
        if not isinstance(section, dict) and not (name == "network" and isinstance(section, list)):
            raise ValueError(f"[{name}] must be a table of settings; got {section!r}.")
    check_table("[sweep]", raw.get("sweep", {}))
    remaining = {path: _remaining(values) for path, values in raw.get("sweep", {}).items()}
    sweep = {path: values for path, values in remaining.items() if values != []}
    named = bool(sweep) and all(isinstance(values, dict) for values in sweep.values())
    axes = [_axis(path, values, [*sections, REPLICA]) for path, values in sweep.items()]
    configs = []
    for point in itertools.product(*axes):
        changed = deepcopy(sections)
        for _, changes in point:
            merge(changed, changes, "[sweep]")
        for name in sections:
            check_table(f"[{name}]", changed[name]) if name != "network" else None
        kind = [] if named else [str(changed["model"].get("kind"))]
        configs.append(_model(", ".join([*kind, *(name for name, _ in point)]), changed, seed))
    check_unique("models", [config.label for config in configs])
    return configs


def _model(label: str, sections: dict[str, Any], seed: int) -> ModelConfig:
    """Network (or one for each member), model and training; a model that is made of others is not trained."""
    network, listed = sections["network"], isinstance(sections["network"], list)
    model = resolve_part("[model]", MODELS | MADE_OF, sections["model"])
    composed = model.kind in MADE_OF
    trained = "training" in sections and not composed
    replica = sections.get(REPLICA)
    if replica is not None:
        check_range(REPLICA, replica, Count)
    networks: Part | list[Part]
    if listed:
        networks = [resolve_part(f"[[network]] {i}", NETWORKS, entry) for i, entry in enumerate(network, 1)]
    else:
        networks = resolve_part("[network]", NETWORKS, network)
    training = TrainingConfig(**resolve_arguments("[training]", train, sections["training"])) if trained else None
    if listed and not composed and model.innermost.kind != "ensemble":
        raise ValueError(f"[[network]]: only an ensemble has several networks; got a {model.kind!r} model.")
    return ModelConfig(label, networks, model, training, seed, replica=replica)


def for_seeds(configs: list[ModelConfig], seeds: list[int]) -> list[ModelConfig]:
    """Every model once for each seed, where there are several; `group` is what these have in common."""
    return [_with_seed(config, seed) for config in configs for seed in seeds] if len(seeds) > 1 else configs


def _with_seed(config: ModelConfig, seed: int) -> ModelConfig:
    """A model of one seed, which needs those of that seed."""
    training, model = config.training, config.model
    if training is not None:
        teacher, continues = (name and f"{name}, seed {seed}" for name in (training.teacher, training.continues))
        training = replace(training, teacher=teacher, continues=continues)
    if config.components:
        of = [f"{label}, seed {seed}" for label in config.components]
        model = Part(kind=model.kind, arguments=model.arguments | {"of": of})
    label = f"{config.label}, seed {seed}"
    return replace(config, label=label, group=config.label, seed=seed, training=training, model=model)


def _remaining(values: Any) -> Any:
    """The values of a line of [sweep], without those that an empty list removes; none left is an empty list too."""
    if not isinstance(values, dict) or not values:
        return values
    return {name: value for name, value in values.items() if value != []} or []


def _axis(path: str, values: Any, sections: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """One line of [sweep] as (name, changes to the sections) for each of its values: a list, or a table by name."""
    of_section = path.split(".")[0] in sections
    if not of_section and not (isinstance(values, dict) and all(isinstance(value, dict) for value in values.values())):
        raise ValueError(f"[sweep]: {unknown('section', path.split('.')[0], sections)}")
    if isinstance(values, list) and values:
        return [(f"{path.split('.')[-1]} {in_label(value)}", nested(path, value)) for value in values]
    if not isinstance(values, dict) or not values:
        raise ValueError(f"[sweep]: a sweep needs a list of values for {path!r}, or a table of them; got {values!r}.")
    for section in {section for value in values.values() for section in value} if not of_section else ():
        if section not in sections:
            if get_close_matches(path, sections, cutoff=0.8):  # a section with a slip rather than a name
                raise ValueError(f"[sweep]: {unknown('section', path, sections)}")
            raise ValueError(f"[sweep.{path}]: {unknown('section', section, sections)}")
    return [(name, nested(path, value) if of_section else value) for name, value in values.items()]


def analyses(entries: Any, *, attacked: bool) -> list[AnalysisConfig]:
    """One analysis for each point of the grid of every [[analyses]], with a label."""
    if not _is_list_of_tables(entries):
        raise ValueError("[[analyses]] must be a list of analyses.")
    configs = []
    for section, settings, point in _points("[[analyses]]", entries):
        part = resolve_part(section, ANALYSES, settings | point)
        if not attacked and needs_attacks(part):
            raise ValueError(f"{section}: {part.kind} is of attacks: [[attacks]] is missing.")
        values = [f"{name} {in_label(value)}" for name, value in point.items()]
        configs.append(AnalysisConfig(part, ", ".join([part.kind.replace("_", " "), *values])))
    check_unique("analyses", [config.label for config in configs])
    return configs


def _is_list_of_tables(entries: Any) -> bool:
    return isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)


def _points(section: str, entries: list[Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(section for errors, settings, point) for each point of the grid of every entry."""
    for i, entry in enumerate(entries, 1):
        settings = {name: value for name, value in entry.items() if name != "sweep"}
        for point in grid(f"{section} number {i}", entry.get("sweep", {})):
            yield f"{section} number {i}", settings, point


def needs_attacks(analysis: Part) -> bool:
    """Whether an analysis is told the attacks of the recipe."""
    return "attacks" in supplied(lookup("kind", analysis.kind, ANALYSES), ANALYSES)


def attacks(entries: Any, sizes: Any, section: str = "[[attacks]]") -> list[AttackConfig]:
    """One attack for each point of the grid of every [[attacks]], with a label that no other has."""
    if not _is_list_of_tables(entries) or not entries:
        raise ValueError(f"{section} must be a list of one attack or more.")
    configs = []
    for entry_section, settings, point in _points(section, entries):
        eps, arguments = settings.get("eps", sizes), {key: settings[key] for key in settings if key != "eps"}
        check_sizes(entry_section, eps)
        config = AttackConfig(resolve_part(entry_section, ATTACKS, arguments | point), "", "", eps)
        largest, setting = max(eps), config.settings.get
        if config.arguments.get("norm") == "linf" and largest > 1:
            box = f"eps {largest:g} is larger than the whole input box"
            raise ValueError(f"{entry_section}: {box}; is {largest:g}/255 meant?")
        with errors_of(entry_section):
            check_start(setting("loss", "cw"), setting("start", "none"), setting("restarts", 1))
        configs.append(config)
    labels = _labels(configs)
    configs = [replace(config, name=name, label=label) for config, (name, label) in zip(configs, labels, strict=True)]
    check_unique("attacks", [config.label for config in configs])
    return configs


def _labels(configs: list[AttackConfig]) -> list[tuple[str, str]]:
    """(name, label): fgsm and FGSM-10, or FGSM-10 (loss cw) where another attack is FGSM-10 too."""
    every = [{"kind": config.settings.kind, **config.arguments, "eps": config.eps} for config in configs]
    names = [attack_name(settings["kind"], str(settings.get("draws", ""))) for settings in every]
    labels = []
    for name, settings in zip(names, every, strict=True):
        twins = [other for other, same in zip(every, names, strict=True) if same == name]
        arguments = settable(lookup("kind", settings["kind"], ATTACKS), ATTACKS)
        defaults = {argument: entry.default for argument, entry in arguments.items()}
        differing = [key for key in settings if any(other.get(key) != settings[key] for other in twins)]
        differing = [key for key in differing if key in COLUMNS or settings[key] != defaults.get(key)]
        values = {key: f"{key} {in_label(settings[key])}" for key in differing}
        no_column = [text for key, text in values.items() if key not in COLUMNS]
        kind = settings["kind"] + (f" ({', '.join(no_column)})" if no_column else "")
        labels.append((kind, f"{name} ({', '.join(values.values())})" if values else name))
    return labels


def check_unique(what: str, labels: list[str]) -> None:
    """No two labels are the same."""
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ValueError(f"two {what} are the same: {twice[0]}.")


def check_sizes(section: str, eps: Any) -> None:
    """`eps` is a list of different perturbation sizes."""
    if not isinstance(eps, list):
        raise ValueError(f"{section}: eps must be a list of perturbation sizes; got {eps!r}.")
    with errors_of(section):
        check_eps(eps, 1)
        if len(set(eps)) < len(eps):
            raise ValueError(f"eps has a size twice: {eps}.")


def grid(section: str, sweep: Any) -> Iterator[dict[str, Any]]:
    """Every combination of the lists of a sweep; one empty point where there is none."""
    check_table(f"{section}: sweep", sweep)
    for name, values in sweep.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{section}: a sweep needs a list of values for {name!r}; got {values!r}.")
    return (dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values()))


def in_label(value: Any) -> str:
    """A value in the label of a model or attack."""
    if isinstance(value, Part):
        value = value.model_dump()
    if isinstance(value, dict):
        return " ".join(in_label(v) if k == "kind" else f"{k} {in_label(v)}" for k, v in value.items())
    if not isinstance(value, float) or len(str(value)) <= 8:
        return str(value)
    steps = round(255 * value, 3)  # a share of 255 where that is what it must have been written as: 2/255
    return str(value) if abs(255 * value - steps) > 1e-9 else f"{steps:g}/255"
