"""What an auto-encoder says beside its logits: latents and reconstructions under draws of any kind of model."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from torch import Tensor, nn

from unshaken.models.base import StochasticClassifier
from unshaken.models.draws import Draws, DrawsKind
from unshaken.models.ensemble import Ensemble, Together
from unshaken.models.wrapper import Wrapper
from unshaken.types import Inputs

Model = TypeVar("Model", bound=StochasticClassifier)


def latents(model: StochasticClassifier, x: Inputs, draws: Draws) -> Tensor:
    """Mean of the latent (S, B, L) of `x` under each draw, differentiable in x: what the attack on it moves.

    For a network with `encode(x)` -> (mean, log-variance), (B, L) each.
    """
    _check(model, draws, "encode")
    return with_forward(model, _latent).logits(x, draws)


def reconstructions(model: StochasticClassifier, x: Inputs, draws: Draws) -> Tensor:
    """What the decoder makes of the mean of the latent under each draw: (S, B, C, H, W) in [0, 1].

    For a network with `encode`, and `decode(z)` -> logits of the pixels.
    """
    _check(model, draws, "encode", "decode")
    return with_forward(model, _reconstruction).logits(x, draws)


def with_forward(model: Model, function: Callable[[Any, Inputs], Tensor]) -> Model:
    """The same model with `function(net, x)` instead of the network's forward pass, sharing everything.

    What it calls logits is then what the function gives, (B, ...) for each draw.
    """
    if isinstance(model, Together):
        raise ValueError("an ensemble that is one network has no latents: combine the probabilities of its members.")
    changed = copy.copy(model)
    if isinstance(changed, Ensemble):
        changed.members = [with_forward(member, function) for member in changed.members]
        return changed
    if isinstance(changed, Wrapper):
        changed.model = with_forward(changed.model, function)
    changed.net = copy.copy(model.net)  # shares layers and tensors, so a draw reaches the network given to `function`
    vars(changed.net).update(forward=partial(function, model.net))
    return changed


def check_coded(net: nn.Module, *methods: str) -> None:
    """A network with `encode`, and perhaps `decode`."""
    for method in methods:
        if not callable(getattr(net, method, None)):
            raise ValueError(
                f"latents are those of a network with {method}(), such as 'vae'; {type(net).__name__} has none."
            )


def _check(model: StochasticClassifier, draws: Draws, *methods: str) -> None:
    for net in [member.net for member in model.members] if isinstance(model, Ensemble) else [model.net]:
        check_coded(net, *methods)
    if draws.kind is DrawsKind.MOMENTS:
        raise ValueError("moments are those of the logits: latents need a number of draws, or the mean network.")


def _latent(net: Any, x: Inputs) -> Tensor:
    mean: Tensor = net.encode(x)[0]
    return mean


def _reconstruction(net: Any, x: Inputs) -> Tensor:
    pixels: Tensor = net.decode(_latent(net, x))
    return pixels.sigmoid()
