"""Models made of another model: they have its tensors, are trained as it is, and change what a draw does."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

from torch import Tensor

from unshaken.models.base import StochasticClassifier
from unshaken.models.draws import Draws
from unshaken.types import Inputs, Logits, PartOf, State

Base = Annotated[Callable[..., StochasticClassifier], PartOf("unshaken.models:MODELS")]
"""A kind of model that another one is around."""


class Wrapper(StochasticClassifier):
    """A model around `model`: everything that is not about draws is the model's own, files included."""

    def __init__(self, model: StochasticClassifier, shape: Sequence[int] | None = None) -> None:
        if shape is not None and model.shape not in (None, tuple(shape)):
            raise ValueError(f"shape must be that of the model's inputs, {model.shape}; got {tuple(shape)}.")
        super().__init__(model.net)
        self.model, self.cost = model, model.cost
        self.shape = model.shape if shape is None else tuple(shape)
        self.execution.vectorises = model.execution.vectorises

    def forward(self, x: Inputs, state: State, *, training: bool = False) -> Tensor:
        return self.model.forward(x, state, training=training)

    def training_logits(self, x: Inputs, draws: int, seed: int) -> Logits:
        return self.model.training_logits(x, draws, seed)

    def start_at(self, state: State) -> None:
        self.model.start_at(state)

    def divergence(self) -> Tensor:
        return self.model.divergence()

    def parameters(self) -> list[Tensor]:
        return self.model.parameters()

    def tensors(self) -> dict[str, Tensor]:
        return self.model.tensors()

    def fill(self, tensors: dict[str, Tensor], kind: str, source: str) -> None:
        self.model.fill(tensors, kind, source)

    def mean(self) -> Draws:
        return Draws.single(next(iter(self.model.mean())), self.kind)

    @property
    def stored_kind(self) -> str:
        return self.model.stored_kind


def nested(model: StochasticClassifier) -> Iterator[StochasticClassifier]:
    """The model, the one that it is around, and so on."""
    yield model
    while isinstance(model, Wrapper):
        model = model.model
        yield model


def base_model(kind: Callable[..., StochasticClassifier], net: Any, shape: Sequence[int]) -> StochasticClassifier:
    """A model of this kind for inputs of this shape, whether or not its draws depend on the shape."""
    return kind(net, shape) if "shape" in inspect.signature(kind).parameters else kind(net)
