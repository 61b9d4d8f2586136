"""A Bayesian network with an independent Gaussian for every weight."""

import copy
import math
from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from unshaken.errors import unknown
from unshaken.models.base import StochasticClassifier
from unshaken.models.draws import Draws, generator
from unshaken.types import OneOf, Positive, State, Supplied
from unshaken.validate import check_range

# where the posterior of a mean-field model starts
INITIALS = {
    "network": "means at the network's own initial weights, standard deviations at initial_scale",
    "gaussian": "means and ρ from N(0, 1), so standard deviations near 0.8: as the code of Carbone et al. (2020)",
}
InitialName = Annotated[str, OneOf(INITIALS)]


class MeanField(StochasticClassifier):
    """θ ~ N(m, s²) for every parameter of any network, s = softplus(ρ); prior N(0, prior_scale²).

    By default means start at the network's own initial weights and standard deviations at `initial_scale`, so that the
    first gradient steps see signal, not noise; INITIALS has the alternative. The network is copied; every parameter is
    random, frozen or not; buffers (BatchNorm statistics) are shared by all draws.
    m and ρ are one vector each: a draw is one Gaussian vector, cut into views.

    Source: Graves, "Practical variational inference for neural networks" (2011); Blundell et al., "Weight
    uncertainty in neural networks" (2015).
    """

    kind = "mean_field"

    def __init__(
        self,
        net: Supplied[nn.Module],
        *,
        prior_scale: Positive = 1.0,
        initial: InitialName = "network",
        initial_scale: Positive = 0.05,
    ) -> None:
        check_range("prior_scale", prior_scale, Positive)
        check_range("initial_scale", initial_scale, Positive)
        if initial not in INITIALS:
            raise unknown("initial", initial, INITIALS)
        super().__init__(copy.deepcopy(net).eval())
        self.shapes = {name: tensor.shape for name, tensor in self.net.named_parameters()}
        if not self.shapes:
            raise ValueError("mean_field needs a network with parameters; this one has none.")
        self.prior_scale = prior_scale
        flat = torch.cat([tensor.detach().flatten() for tensor in self.net.parameters()])
        rho = torch.full_like(flat, math.log(math.expm1(initial_scale)))
        if initial == "gaussian":
            flat, rho = torch.randn_like(flat), torch.randn_like(rho)
        self.mean_vector, self.rho_vector = flat.requires_grad_(), rho.requires_grad_()

    def sampler(self) -> Callable[[int, int], State]:
        # a snapshot while drawing, in which draws may be written into their own noise; live parameters while training
        training = torch.is_grad_enabled()
        mean = self.mean_vector if training else self.mean_vector.clone()
        scale = softplus(self.rho_vector)

        def sample(seed: int, index: int) -> State:
            rng = generator(seed, index, mean.device)
            noise = torch.randn(mean.shape, generator=rng, dtype=mean.dtype, device=mean.device)
            return self.views(torch.addcmul(mean, scale, noise, out=None if training else noise))

        return sample

    def views(self, vector: Tensor) -> State:
        """One vector over all weights, cut into the network's tensors."""
        pieces = vector.split([shape.numel() for shape in self.shapes.values()])
        return {name: piece.view(shape) for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)}

    def mean(self) -> Draws:
        return Draws.single(self.views(self.mean_vector.detach().clone()), self.kind)

    def variances(self) -> State:
        with torch.no_grad():
            return self.views(softplus(self.rho_vector).square())

    def divergence(self) -> Tensor:
        """KL(N(m, s²) ‖ N(0, σ²)) = Σ log(σ/s) + (s² + m²) / (2σ²) − ½."""
        scale, mean = softplus(self.rho_vector), self.mean_vector
        squares = (scale @ scale + mean @ mean) / (2 * self.prior_scale**2)
        return squares - scale.log().sum() + len(scale) * (math.log(self.prior_scale) - 0.5)

    def parameters(self) -> list[Tensor]:
        return [self.mean_vector, self.rho_vector]

    def start_at(self, state: State) -> None:
        """The means start there, the standard deviations where they are."""
        self.copy_into(self.views(self.mean_vector.detach()) | dict(self.net.named_buffers()), state)

    def tensors(self) -> dict[str, Tensor]:
        learnt = {"mean": self.views(self.mean_vector), "rho": self.views(self.rho_vector)}
        named = {f"{kind}.{name}": tensor for kind, state in learnt.items() for name, tensor in state.items()}
        return named | {f"buffer.{name}": tensor for name, tensor in self.net.named_buffers()}
