"""Spatial attack: pixels stay what they are and move a little, along a smooth field of displacements."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from unshaken.attacks.interface import OnGradient, budgets_of, fixed_argument
from unshaken.attacks.losses import LOSSES, LossName
from unshaken.attacks.norms import NORMS, UPDATES
from unshaken.attacks.objective import input_gradient
from unshaken.attacks.sampling import SchemeName, draws_of_steps
from unshaken.errors import lookup
from unshaken.models import Draws, StochasticClassifier
from unshaken.models.draws import Provenance
from unshaken.types import Count, Eps, Inputs, Labels, Loss, NotNegative, Positive, Supplied
from unshaken.validate import check_inputs, check_range, check_ranges

ROUND = 1e-4  # of the side: below this a difference of neighbours costs its square, so that equal ones have a gradient


def spatial(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    eps: Supplied[Eps],
    norm: str = "flow",
    loss: LossName | Loss = "cw",
    draws: Count | SchemeName | Draws = 10,
    steps: Count = 20,
    step_size: Positive | None = None,
    flow_weight: NotNegative = 0.05,
    redraw: bool = True,
    seed: Supplied[int] = 0,
    batch_size: Count = 256,
    on_gradient: Supplied[OnGradient | None] = None,
) -> Inputs:
    """SPATIAL-k: max over flows f of loss(warp(x, f)) − weight·flow_cost(f), |f| ≤ eps, by Adam from f = 0.

    Args:
        x: images (B, C, H, W) in [0, 1].
        eps: the largest displacement along each axis, as a share of the side: eps 0.05 is 1.4 pixels of 28. No size
            of the change of pixels: rows have no norm, but the word "flow" in its place.
        step_size: Adam's learning rate, as a share of the side; by default 2·eps/steps, and eps for one step.
        flow_weight: how much a flow that is not smooth costs, in the scale of the loss.
        redraw: k fresh draws at every step, or the same ones throughout.
        on_gradient: called with (step, gradient of the loss in the flow) before each step; the gradient is
            (N, 2, H, W), N being B or E·B.

    The rest is as in `pgd`. Source: Xiao et al., "Spatially transformed adversarial examples" (2018), eq. 1 to 4; they
    bound no displacement, take flows in pixels and L-BFGS. Their weight 0.05 is 0.05·H of ours, as flows are shares.
    """
    if norm != "flow":
        raise fixed_argument("norm", "flow")
    objective = lookup("loss", loss, LOSSES)
    check_inputs(x, y)
    check_images(x)
    budgets = budgets_of(eps, x)
    check_ranges(Count, steps=steps, batch_size=batch_size)
    check_range("flow_weight", flow_weight, NotNegative)
    x, used = x.detach(), list[Provenance]()
    nu, bound = (sizes.view(-1, 1, 1, 1) for sizes in (budgets.step_sizes(steps, step_size), budgets.radius))
    direction, flow = UPDATES["adam"](NORMS["linf"]), x.new_zeros(len(x), 2, *x.shape[2:])
    for step, sample in enumerate(draws_of_steps(model, draws, steps, redraw, seed)):
        at_pixels = input_gradient(model, warp(x, flow), y, sample, objective, batch_size=batch_size)
        gradient = _flow_gradient(flow, partial(warp, x), at_pixels)
        if on_gradient is not None:
            on_gradient(step, gradient)
        used.append(sample.provenance)
        if step == 0:  # every budget is still at x, whose gradient serves them all
            x, y, flow, gradient = map(budgets.tile, (x, y, flow, gradient))
        uphill = gradient - flow_weight * _flow_gradient(flow, flow_cost, flow.new_ones(len(flow)))
        flow = (flow + nu * direction(uphill)).clamp(-bound, bound)
    return budgets.result(warp(x, flow), used)


vars(spatial)["keywords"] = {"norm": "flow"}  # what is fixed, as in settings of `pgd`: recipes and reports ask


def warp(x: Inputs, flow: Tensor) -> Inputs:
    """Images (B, C, H, W) whose pixel (i, j) is that of x at (i + H·flow_0, j + W·flow_1), bilinear: same shape.

    `flow` is (B, 2, H, W): displacements down and to the right as shares of the side. Positions outside the image are
    those at its edge. A flow of zero gives x back exactly, and results never leave the range of x. Differentiable in
    both; at a pixel itself the derivative is the one of the next pixels below and to the right.
    Source: Jaderberg et al., "Spatial transformer networks" (2015), eq. 5.
    """
    height, width = x.shape[2:]
    down, right = torch.arange(height, device=x.device)[:, None], torch.arange(width, device=x.device)
    i, j = down + height * flow[:, 0], right + width * flow[:, 1]  # (B, H, W)
    (top, bottom, lower), (left, other, righter) = _between(i, height), _between(j, width)

    def pixels(rows: Tensor, columns: Tensor) -> Tensor:
        index = (rows * width + columns).flatten(1)[:, None].expand(-1, x.shape[1], -1)
        return x.flatten(2).gather(2, index).view(x.shape)

    above, below = ((1 - righter) * pixels(row, left) + righter * pixels(row, other) for row in (top, bottom))
    return (1 - lower) * above + lower * below


def _between(position: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """(the pixels before and after each position (B, H, W), the share of the latter (B, 1, H, W))."""
    position = position.clamp(0, length - 1)
    before = position.detach().floor().clamp_max(max(length - 2, 0))
    share = position - before
    return before.long(), (before + 1).clamp_max(length - 1).long(), share[:, None]


def flow_cost(flow: Tensor) -> Tensor:
    """How far a flow (B, 2, H, W) is from smooth: Σ over pixels p and their neighbours q of ‖f_p − f_q‖, (B,).

    Every pixel has up to four neighbours, so each pair counts twice. ‖d‖ is √(‖d‖² + r²) − r with r = 10⁻⁴, which has a
    gradient at zero; a constant flow costs nothing. Units are those of the flow.
    Source: Xiao et al., "Spatially transformed adversarial examples" (2018), eq. 4.
    """
    steps = (flow.diff(dim=2), flow.diff(dim=3))
    return 2 * torch.stack([((d.square().sum(1) + ROUND**2).sqrt() - ROUND).flatten(1).sum(1) for d in steps]).sum(0)


@torch.enable_grad()
def _flow_gradient(flow: Tensor, function: Callable[[Tensor], Tensor], weights: Tensor) -> Tensor:
    """The gradient of the weighted sum of what a function makes of flows."""
    flow = flow.detach().requires_grad_()
    return torch.autograd.grad(function(flow), flow, weights)[0]


def check_images(x: Inputs) -> None:
    """Images with rows and columns to move along."""
    if x.dim() != 4:
        raise ValueError(f"a spatial attack moves pixels of images (B, C, H, W); got {(*x.shape,)}.")
