"""Randomised smoothing: Gaussian noise on the input of any classifier."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from unshaken.models.base import NOISE, StochasticClassifier
from unshaken.models.deterministic import Deterministic
from unshaken.models.draws import derive, generator
from unshaken.models.wrapper import Base, Wrapper, base_model
from unshaken.types import Count, Inputs, Positive, State, Supplied
from unshaken.validate import check_range


class Smoothing(Wrapper):
    """g(x) = E[f(x + ε)], ε ~ N(0, σ²) for every entry: a draw is one of the model f and one noise for all inputs.

    As the noise of a draw is the same for every input, a draw is a function of x. x + ε is not clipped. g is smooth
    with L = 2/σ² (Yang et al., "On the certified robustness for ensemble models and beyond", 2022) where the mean over
    draws is exact; over few draws it is as smooth as f.

    Training adds no noise of its own: give the learner noisy copies (`training.variable_noise`), as the published
    models had. MEAN is f's mean network without noise; MOMENTS takes σ² as the variance of the input.

    Args:
        model: f, any model; its tensors are shared.
        shape: of one input, (C, H, W).
        sigma: σ, standard deviation, in the scale of x.
        noises: how many draws in a row, also in one step of an attack, share a draw of f; each has noise of its own.
    """

    kind = "smoothing"

    def __init__(self, model: StochasticClassifier, shape: Sequence[int], *, sigma: float, noises: int = 1) -> None:
        check_range("sigma", sigma, Positive)
        check_range("noises", noises, Count)
        if isinstance(model, Smoothing):
            raise ValueError("the model has input noise already: give it one sigma, the root of the sum of squares.")
        super().__init__(model, shape)
        self.sigma, self.noises = sigma, noises

    def sampler(self) -> Callable[[int, int], State]:
        sample, like = self.model.sampler(), next(iter(self.tensors().values()), torch.zeros(()))
        last: dict[tuple[int, int], State] = {}

        def noisy(seed: int, index: int) -> State:
            key = (derive(seed, "model"), index // self.noises)
            if key not in last:
                last.clear()
                last[key] = sample(*key)
            rng = generator(derive(seed, "noise"), index, like.device)
            noise = torch.randn(self.shape or (), generator=rng, dtype=like.dtype, device=like.device)
            return last[key] | {NOISE: noise.mul_(self.sigma)}

        return noisy

    def forward(self, x: Inputs, state: State, *, training: bool = False) -> Tensor:
        rest = {name: tensor for name, tensor in state.items() if name != NOISE}
        return self.model.forward(x + state[NOISE] if NOISE in state else x, rest, training=training)

    def variances(self) -> State:
        # on the CPU, where reading the number does not wait for a GPU
        return self.model.variances() | {NOISE: torch.tensor(self.sigma**2, dtype=torch.float64)}


def smoothing(
    net: Supplied[nn.Module],
    shape: Supplied[Sequence[int]],
    *,
    sigma: Positive,
    base: Base = Deterministic,
    noises: Count = 1,
) -> Smoothing:
    """Randomised smoothing: Gaussian noise N(0, σ²) on the input of a model of kind `base`."""
    return Smoothing(base_model(base, net, shape), shape, sigma=sigma, noises=noises)
