"""What attacks are given: perturbation budgets for every eps of a list at once, callbacks, optional keywords."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unshaken.models.draws import Provenance, remember
from unshaken.types import Eps, Inputs, Positive
from unshaken.validate import check_eps, check_range

OnGradient = Callable[[int, Tensor], None]  # (step, gradient)
GradientEstimator = Callable[..., Tensor]  # (model, x, y, draws, loss, *, batch_size) -> ∇_x loss, see `pgd`


def supported_kwargs(function: Callable[..., Tensor], **keywords: Any) -> dict[str, Any]:
    """The keywords in the signature of `function`: one from outside need not know `indices` or `on_gradient`."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in keywords.items() if name in parameters}


def fixed_argument(name: str, value: object) -> ValueError:
    """The error for an argument that an attack fixes for good."""
    return ValueError(f"{name} is fixed at {value!r} in this attack: use pgd to set it.")


class Budgets(NamedTuple):
    """E budgets of each of B inputs; an attack works on all E·B pairs at once, budget after budget."""

    eps: Tensor  # (E, B)
    listed: bool  # eps came as a list, so the result has an axis E

    @property
    def radius(self) -> Tensor:
        """(E·B,)"""
        return self.eps.flatten()

    def tile(self, tensor: Tensor) -> Tensor:
        """(B, ...) -> (E·B, ...)"""
        copies = len(self.eps)
        return tensor.repeat(copies, *[1] * (tensor.dim() - 1)) if copies > 1 else tensor

    def step_sizes(self, steps: int, step_size: float | None) -> Tensor:
        """ν, (E·B,): without a number 2·eps over the steps, but at most eps."""
        if step_size is None:
            return self.radius * min(1.0, 2 / steps)
        check_range("step_size", step_size, Positive)
        return torch.full_like(self.radius, step_size)

    def result(self, x_adv: Inputs, used: list[Provenance]) -> Inputs:
        """(E·B, ...) as (E, B, ...), or (B, ...) for a single eps, with the draws that made it."""
        return remember(x_adv.view(*self.eps.shape, *x_adv.shape[1:]) if self.listed else x_adv, used)


def budgets_of(eps: Eps, x: Inputs) -> Budgets:
    """One row for each entry of a list; `ValueError` where a size is negative or of another shape."""
    check_eps(eps, len(x))
    entries = eps if isinstance(eps, list | tuple) else [eps]
    rows = [torch.as_tensor(entry, dtype=x.dtype, device=x.device).expand(len(x)) for entry in entries]
    return Budgets(torch.stack(rows), listed=entries is eps)
