"""MC dropout: a network whose dropout stays on, one mask for each draw."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from unshaken.models.base import StochasticClassifier, own_copy
from unshaken.models.draws import Draws, generator
from unshaken.models.moments import RULES, dropped
from unshaken.types import Inputs, Logits, State, Supplied

WHOLE_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class Masked(nn.Module):
    """A dropout layer that multiplies with the masks it is given, one for each time it is called in a forward pass.

    `masks` has the shape of every mask, of one input. Without a mask it changes nothing; with `rng` set, as in
    training, it makes a mask for every input.
    """

    rng: torch.Generator | None = None

    def __init__(self, p: float, *, channels: bool) -> None:
        super().__init__()
        self.p, self.channels = p, channels
        self.masks: list[tuple[int, ...]] = []
        self.calls, self.recording = 0, False

    def forward(self, x: Tensor) -> Tensor:
        shape = (x.shape[1], *[1] * (x.dim() - 2)) if self.channels else tuple(x.shape[1:])
        if self.recording:
            self.register_buffer(f"mask{len(self.masks)}", torch.ones((), dtype=x.dtype, device=x.device), False)
            self.masks.append(shape)
            return x
        if self.rng is not None:
            return x * self.mask((len(x), *shape), self.rng, x)
        if self.calls == len(self.masks):
            raise ValueError(
                f"a dropout layer was called {self.calls} times when its masks were made, and now once more."
            )
        mask: Tensor = getattr(self, f"mask{self.calls}")
        self.calls += 1
        return x * mask if mask.dim() > 0 else x

    def mask(self, shape: tuple[int, ...], rng: torch.Generator, like: Tensor) -> Tensor:
        """Bernoulli(1 − p) / (1 − p) for every entry: its mean is one."""
        kept = 1 - self.p
        return torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(kept, generator=rng) / kept


RULES[Masked] = dropped


class Dropout(StochasticClassifier):
    """Any network with dropout layers, which stay on: a draw is one mask for each of them, shared by all inputs.

    So a draw is a function of the input, unlike a network in train mode, where every input of a batch has a mask of its
    own. `shape` (C, H, W) is that of one input: masks are as large as what they multiply. The mean network has dropout
    off. The network's tensors are shared, and it is used in eval mode (BatchNorm with its running statistics); training
    has the usual dropout, a mask for every input. Dropout1d, 2d and 3d drop whole channels.

    Source: Gal & Ghahramani, "Dropout as a Bayesian approximation" (2016).
    """

    kind = "dropout"

    def __init__(self, net: Supplied[nn.Module], shape: Supplied[Sequence[int]]) -> None:
        super().__init__(_with_masks(net))
        self.shape = tuple(shape)
        self.layers = {name: layer for name, layer in self.net.named_modules() if isinstance(layer, Masked)}
        self._record_masks(self.shape)
        self.fixed = {**dict(self.net.named_parameters()), **dict(self.net.named_buffers())}

    def _record_masks(self, shape: tuple[int, ...]) -> None:
        """One forward pass that notes what every dropout layer is applied to."""
        like = next(iter(self.fixed.values()), torch.zeros(()))
        for layer in self.layers.values():
            layer.recording = True
        try:
            with torch.enable_grad():  # without gradients some of torch's layers take a path around their dropout
                self.net(torch.zeros(1, *shape, dtype=like.dtype, device=like.device))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"shape {shape} is not that of one input of this network ({reason}).") from error
        for name, layer in self.layers.items():
            layer.recording = False
            if layer.p > 0 and not layer.masks:
                raise ValueError(
                    f"dropout layer {name!r} is not used by the forward pass: take it out, or set its p to 0."
                )

    def sampler(self) -> Callable[[int, int], State]:
        like = next(iter(self.fixed.values()))

        def sample(seed: int, index: int) -> State:
            rng = generator(seed, index, self.device)
            return {
                f"{name}.mask{call}": self.execution.memory_order(layer.mask(shape, rng, like).unsqueeze(0)).squeeze(0)
                for name, layer in self.layers.items()
                for call, shape in enumerate(layer.masks)
            }

        return sample

    def forward(self, x: Inputs, state: State, *, training: bool = False) -> Tensor:
        for layer in self.layers.values():
            layer.calls = 0
        return super().forward(x, state, training=training)

    def training_logits(self, x: Inputs, draws: int, seed: int) -> Logits:
        logits = []
        for s in range(draws):
            rng = generator(seed, s, x.device)
            for layer in self.layers.values():
                layer.rng = rng
            try:
                logits.append(self.forward(x, {}, training=True))
            finally:
                for layer in self.layers.values():
                    layer.rng = None
        return torch.stack(logits)

    def mean(self) -> Draws:
        return Draws.single({}, self.kind)

    def variances(self) -> State:
        variances = {name: layer.p / (1 - layer.p) for name, layer in self.layers.items()}
        return {f"{name}.mask0": torch.tensor(variance, device=self.device) for name, variance in variances.items()}

    def start_at(self, state: State) -> None:
        self.copy_into(self.fixed, state)

    def tensors(self) -> dict[str, Tensor]:
        masks = {f"{name}.mask{call}" for name, layer in self.layers.items() for call in range(len(layer.masks))}
        return {name: tensor for name, tensor in self.fixed.items() if name not in masks}


def _with_masks(net: nn.Module) -> nn.Module:
    """A copy that shares every tensor, with a `Masked` instead of every dropout layer."""
    masked: dict[int, Any] = {}
    for name, layer in net.named_modules():
        if isinstance(layer, nn.MultiheadAttention | nn.RNNBase) and layer.dropout > 0:
            raise ValueError(
                f"the dropout inside layer {name!r} ({type(layer).__name__}) cannot be kept on: "
                "set it to 0, or wrap the network as 'module'."
            )
        if isinstance(layer, _DropoutNd):
            if type(layer) not in (nn.Dropout, *WHOLE_CHANNELS):
                raise ValueError(
                    f"dropout keeps Dropout and Dropout1d, 2d and 3d on; layer {name!r} is a {type(layer).__name__}."
                )
            if layer.p == 1:
                raise ValueError(f"dropout layer {name!r} drops everything: its p is 1.")
            masked[id(layer)] = Masked(layer.p, channels=isinstance(layer, WHOLE_CHANNELS))
    if not any(layer.p > 0 for layer in masked.values()):
        raise ValueError(
            "dropout needs a network with nn.Dropout layers whose p is above 0; this one has none "
            "(if its forward pass calls a dropout function, wrap it as 'module')."
        )
    return own_copy(net, masked)
