"""Parts: a table `{ kind = "...", ... }` is a function with arguments; its signature is the schema."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from unshaken.analysis import SMOOTHNESS, ZEROS
from unshaken.attacks import ATTACKS, LOSSES, NORMS
from unshaken.attacks.norms import STARTS
from unshaken.attacks.pgd import SCHEMES, UPDATES
from unshaken.errors import lookup, nearest, unknown
from unshaken.models import MODELS
from unshaken.models.ensemble import COMBINE
from unshaken.models.matrix_estimation import ESTIMATES
from unshaken.models.mean_field import INITIALS
from unshaken.networks import NETWORKS
from unshaken.evaluation.predict import RULES
from unshaken.training import (
    ANSWERS,
    AUGMENTS,
    FORMS,
    INPUTS,
    NOISES,
    OBJECTIVES,
    OPTIMIZERS,
    OVER,
    SCHEDULES,
    WAYS,
)
from unshaken.training.samplers import check_friction, check_window
from unshaken.validate import (
    check_count,
    check_eps,
    check_members,
    check_not_negative,
    check_positive,
    check_probability,
    check_share,
)

Table = dict[str, Any]

# what the pipeline passes to every part, so that a recipe cannot
SUPPLIED = (
    "model",
    "models",
    "x",
    "y",
    "net",
    "shape",
    "classes",
    "params",
    "seed",
    "examples",
    "attacks",
    "places",
    "points",
    "then",
    "before",
    "unlabelled",
    "progress",
    "checkpoint",
    "monitor",
    "watch",
    "slope",
)
PARTS: dict[str, Mapping[str, Any]] = {
    "inputs": INPUTS,
    "objective": OBJECTIVES,
    "optimizer": OPTIMIZERS,
    "attack": ATTACKS,
    "base": MODELS,
    "augment": AUGMENTS,
    "schedule": SCHEDULES,
    "gate": NETWORKS,
}
WORDS: dict[str, Collection[str]] = {
    "loss": LOSSES,
    "norm": NORMS,
    "start": STARTS,
    "update": UPDATES,
    "rule": RULES,
    "initial": INITIALS,
    "estimate": ESTIMATES,
    "zeros": ZEROS,
    "noise": NOISES,
    "labels": ANSWERS,
    "smoothness": SMOOTHNESS,
    "over": OVER,
    "way": WAYS,
    "form": FORMS,
    "combine": COMBINE,
    "keep": ("all", "fooled"),
}
COUNTS = (
    "draws",
    "reference",
    "steps",
    "search_steps",
    "epochs",
    "repeats",
    "rounds",
    "restarts",
    "directions",
    "batch",
    "batch_size",
    "copies",
    "noises",
    "depth",
    "dense",
    "chains",
    "updates",
    "burn_in",
    "thin",
    "adapt",
    "latent",
    "every",
    "smooth",
    "number",
    "most_steps",
)
POSITIVE = (
    *("step_size", "lr", "prior_scale", "initial_scale", "shortest", "sigma", "smoothness", "factor", "delta"),
    *("initial_c", "first", "scale", "weight", "start"),
)
RANGES: dict[str, Callable[[str, Any], None]] = {
    **dict.fromkeys((*COUNTS, "train_limit", "test_limit", "limit"), check_count),
    **dict.fromkeys(POSITIVE, check_positive),
    **dict.fromkeys(("probability", "flip", "low", "high"), check_probability),
    **dict.fromkeys(
        (
            *("kl_scale", "kl_weight", "label_weight", "size", "beta", "temperature", "cost", "decay", "rho"),
            *("confidence", "flow_weight", "rise"),
        ),
        check_not_negative,
    ),
    "members": check_members,
    "friction": lambda word, value: check_friction(value),
    "window": lambda word, value: check_window(value),
    **dict.fromkeys(("held_out", "validation"), check_share),
    "eps": lambda word, value: check_eps(value, 1),
}


def part(where: str, table: Mapping[str, Any], given: Table) -> Table:
    """A part with its kind and every argument filled in and checked; `where` is for the error."""
    if not isinstance(given, dict) or "kind" not in given:
        raise ValueError(f"{where}: expected a part {{ kind = ... }}, got {given!r}: {nearest('', table)}")
    try:
        function = lookup("kind", given["kind"], table)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    rest = {word: value for word, value in given.items() if word != "kind"}
    supplied = (*SUPPLIED, "eps") if table is ATTACKS else SUPPLIED  # whoever calls an attack says how large
    return {"kind": given["kind"], **arguments(where, function, rest, supplied)}


def arguments(where: str, function: Callable[..., Any], given: Table, supplied: Collection[str] = SUPPLIED) -> Table:
    """Every argument of `function` that a recipe may set: what is given, checked, and the defaults of the rest."""
    if not isinstance(given, dict):
        raise ValueError(f"{where}: expected a table of settings, got {given!r}.")
    words = settable(function, supplied)
    for word in given:
        if word not in words:
            raise ValueError(f"{where}: {unknown('setting', word, words)}")
    missing = [word for word, p in words.items() if p.default is p.empty and word not in given]
    if missing:
        raise ValueError(f"{where}: {missing[0]!r} is missing.")
    hints = _hints(function)
    return {
        word: _value(f"{where}: {word}", word, given[word], hints.get(word, Any))
        if word in given
        else _default(word, p)
        for word, p in words.items()
    }


def settable(function: Callable[..., Any], supplied: Collection[str] = SUPPLIED) -> dict[str, inspect.Parameter]:
    """The named arguments of a function, but for what the pipeline supplies and what its kind fixes."""
    out = {*supplied, *getattr(function, "keywords", {})}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(function).parameters
    return {name: p for name, p in parameters.items() if name not in out and p.kind in named}


def build(table: Mapping[str, Any], given: Table) -> Callable[..., Any]:
    """The function that a resolved part names, with its arguments."""
    return partial(lookup("kind", given["kind"], table), **bound(given))


def bound(given: Table) -> Table:
    """The arguments of a resolved part, its own parts built."""
    rest = {word: value for word, value in given.items() if word != "kind"}
    return rest | {word: build(PARTS[word], rest[word]) for word in PARTS if rest.get(word) is not None}


def full(attack: Table, table: Mapping[str, Any]) -> Table:
    """A resolved part together with what its kind fixes, such as the single step of FGSM."""
    return {**getattr(lookup("kind", attack["kind"], table), "keywords", {}), **attack}


def _default(word: str, parameter: inspect.Parameter) -> Any:
    """The default of an argument, as a recipe would write it."""
    if word in PARTS and parameter.default is not None:
        kind = next(kind for kind, function in PARTS[word].items() if function is parameter.default)
        return part(word, PARTS[word], {"kind": kind})
    return list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default


def _value(where: str, word: str, value: Any, hint: Any) -> Any:
    """A given value, checked against its type, its vocabulary and its range."""
    from pydantic import TypeAdapter, ValidationError

    if word in PARTS:
        return part(where, PARTS[word], value)
    if word in WORDS and isinstance(value, str) and ":" not in value and value not in WORDS[word]:
        raise ValueError(f"{where}: {unknown(word, value, WORDS[word])}")
    if isinstance(value, bool) and hint is not bool and bool not in get_args(hint):
        raise ValueError(f"{where}: expected a value of another type than true or false; got {value}.")
    try:
        value = TypeAdapter(_plain(hint)).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{where}: {error.errors()[0]['msg'].lower()}; got {value!r}.") from error
    for one in value if isinstance(value, list | tuple) else [value]:
        try:
            if word in RANGES and isinstance(one, int | float):
                RANGES[word](word, one)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        if word == "draws" and isinstance(one, str) and one not in SCHEMES:
            raise ValueError(f"{where}: expected a number or a scheme, got {one!r}: {nearest(one, SCHEMES)}")
    return list(value) if isinstance(value, tuple) else value


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of its arguments; what it returns may be a type of a library that is not imported yet."""
    plain: Any = getattr(function, "func", function)
    plain = plain.__init__ if inspect.isclass(plain) else plain
    told = {word: hint for word, hint in plain.__annotations__.items() if word != "return"}
    return get_type_hints(SimpleNamespace(__annotations__=told), plain.__globals__)


def _plain(hint: Any) -> Any:
    """The members of a type that a TOML file can hold: numbers, words, lists and tables of them."""
    if get_origin(hint) in (Union, UnionType):
        members = [member for member in get_args(hint) if _is_plain(member)]
        return Union[tuple(members)] if {*members} - {NoneType} else Any  # noqa: UP007
    return hint if _is_plain(hint) else Any


def _is_plain(hint: Any) -> bool:
    if get_origin(hint) in (list, tuple, dict, Sequence, Iterable, Union, UnionType):
        return all(_is_plain(member) for member in get_args(hint) if member is not Ellipsis)
    return hint in (int, float, str, bool, NoneType)
