"""Parts: a table `{ kind = "...", ... }` is a function with arguments; its signature is the schema."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import cache, partial
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_serializer, model_validator
from pydantic.fields import FieldInfo

from unshaken.errors import lookup, nearest, unknown
from unshaken.types import LABELLED, SUPPLIED, OneOf, PartOf

Table = Mapping[str, Callable[..., Any]]
Section = TypeVar("Section")

# types of a TOML file, as an error sentence calls them
SCALARS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


class Part(BaseModel):
    """A function of a table by its name, with every argument that a recipe may set."""

    model_config = ConfigDict(frozen=True)

    kind: str
    arguments: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _nest(cls, value: Any) -> Any:
        """Accept the flat form of a recipe, `{ kind = "...", ... }`, in which `_flatten` writes a part."""
        if not isinstance(value, dict) or "arguments" in value:
            return value
        arguments = {
            name: Part.model_validate(item) if isinstance(item, dict) and "kind" in item else item
            for name, item in value.items()
            if name != "kind"
        }
        return {"kind": value.get("kind"), "arguments": arguments}

    @model_serializer
    def _flatten(self) -> dict[str, Any]:
        flat = {name: item._flatten() if isinstance(item, Part) else item for name, item in self.arguments.items()}
        return {"kind": self.kind, **flat}

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an argument, or `default` where the function does not have it."""
        return self.arguments.get(name, default)

    @property
    def innermost(self) -> Part:
        """The kind of model that others are around."""
        return self.arguments["base"].innermost if "base" in self.arguments else self


@dataclass(frozen=True)
class Argument:
    """An argument that a recipe may set."""

    name: str
    hint: Any
    default: Any

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def table(self) -> Table | None:
        """The table whose functions it takes, where it takes parts."""
        return next((mark.table for mark in _marks(self.hint) if isinstance(mark, PartOf)), None)

    @property
    def plain(self) -> Any:
        """What of its type a TOML file can hold; `Any` where it says nothing about that."""
        return _plain(self.hint)

    def checked(self, section: str, value: Any) -> Any:
        """The value of a recipe as its type has it; `ValueError` that says what is expected."""
        if self.table is not None and not (value is None and NoneType in _members(self.hint)):
            return resolve_part(f"{section}: {self.name}", self.table, value)
        try:
            return _validated(self.plain, value)
        except ValidationError as error:
            raise ValueError(f"{section}: {self._complaint(value)}") from error
        except RecursionError as error:
            raise ValueError(f"{section}: {self.name} is nested too deeply.") from error

    def _complaint(self, value: Any) -> str:
        """What is wrong with a value: an unknown word, with the nearest one, or a value of another type or range."""
        items = [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]
        choices = [choice for mark in _marks(self.hint) for choice in _words(mark)]
        only_words = all(_words(mark) for mark in _marks(self.plain))
        for item in items if choices and str not in _members(self.hint) else ():
            if item not in choices and (only_words or get_close_matches(item, choices, cutoff=0.5)):
                return str(unknown(self.name, item, choices))
        name, hint, value = _wrong_entry(self.name, self.plain, value)
        return f"{name} must be {describe(hint)}; got {value!r}."

    def filled(self) -> Any:
        """The default, as a recipe would write it."""
        if self.table is not None and self.default is not None:
            kind = next(kind for kind, function in self.table.items() if function is self.default)
            return resolve_part(self.name, self.table, {"kind": kind})
        return list(self.default) if isinstance(self.default, tuple) else self.default


def resolve_part(section: str, table: Table, value: Any) -> Part:
    """A part with its kind and every argument filled in and checked; `section` is for the error."""
    if not isinstance(value, dict) or "kind" not in value:
        raise ValueError(f"{section}: expected a part {{ kind = ... }}, got {value!r}: {nearest('', table)}")
    with errors_of(section):
        function = function_of(table, value["kind"])
    settings = {name: item for name, item in value.items() if name != "kind"}
    return Part(kind=value["kind"], arguments=resolve_arguments(section, function, settings, table))


def check_table(section: str, value: Any) -> None:
    """A table of settings, not a value or a list."""
    if not isinstance(value, dict):
        raise ValueError(f"{section}: expected a table of settings, got {value!r}.")


@contextmanager
def errors_of(section: str) -> Iterator[None]:
    """A `ValueError` raised meanwhile begins with the section that it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{section}: {error}") from error


def function_of(table: Table, kind: Any) -> Callable[..., Any]:
    """The function that the kind of a part names."""
    if not isinstance(kind, str):
        raise unknown("kind", kind, table)
    return lookup("kind", kind, table)


def resolve_section(section: str, kind: Callable[..., Section], settings: Any) -> Section:
    """A dataclass of settings, checked and with its defaults."""
    return kind(**resolve_arguments(section, kind, settings))


def resolve_arguments(
    section: str, function: Callable[..., Any], settings: Any, table: Table | None = None
) -> dict[str, Any]:
    """Every argument of `function` that a recipe may set: what is given, checked, and the defaults of the rest."""
    check_table(section, settings)
    arguments = settable(function, table)
    for name in settings:
        if name not in arguments:
            raise ValueError(f"{section}: {unknown('setting', name, arguments)}")
    for name, argument in arguments.items():
        if argument.required and name not in settings:
            raise ValueError(f"{section}: {name!r} is missing.")
    return {
        name: argument.checked(section, settings[name]) if name in settings else argument.filled()
        for name, argument in arguments.items()
    }


def settable(function: Callable[..., Any], table: Table | None = None) -> dict[str, Argument]:
    """The named arguments of a function, but for what its caller supplies and what its kind fixes.

    A function from outside the package need not mark what is supplied: it is what any function of `table` has marked.
    """
    fixed = {*supplied(function, table or {}), *getattr(function, "keywords", {})}
    return {name: argument for name, argument in _arguments(function).items() if name not in fixed}


def supplied(function: Callable[..., Any], table: Table) -> set[str]:
    """The arguments of a function that its caller passes, or would pass to another function of the table."""
    every = [argument for entry in (function, *table.values()) for argument in _arguments(entry).values()]
    return {argument.name for argument in every if SUPPLIED in _marks(argument.hint)} & _arguments(function).keys()


def build(table: Table, part: Part) -> Callable[..., Any]:
    """The function that a resolved part names, with its arguments."""
    function = lookup("kind", part.kind, table)
    return partial(function, **bound(function, part.arguments))


def bound(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Resolved arguments of a function, their own parts built."""
    named = _arguments(function)
    parts = {name: value for name, value in arguments.items() if isinstance(value, Part)}
    return {**arguments, **{name: build(named[name].table or {}, part) for name, part in parts.items()}}


def all_arguments(table: Table, part: Part) -> dict[str, Any]:
    """The arguments of a part together with what its kind fixes, such as the single step of FGSM."""
    return {**getattr(lookup("kind", part.kind, table), "keywords", {}), **part.arguments}


def describe(hint: Any) -> str:
    """A type in the words of an error sentence: "a whole number, 1 or more, or 'all'"."""
    if get_origin(hint) is Annotated:
        for mark in hint.__metadata__:
            if isinstance(mark, FieldInfo) and mark.description:
                return mark.description
            if isinstance(mark, OneOf):
                return f"one of {', '.join(sorted(mark.table))}"
        return describe(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    members = [member for member in _members(hint) if member is not NoneType]
    if len(members) > 1:
        return ", or ".join(dict.fromkeys(map(describe, members)))
    if members != [hint]:
        return describe(members[0])
    if get_origin(hint) in (list, tuple, Sequence, Iterable):
        entries = get_args(hint)
        length = f" of {len(entries)}" if get_origin(hint) is tuple and Ellipsis not in entries else ""
        return f"a list{length} in which each entry is {describe(entries[0])}"
    return SCALARS.get(hint, "a table of settings")


def _validated(hint: Any, value: Any) -> Any:
    """A value of a TOML file as the type has it; 1e3 is a whole number too."""
    validate = partial(TypeAdapter(hint).validate_json, strict=True)
    try:
        checked = validate(json.dumps(value, default=repr))
    except ValidationError:
        checked = validate(json.dumps(_whole(value), default=repr))
    return list(checked) if isinstance(checked, tuple) else checked


def _whole(value: Any) -> Any:
    """The same value with an integer for every number that is one."""
    if isinstance(value, list):
        return [_whole(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _wrong_entry(name: str, hint: Any, value: Any) -> tuple[str, Any, Any]:
    """(name, type, value) of the first entry of a list or table that is not of its type; of another value, itself."""
    for member in _members(hint):
        entries: list[tuple[str, Any, Any]] = []
        if isinstance(value, list) and get_origin(member) is list:
            entries = [(f"each entry of {name}", get_args(member)[0], entry) for entry in value]
        if isinstance(value, dict) and get_origin(member) is dict:
            entries = [(f"{name}.{key}", get_args(member)[1], entry) for key, entry in value.items()]
        for entry in entries:
            try:
                _validated(*entry[1:])
            except ValidationError:
                return _wrong_entry(*entry)
    return name, hint, value


@cache
def _arguments(function: Callable[..., Any]) -> dict[str, Argument]:
    """Every named argument, whoever sets it."""
    hints, named = _hints(function), (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    factories = {entry.name: entry.default_factory for entry in fields(function)} if is_dataclass(function) else {}
    defaults = {name: factory() for name, factory in factories.items() if callable(factory)}
    return {
        name: Argument(name, hints.get(name, Any), defaults.get(name, parameter.default))
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in named
    }


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of its arguments; what it returns may be a type of a library that is not imported yet."""
    plain: Any = getattr(function, "func", function)
    if is_dataclass(plain):
        return get_type_hints(plain, include_extras=True)
    plain = plain.__init__ if inspect.isclass(plain) else plain
    annotations = {name: hint for name, hint in plain.__annotations__.items() if name != "return"}
    return get_type_hints(SimpleNamespace(__annotations__=annotations), plain.__globals__, include_extras=True)


def _members(hint: Any) -> list[Any]:
    """The members of a union; of another type, itself."""
    return [*get_args(hint)] if get_origin(hint) in (Union, UnionType) else [hint]


def _marks(hint: Any) -> Iterator[Any]:
    """Everything that annotates a type or one inside it, and its literals."""
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__
        yield from _marks(get_args(hint)[0])
    elif get_origin(hint) is Literal:
        yield hint
    elif get_origin(hint) is not Callable:
        for member in get_args(hint):
            if member is not hint:
                yield from _marks(member)


def _words(mark: Any) -> Iterable[str]:
    """The words that an argument marked so takes."""
    if isinstance(mark, OneOf):
        return mark.table
    return [choice for choice in get_args(mark) if isinstance(choice, str)] if get_origin(mark) is Literal else ()


def _plain(hint: Any) -> Any:
    members = [plain for member in _members(hint) if (plain := _plain_member(member)) is not None]
    return Union[tuple(members)] if {*members} - {NoneType} else Any  # noqa: UP007


def _plain_member(hint: Any) -> Any:
    """One type as a TOML file can hold it; None where it cannot."""
    if get_origin(hint) is Annotated:
        return str if LABELLED in hint.__metadata__ else hint if get_args(hint)[0] in SCALARS else None
    if get_origin(hint) in (list, tuple, Sequence, Iterable):
        inner = [_plain(member) for member in get_args(hint) if member is not Ellipsis]
        if Any in inner:
            return None
        return tuple[tuple(inner)] if get_origin(hint) is tuple and Ellipsis not in get_args(hint) else list[inner[0]]  # type: ignore[misc, valid-type]
    if get_origin(hint) is dict or get_origin(hint) is Literal or hint in SCALARS or hint is NoneType:
        return hint
    return None
