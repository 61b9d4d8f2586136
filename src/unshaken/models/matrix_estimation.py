"""ME-Net: a part of the input is hidden, a low-rank estimate takes its place, any classifier looks at the estimate."""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn

from unshaken.errors import lookup
from unshaken.models.base import StochasticClassifier
from unshaken.models.deterministic import Deterministic
from unshaken.models.draws import derive, generator
from unshaken.models.wrapper import Base, Wrapper, base_model
from unshaken.types import Inputs, Logits, OneOf, Probability, State, Supplied
from unshaken.validate import check_ranges

Estimate: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(seen, mask) -> matrix, (..., n, m) each with n <= m: entries in [-1, 1], zero where the mask is False."""

Kept = Annotated[float, Field(gt=0, le=1, description="a number above 0 and at most 1")]  # a share of the entries
MASK = "input mask"  # its name in a draw
ETA = 0.01  # of USVT: any small positive number
LEADING = 0.8  # share of the singular values that `leading` keeps
STEPS, FIRST, LAST = 20, 1 / 2, 1 / 50  # of Soft-Impute: its path of λ, relative to the largest singular value


def usvt(seen: Tensor, mask: Tensor) -> Tensor:
    """Singular values below (2 + 0.01) √(m p̂) are dropped, the rest divided by p̂, the observed share (Chatterjee 2015).

    m is the larger side. The threshold is that of noise which takes up all of [-1, 1]: of a small image it leaves one
    singular value or none.
    """
    left, values = _decomposed(seen)
    share = _share(seen, mask)
    kept = values >= (2 + ETA) * (seen.shape[-1] * share.squeeze(-1)).sqrt()
    return _weighted(seen, left, kept) / share


def leading(seen: Tensor, mask: Tensor) -> Tensor:
    """The largest 0.8 of the singular values, divided by the observed share: what ME-Net's own code calls USVT."""
    left, values = _decomposed(seen)
    count = values.shape[-1]
    kept = torch.arange(count, device=seen.device) >= count - max(1, int(LEADING * count))
    return _weighted(seen, left, kept.expand_as(values)) / _share(seen, mask)


def soft_impute(seen: Tensor, mask: Tensor) -> Tensor:
    """½ ‖observed entries of (Z - X)‖² + λ ‖Z‖_*, the nuclear norm, brought down by Soft-Impute (Mazumder et al. 2010).

    Z becomes the matrix with its hidden entries taken from Z and its singular values moved towards zero by λ: one step
    at each of 20 falling λ, from σ/2 to σ/50 with σ the largest singular value of what is seen. Z itself is the
    estimate, so that observed entries are smoothed too.
    """
    completed, largest = torch.zeros_like(seen), _decomposed(seen)[1].amax(-1, keepdim=True)
    for step in range(STEPS):
        filled = torch.where(mask, seen, completed)
        left, values = _decomposed(filled)
        threshold = largest * FIRST * (LAST / FIRST) ** (step / (STEPS - 1))
        shrunk = (values - threshold).clamp_min(0) / values.clamp_min(torch.finfo(values.dtype).tiny)
        completed = _weighted(filled, left, shrunk)
    return completed


ESTIMATES: dict[str, Estimate] = {"usvt": usvt, "leading": leading, "soft_impute": soft_impute}
EstimateName = Annotated[str, OneOf(ESTIMATES)]


def _decomposed(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(U, σ) with the singular values σ (..., n) rising, from the n x n Gram matrix: up to twice as fast as an SVD."""
    squares, left = torch.linalg.eigh(matrix @ matrix.mT)
    return left, squares.clamp_min(0).sqrt()


def _weighted(matrix: Tensor, left: Tensor, weights: Tensor) -> Tensor:
    """The matrix with each singular value times its weight."""
    return (left * weights.to(left.dtype).unsqueeze(-2)) @ (left.mT @ matrix)


def _share(seen: Tensor, mask: Tensor) -> Tensor:
    """Observed share (..., 1, 1); that of one entry where nothing is observed, when every estimate is zero."""
    share = mask.to(seen.dtype).mean((-2, -1), keepdim=True)
    return share.clamp_min(1 / (mask.shape[-2] * mask.shape[-1]))


def complete(x: Inputs, mask: Tensor, estimate: Estimate) -> Inputs:
    """The estimate of `x` (B, C, H, W) in [0, 1] from its entries where `mask` (B or 1, C, H, W) is True.

    The channels of an image, side by side, are one matrix (H, C·W). Straight through: the gradient at `x`, hidden
    entries included, is the gradient at the result.
    """
    channels, height, width = x.shape[1:]
    matrix, observed = (t.transpose(1, 2).flatten(2) for t in (2 * x.detach() - 1, mask))
    if height > channels * width:
        estimated = estimate(torch.where(observed.mT, matrix.mT, 0.0), observed.mT).mT
    else:
        estimated = estimate(torch.where(observed, matrix, 0.0), observed)
    image = (estimated.clamp(-1, 1) + 1).div(2).unflatten(2, (channels, width)).transpose(1, 2)
    return image + (x - x.detach())


class MatrixEstimation(Wrapper):
    """g(x) = E[f(estimate of x from a random part of its entries)]: a draw is one of the model f and one mask.

    Every entry of the input is kept with probability p, with p uniform in [low, high] for every draw; a low-rank
    estimate (`ESTIMATES`) of the matrix (H, C·W) takes the place of the input. The mask of a draw is the same for every
    input, so a draw is a function of x. ME-Net's "p: 0.4 → 0.6" is low 0.4 and high 0.6.

    Gradients are straight through (BPDA: the estimate counts as the identity in the backward pass), as in ME-Net's own
    evaluation; the draws of an attack average over masks. They are not the derivatives of g: angles and conditions,
    which rest on gradients, are about this stand-in.

    Training masks every input of a batch by itself, anew in every step, each with a p of its own. ME-Net's code fixes
    ten masks for every image before training. There is no mean network, hence neither MEAN nor MOMENTS: the estimate
    is not linear in the mask. Files are those of f: f trained on whole images can be loaded, and the reverse.

    What to choose: `leading` is what ME-Net's code ran, and smooths little; `soft_impute` is closest to the image;
    `usvt` with the published threshold leaves nothing of most CIFAR images, which are then all the same grey. Measured
    at p = 0.5 on CIFAR-10, root mean square error of a pixel in [0, 1]: 0.22, 0.20 and 0.07 for usvt, leading and
    soft_impute (0.26 for grey), in 0.03, 0.03 and 0.5 s for 128 images on one CPU core, in memory for eight copies.

    Sources: Yang, Zhang, Katabi & Xu, "ME-Net: towards effective adversarial robustness with matrix estimation" (2019);
    Athalye, Carlini & Wagner, "Obfuscated gradients give a false sense of security" (2018); of the estimates,
    Chatterjee (2015) and Mazumder, Hastie & Tibshirani (2010).

    Args:
        model: f, any model; its tensors are shared.
        shape: of one input, (C, H, W).
        low, high: smallest and largest p, above 0 and at most 1.
        estimate: a word of `ESTIMATES`, or a function like its entries.
    """

    kind = "matrix_estimation"

    def __init__(
        self,
        model: StochasticClassifier,
        shape: Sequence[int],
        *,
        low: float,
        high: float,
        estimate: str | Estimate = "leading",
    ) -> None:
        check_ranges(Kept, low=low, high=high)
        if low > high:
            raise ValueError(f"low must be at most high; got {low} and {high}.")
        if len(shape) != 3:
            raise ValueError(f"matrix_estimation is for images: shape must be (C, H, W); got {tuple(shape)}.")
        if isinstance(model, MatrixEstimation):
            raise ValueError("the model estimates its inputs already: give it one low, high and estimate.")
        super().__init__(model, shape)
        self.low, self.high = low, high
        self.estimate = lookup("estimate", estimate, ESTIMATES)

    def masks(self, n: int, rng: torch.Generator) -> Tensor:
        """`n` masks (n, C, H, W), True where an entry is kept, each with a p of its own."""
        p = self.low + (self.high - self.low) * torch.rand(n, 1, 1, 1, generator=rng, device=rng.device)
        return torch.rand(n, *(self.shape or ()), generator=rng, device=rng.device) < p

    def sampler(self) -> Callable[[int, int], State]:
        sample = self.model.sampler()

        def masked(seed: int, index: int) -> State:
            rng = generator(derive(seed, "mask"), index, self.device)
            return sample(derive(seed, "model"), index) | {MASK: self.masks(1, rng)[0]}

        return masked

    def forward(self, x: Inputs, state: State, *, training: bool = False) -> Tensor:
        rest = {name: tensor for name, tensor in state.items() if name != MASK}
        estimated = complete(x, state[MASK].unsqueeze(0), self.estimate) if MASK in state else x
        return self.model.forward(estimated, rest, training=training)

    def training_logits(self, x: Inputs, draws: int, seed: int) -> Logits:
        each = []
        for s in range(draws):
            masks = self.masks(len(x), generator(derive(seed, "mask"), s, x.device))
            estimated = complete(x, masks, self.estimate)
            each.append(self.model.training_logits(estimated, 1, derive(seed, "model", s)))
        return torch.cat(each)

    mean = StochasticClassifier.mean  # an error


def matrix_estimation(
    net: Supplied[nn.Module],
    shape: Supplied[Sequence[int]],
    *,
    low: Probability,
    high: Probability,
    estimate: EstimateName | Estimate = "leading",
    base: Base = Deterministic,
) -> MatrixEstimation:
    """ME-Net: a model of kind `base` sees a low-rank estimate of the input from a random part of its entries."""
    return MatrixEstimation(base_model(base, net, shape), shape, low=low, high=high, estimate=estimate)
