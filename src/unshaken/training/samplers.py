"""Samplers: optimizers that add noise to their steps, so that the weights on their way are draws of a posterior.

What they are drawn from is exp(−U(θ)/T) with the energy U(θ) = −Σ_i log p(y_i|x_i, θ) over all N training inputs, the
prior being uniform. A training loop gives the gradient of the mean over a minibatch; N times that is an estimate of ∇U.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from unshaken.errors import unknown
from unshaken.models import derive
from unshaken.types import Count, NotNegative, Positive, Supplied
from unshaken.validate import check_range

Form = Literal["variance", "deviation"]  # what 2Cη³/V − η⁴ is taken for
Window = Annotated[float, Field(ge=1, allow_inf_nan=False, description="a number of steps, 1 or more")]


class Sampler(Optimizer):
    """What samplers share: the gradient's scale, the temperature, and noise that follows from (seed, step)."""

    def __init__(
        self,
        params: Supplied[Iterable[Tensor]],
        *,
        lr: Positive = 1e-6,
        temperature: NotNegative = 1.0,
        scale: Positive | None = None,
        examples: Supplied[int] = 1,
        seed: Supplied[int] = 0,
    ) -> None:
        check_range("lr", lr, Positive)
        check_range("temperature", temperature, NotNegative)
        check_range("scale", examples if scale is None else scale, Positive)
        super().__init__(params, {"lr": lr})
        self.temperature, self.seed = temperature, seed
        self.scale = float(examples if scale is None else scale)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every weight that has a gradient."""
        # all weights end to end: for many small tensors, calls cost more than sums
        for group in self.param_groups:
            weights = group["params"]
            step = int(self._state("step", weights, [torch.zeros(())] * len(weights)).add_(1)[0])
            noise = self._noise(weights, step) if self.temperature > 0 else None
            moving = [p for p in weights if p.grad is not None]
            if not moving:
                continue
            if noise is not None and len(moving) < len(weights):
                pieces = zip(weights, noise.split([p.numel() for p in weights]), strict=True)
                noise = torch.cat([piece for p, piece in pieces if p.grad is not None])
            change = self.change(moving, _end_to_end([p.grad for p in moving]), noise, group["lr"], step)
            torch._foreach_add_(moving, _apart(change, moving))

    def _noise(self, weights: list[Tensor], step: int) -> Tensor:
        """N(0, 1) for every weight, end to end."""
        # also for weights that do not move: so those of other chains stay as they are when a chain is left out
        like, size = weights[0], sum(p.numel() for p in weights)
        rng = torch.Generator(like.device).manual_seed(derive(self.seed, "sampler", step))
        blocks = -(-size // 16) * 16  # torch fills blocks of 16: so more weights behind them change nothing
        return torch.empty(blocks, dtype=like.dtype, device=like.device).normal_(generator=rng)[:size]

    def _state(self, key: str, weights: list[Tensor], like: list[Tensor], initial: float = 0.0) -> Tensor:
        """The state `key` of these weights, in the shapes of `like`, end to end."""
        # the optimizer holds views of it; where it does not, after loading or for other weights, they are joined
        views = [self.state[p].get(key) for p in weights]
        flat: Tensor | None = None if views[0] is None else views[0]._base
        shared = flat is not None and all(view is not None and view._base is flat for view in views)
        if flat is not None and shared and flat.numel() == sum(t.numel() for t in like):
            return flat
        tensors = [torch.full_like(t, initial) if view is None else view for view, t in zip(views, like, strict=True)]
        flat = _end_to_end(tensors)
        for p, view in zip(weights, _apart(flat, like), strict=True):
            self.state[p][key] = view
        return flat

    def change(self, weights: list[Tensor], gradient: Tensor, noise: Tensor | None, lr: float, step: int) -> Tensor:
        """What to add to the weights, end to end, given the `gradient` of the loss, `scale` times which estimates
        ∂U/∂θ, and N(0, 1), or None where the temperature is zero. Both may be written to."""
        raise NotImplementedError


def _end_to_end(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _apart(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    """Views of `flat` in the shapes of these tensors."""
    return [piece.view(p.shape) for piece, p in zip(flat.split([p.numel() for p in like]), like, strict=True)]


class SGLD(Sampler):
    """Stochastic gradient Langevin dynamics: θ ← θ − η ∇U(θ) + N(0, 2ηT), which samples exp(−U/T) as η → 0.

    Args:
        lr: η, in units of θ² (a schedule multiplies it).
        temperature: T; 0 is gradient descent.
        scale: N, what the mean gradient of a minibatch is multiplied by; by default the number of training inputs.

    Source: Welling & Teh, "Bayesian learning via stochastic gradient Langevin dynamics" (2011).
    """

    def change(self, weights: list[Tensor], gradient: Tensor, noise: Tensor | None, lr: float, step: int) -> Tensor:
        drift = gradient.mul_(-lr * self.scale)
        return drift if noise is None else drift.add_(noise, alpha=(2 * lr * self.temperature) ** 0.5)


class SGAdaLD(Sampler):
    """Stochastic gradient adaptive Langevin dynamics: θ ← θ − η² V^-½ ∇U(θ) + N(0, T·max(2Cη³/V − η⁴, 0)).

    V ← (1 − 1/τ) V + (1/τ) (∇U)² is kept for every weight. Without momentum the friction C of a weight decides at which
    temperature it is sampled: drift and noise agree on T where the noise is 2η² V^-½, that is at C = V^½/η
    (`friction` "matched"). With one number C for all weights the temperature is T·C·η·V^-½: another one for every
    weight, lower where gradients are large. The −η⁴ is there for the noise of the gradient itself; with an exact
    gradient it lowers the temperature by the factor 1 − η² V^½ / 2.

    Args:
        lr: η (a schedule multiplies it). temperature: T, a factor of the noise's variance.
        friction: C, one number for all weights, or "matched".
        window: τ in steps, or None for one that adapts to every weight by itself: τ ← 1 + τ (1 − ḡ²/V), where ḡ is the
            mean gradient of the window; V and ḡ then move by 1/(τ + 1) of the way.
        first: V before the first step. reset: V is `first` again before every step, so nothing is averaged.
        adapt: steps after which V stays as it is; None for never.
        form: "variance", or "deviation": T·(2Cη³/V − η⁴) is what N(0, 1) is multiplied by, as equation 9 has it.
        scale: N, what the mean gradient of a minibatch is multiplied by; by default the number of training inputs.

    A negative variance counts as zero, and is counted (`clamped_share`). Source: Springenberg et al., "Bayesian
    optimization with robust Bayesian neural networks" (2016), without its momentum as in Ye & Zhu, "Bayesian
    adversarial learning" (2018), eq. 10.
    """

    def __init__(
        self,
        params: Supplied[Iterable[Tensor]],
        *,
        lr: Positive = 0.01,
        temperature: NotNegative = 1.0,
        friction: Positive | Literal["matched"] = 1.0,
        window: Window | None = None,
        first: Positive = 1.0,
        reset: bool = False,
        adapt: Count | None = None,
        form: Form = "variance",
        scale: Positive | None = None,
        examples: Supplied[int] = 1,
        seed: Supplied[int] = 0,
    ) -> None:
        if isinstance(friction, str) and friction != "matched":
            raise unknown("friction", friction, ["matched"])
        if not isinstance(friction, str):
            check_range("friction", friction, Positive)
        for name, value, kind in (("window", window, Window), ("adapt", adapt, Count)):
            if value is not None:
                check_range(name, value, kind)
        check_range("first", first, Positive)
        if form not in get_args(Form):
            raise unknown("form", form, get_args(Form))
        super().__init__(params, lr=lr, temperature=temperature, scale=scale, examples=examples, seed=seed)
        self.friction, self.window, self.first = friction, window, first
        self.reset, self.adapt, self.form = reset, adapt, form

    def change(self, weights: list[Tensor], gradient: Tensor, noise: Tensor | None, lr: float, step: int) -> Tensor:
        root = self._squares(weights, gradient, step).rsqrt()  # V^-½
        drift = gradient.mul_(root).mul_(-(lr**2) * self.scale)
        return drift if noise is None else drift.addcmul_(noise, self._deviation(weights, root, lr, step))

    def _squares(self, weights: list[Tensor], gradient: Tensor, step: int) -> Tensor:
        """V of every weight, after this gradient."""
        v = self._state("v", weights, weights, self.first)
        if self.adapt is not None and step > self.adapt:
            return v.fill_(self.first) if self.reset else v
        if self.window is not None:
            decay = 1 - 1 / self.window
            decayed = v.fill_(self.first * decay) if self.reset else v.mul_(decay)
            return decayed.addcmul_(gradient, gradient, value=self.scale**2 / self.window)
        window, mean = (self._state(key, weights, weights, 1.0) for key in ("window", "mean"))
        if self.reset:
            v.fill_(self.first)
        weight, gradient = (window + 1).reciprocal_(), gradient * self.scale
        window.mul_(mean.square().div_(v).neg_().add_(1)).clamp_min_(0).add_(1)
        mean.lerp_(gradient, weight)
        return v.lerp_(gradient.square_(), weight)

    def _deviation(self, weights: list[Tensor], root: Tensor, lr: float, step: int) -> Tensor:
        """What N(0, 1) is multiplied by, given V^-½, which it overwrites."""
        if self.friction == "matched":
            variance = root.mul_(2 * lr**2).sub_(lr**4)
        else:
            variance = root.square_().mul_(2 * float(self.friction) * lr**3).sub_(lr**4)
        if self.form == "deviation":
            return variance.mul_(self.temperature)
        clamped = self._state("clamped", weights, [root.new_zeros(())] * len(weights))
        # testing the lowest first is quick on a CPU, and would wait for a GPU
        if variance.is_cuda or variance.amin() < 0:
            negative = (variance < 0).float().split([p.numel() for p in weights])
            clamped.lerp_(torch.stack([piece.mean() for piece in negative]), 1 / step)
            variance.clamp_min_(0)
        else:
            clamped.mul_(1 - 1 / step)
        return variance.mul_(self.temperature).sqrt_()


def clamped_share(optimizer: Optimizer) -> float:
    """The share of all noise variances so far that were negative and taken as zero."""
    states = [(float(state["clamped"]), p.numel()) for p, state in optimizer.state.items() if "clamped" in state]
    return sum(share * count for share, count in states) / sum(count for _, count in states) if states else 0.0
