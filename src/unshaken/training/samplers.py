"""Samplers: optimizers that add noise to their steps, so that the weights on their way are draws of a posterior.

What they are drawn from is exp(−U(θ)/T) with the energy U(θ) = −Σ_i log p(y_i|x_i, θ) over all N training inputs, the
prior being uniform. A training loop gives the gradient of the mean over a minibatch; N times that is an estimate of ∇U.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from unshaken.models import derive
from unshaken.validate import check_count, check_not_negative, check_positive

FORMS = ("variance", "deviation")  # what 2Cη³/V − η⁴ is taken for


class Sampler(Optimizer):
    """What samplers share: the gradient's scale, the temperature, and noise that follows from (seed, step)."""

    def __init__(
        self,
        params: Iterable[Tensor],
        settings: dict[str, Any],
        *,
        lr: float,
        temperature: float,
        scale: float | None,
        examples: int,
        seed: int,
    ) -> None:
        check_positive("lr", lr)
        check_not_negative("temperature", temperature)
        check_positive("scale", examples if scale is None else scale)
        super().__init__(params, {"lr": lr, **settings})
        self.temperature, self.seed = temperature, seed
        self.scale = float(examples if scale is None else scale)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every weight that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["step"] = self.state[p].get("step", torch.zeros(())) + 1
            for p, noise in zip(group["params"], self._noise(group["params"]), strict=True):
                if p.grad is not None:
                    self.move(p, p.grad, noise, group)

    def _noise(self, weights: list[Tensor]) -> list[Tensor]:
        """N(0, 1) for every weight, also for those that do not move: so others stay as they are when a chain is left
        out. None is made where the temperature is zero."""
        if self.temperature == 0:
            return [torch.zeros((), device=p.device) for p in weights]
        like, step = weights[0], int(self.state[weights[0]]["step"])
        rng = torch.Generator(like.device).manual_seed(derive(self.seed, "sampler", step))
        sizes = [p.numel() for p in weights]
        whole = -(-sum(sizes) // 16) * 16  # torch fills blocks of 16: so more weights behind them change nothing
        flat = torch.empty(whole, dtype=like.dtype, device=like.device).normal_(generator=rng)[: sum(sizes)]
        return [part.view_as(p) for part, p in zip(flat.split(sizes), weights, strict=True)]

    def move(self, p: Tensor, slope: Tensor, noise: Tensor, group: dict[str, Any]) -> None:
        """Change `p` in place, given `slope`, of which `scale` times is an estimate of ∂U/∂p, and N(0, 1)."""
        raise NotImplementedError


class SGLD(Sampler):
    """Stochastic gradient Langevin dynamics: θ ← θ − η ∇U(θ) + N(0, 2ηT), which samples exp(−U/T) as η → 0.

    Args:
        lr: η, in units of θ² (a schedule multiplies it).
        temperature: T; 0 is gradient descent.
        scale: N, what the mean gradient of a minibatch is multiplied by; by default the number of training inputs.

    Source: Welling & Teh, "Bayesian learning via stochastic gradient Langevin dynamics" (2011).
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float = 1e-6,
        temperature: float = 1.0,
        scale: float | None = None,
        examples: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(params, {}, lr=lr, temperature=temperature, scale=scale, examples=examples, seed=seed)

    def move(self, p: Tensor, slope: Tensor, noise: Tensor, group: dict[str, Any]) -> None:
        lr = group["lr"]
        p.add_(slope, alpha=-lr * self.scale).add_(noise, alpha=(2 * lr * self.temperature) ** 0.5)


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
        params: Iterable[Tensor],
        *,
        lr: float = 0.01,
        temperature: float = 1.0,
        friction: float | str = 1.0,
        window: float | None = None,
        first: float = 1.0,
        reset: bool = False,
        adapt: int | None = None,
        form: str = "variance",
        scale: float | None = None,
        examples: int = 1,
        seed: int = 0,
    ) -> None:
        if friction != "matched":
            check_friction(friction)
        if window is not None:
            check_window(window)
        check_positive("first", first)
        if adapt is not None:
            check_count("adapt", adapt)
        if form not in FORMS:
            raise ValueError(f"form must be 'variance' or 'deviation'; got {form!r}.")
        super().__init__(params, {}, lr=lr, temperature=temperature, scale=scale, examples=examples, seed=seed)
        self.friction, self.window, self.first = friction, window, first
        self.reset, self.adapt, self.form = reset, adapt, form

    def move(self, p: Tensor, slope: Tensor, noise: Tensor, group: dict[str, Any]) -> None:
        lr = group["lr"]
        root = self._squares(p, slope).rsqrt()  # V^-½
        p.addcmul_(slope, root, value=-(lr**2) * self.scale)
        if self.temperature > 0:
            p.addcmul_(noise, self._deviation(p, root, lr))

    def _squares(self, p: Tensor, slope: Tensor) -> Tensor:
        """V of every weight, after this gradient."""
        state = self.state[p]
        if "v" not in state or self.reset:
            state["v"] = torch.full_like(p, self.first)
        v: Tensor = state["v"]
        if self.adapt is not None and int(state["step"]) > self.adapt:
            return v
        if self.window is not None:
            return v.mul_(1 - 1 / self.window).addcmul_(slope, slope, value=self.scale**2 / self.window)
        window, mean = (state.setdefault(word, torch.ones_like(p)) for word in ("window", "mean"))
        share = 1 / (window + 1)
        window.mul_(1 - mean.square() / v).clamp_min_(0).add_(1)
        mean.lerp_(slope * self.scale, share)
        v.lerp_((slope * self.scale).square_(), share)
        return v

    def _deviation(self, p: Tensor, root: Tensor, lr: float) -> Tensor:
        """What N(0, 1) is multiplied by, given V^-½."""
        if self.friction == "matched":
            found = root.mul(2 * lr**2).sub_(lr**4)
        else:
            found = root.square().mul_(2 * float(self.friction) * lr**3).sub_(lr**4)
        if self.form == "deviation":
            return found.mul_(self.temperature)
        state = self.state[p]
        # to look at the lowest first is quick on a CPU, and would wait for a GPU
        share = (found < 0).float().mean() if p.is_cuda or found.amin() < 0 else torch.zeros(())
        state["clamped"] = state.get("clamped", share).lerp(share, 1 / float(state["step"]))
        return found.clamp_min_(0).mul_(self.temperature).sqrt_()


def clamped_share(rule: Optimizer) -> float:
    """The share of all noise variances so far that were negative and taken as zero."""
    told = [(float(state["clamped"]), p.numel()) for p, state in rule.state.items() if "clamped" in state]
    return sum(share * count for share, count in told) / sum(count for _, count in told) if told else 0.0


def check_friction(friction: float | str) -> None:
    """A number above zero, or "matched"."""
    if isinstance(friction, str):
        raise ValueError(f"friction must be a number above 0 or 'matched'; got {friction!r}.")
    check_positive("friction", friction)


def check_window(window: float) -> None:
    """An averaging window holds a step at least."""
    if isinstance(window, bool) or not 1 <= window < float("inf"):
        raise ValueError(f"window must be a number of steps, 1 or more; got {window!r}.")
