"""The vocabulary: names of the tensors, functions and arguments that every other file speaks of.

Axes: S draws, B inputs of a batch, K classes, E perturbation sizes; C, H, W of an image.

The type of an argument says what a recipe may write there: its range (`Count`), its vocabulary (`OneOf`), another part
(`PartOf`), or nothing at all, since the caller passes it (`Supplied`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema
from torch import Tensor

Inputs: TypeAlias = Tensor  # (B, C, H, W), float, in [0, 1]
Labels: TypeAlias = Tensor  # (B,), int64
Logits: TypeAlias = Tensor  # (S, B, K)
State: TypeAlias = dict[str, Tensor]  # one draw: the random tensors of a network, by name
Loss: TypeAlias = Callable[[Logits, Labels], Tensor]  # -> (B,), larger is worse for the classifier
Eps: TypeAlias = float | Tensor | Sequence[float | Tensor]  # one size, one per input (B,), or a list of sizes
"""Largest allowed norm of the perturbation, in the [0, 1] input scale."""

Argument = TypeVar("Argument")

# Ranges. `validate.check` and recipes both take the bounds and the words of their error sentences from here.
Count = Annotated[int, Field(ge=1, description="a whole number, 1 or more")]
Members = Annotated[int, Field(ge=2, description="a whole number, 2 or more: one network is a 'deterministic' model")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, description="a number above 0")]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, description="a finite number, 0 or more")]
Probability = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]
Share = Annotated[float, Field(gt=0, lt=1, description="a number above 0 and below 1")]


@dataclass(frozen=True, eq=False)
class OneOf:
    """An argument that is a key of `table`, or "package.module:function" for a function from outside the package."""

    table: Collection[str]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"enum": sorted(self.table)}, {"type": "string", "pattern": r"^[\w.]+:\w+$"}]}

    def _checked(self, word: str) -> str:
        if word not in self.table and ":" not in word:
            raise ValueError(f"expected one of {', '.join(sorted(self.table))}; got {word!r}")
        return word


@dataclass(frozen=True, eq=False)
class PartOf:
    """An argument that is a function of `table` with settings of its own: `{ kind = "...", ... }` in a recipe.

    A table of a module that imports this one is named by "package.module:TABLE".
    """

    source: Mapping[str, Callable[..., Any]] | str

    @property
    def table(self) -> Mapping[str, Callable[..., Any]]:
        if not isinstance(self.source, str):
            return self.source
        module, _, name = self.source.partition(":")
        return getattr(import_module(module), name)


class _Mark:
    """Distinguishes an annotation by its identity."""


SUPPLIED, LABELLED = _Mark(), _Mark()
Supplied = Annotated[Argument, SUPPLIED]
"""An argument that the caller passes, which a recipe therefore cannot set."""
Labelled = Annotated[Argument, LABELLED]
"""A model, which a recipe names by its label."""
