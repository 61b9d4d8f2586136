"""Data generators: they move the training inputs themselves, by gradients of the loss and at a cost.

Unlike an attack they have no ball: what keeps an input near is a cost of the distance, α‖x̃ − x‖².
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from unshaken.attacks import LOSSES, input_gradient
from unshaken.attacks.losses import LATENT, LossName
from unshaken.attacks.objective import loss_target
from unshaken.attacks.spatial import check_images, flow_cost, warp
from unshaken.errors import lookup, unknown
from unshaken.models import Chain, Draws, StochasticClassifier, derive
from unshaken.models.base import mode
from unshaken.models.draws import generator
from unshaken.training.inputs import Batch, Model, Seed, X, Y
from unshaken.types import Count, Inputs, Loss, NotNegative, OneOf, Positive
from unshaken.validate import check_inputs, check_range, check_ranges


class Way(NamedTuple):
    """What a generator moves: it starts at `still`, gives inputs by `moved(x, v)`, and costs `cost(v)`, (B,)."""

    description: str
    still: Callable[[Inputs], Tensor]
    moved: Callable[[Inputs, Tensor], Inputs]
    cost: Callable[[Tensor], Tensor]


WAYS: dict[str, Way] = {
    "pixels": Way(
        description="every number of the input, at the cost of the squared Euclidean distance",
        still=torch.zeros_like,
        moved=lambda x, v: x + v,
        cost=lambda v: v.flatten(1).square().sum(1),
    ),
    "flow": Way(
        description="where pixels are, by a smooth flow, at the cost of what is not smooth in it",
        still=lambda x: x.new_zeros(len(x), 2, *x.shape[2:]),
        moved=warp,
        cost=flow_cost,
    ),
}
WayName = Annotated[str, OneOf(WAYS)]
Reduction = Literal["sum", "mean"]


def langevin(
    model: Model,
    x: X,
    y: Y,
    *,
    seed: Seed,
    step_size: Positive,
    cost: NotNegative,
    steps: Count = 15,
    temperature: NotNegative = 1e-5,
    decay: NotNegative = 1.0,
    chains: Count = 1,
    over: Reduction = "sum",
    loss: LossName | Loss = "mean_cross_entropy",
    draws: Count = 1,
    way: WayName = "pixels",
    clip: bool = False,
) -> Batch:
    """BAL's data generator: x̃ ~ exp(Σ_s ℓ(x̃; θ_s) − α Σ_s ‖x̃ − x‖²), by Langevin dynamics from x.

    x̃ ← x̃ + η_j Σ_s ∂/∂x̃ [ℓ(x̃; θ_s) − α‖x̃ − x‖²] + N(0, 2 η_j T), with the θ_s of all chains that are trained side
    by side as they are at this step. Each of M steps has noise of its own. The network is in eval mode.

    Args:
        step_size: η of the first step, for the loss of one input; cost: α.
        steps: M. temperature: T.
        decay: η_j = η · decay^(j−1).
        chains: x̃ of every input, S_x̃; the learner sees all of them.
        over: "sum" or "mean" of the model's chains s. A sum moves inputs further the more chains there are.
        loss: ℓ, of LOSSES; it gets the logits of all chains, so it should be a mean over them: "mean_cross_entropy",
            or "latent_shift" for the data generator of a robust auto-encoder (eq. 11).
        draws: of a model without chains, how many of its draws are used instead.
        way: of WAYS, what is moved: "pixels", or their positions by a "flow", in fractions of the side.
        clip: keep x̃ in [0, 1].

    Source: Ye & Zhu, "Bayesian adversarial learning" (2018), eq. 6 and 8, with the signs that make x̃ a draw of eq. 6.
    """
    check_range("step_size", step_size, Positive)
    check_ranges(NotNegative, cost=cost, temperature=temperature, decay=decay)
    check_ranges(Count, steps=steps, chains=chains)
    if over not in get_args(Reduction):
        raise unknown("over", over, get_args(Reduction))
    objective, moves = lookup("loss", loss, LOSSES), lookup("way", way, WAYS)
    if objective in LATENT and temperature == 0:
        raise ValueError("a loss of latents has no gradient at the input itself: temperature must be above 0.")
    check_inputs(x, y, unlabelled=objective in LATENT)
    if way == "flow":
        check_images(x)
    networks = current_draws(model, draws, seed=derive(seed, "langevin")).keep()
    terms = len(networks) if over == "sum" else 1
    origin, labels = x.repeat(chains, *[1] * (x.dim() - 1)), y.repeat(chains)
    target = loss_target(objective, origin, labels)
    gradient = partial(input_gradient, model, y=target, draws=networks, loss=objective)
    rng = generator(derive(seed, "langevin noise"), 0, x.device)
    v = moves.still(origin)
    with mode(model.net, training=False):
        for step in range(steps):
            eta = step_size * decay**step
            v = v + eta * terms * _ascent(gradient, origin, v, moves, cost, clip)
            if temperature > 0:
                v += torch.empty_like(v).normal_(generator=rng).mul_((2 * eta * temperature) ** 0.5)
    return Batch(_moved(moves, origin, v, clip), labels, origin)


@torch.enable_grad()
def _ascent(gradient: Callable[[Inputs], Tensor], x: Inputs, v: Tensor, way: Way, cost: float, clip: bool) -> Tensor:
    """∂/∂v [ℓ(x̃(v)) − α·cost(v)], by the chain rule from the `gradient` of ℓ at x̃."""
    if way is WAYS["pixels"] and not clip:  # the chain rule by hand
        return gradient(x + v) - cost * (2 * v)
    v = v.detach().requires_grad_()
    moved = _moved(way, x, v, clip)
    (of_loss,) = torch.autograd.grad(moved, v, gradient(moved.detach()))
    (of_cost,) = torch.autograd.grad(way.cost(v).sum(), v)
    return of_loss - cost * of_cost


def _moved(way: Way, x: Inputs, v: Tensor, clip: bool) -> Inputs:
    return way.moved(x, v).clamp(0, 1) if clip else way.moved(x, v)


def current_draws(model: StochasticClassifier, draws: int, *, seed: int) -> Draws:
    """So many draws of a model at this step; of a chain itself every one, of a model around it as many as of others."""
    return model.draw(model.members if isinstance(model, Chain) else draws, seed=seed)


def wasserstein(
    model: Model,
    x: X,
    y: Y,
    *,
    seed: Seed,
    weight: Positive = 1.3,
    steps: Count = 15,
    draws: Count = 1,
    loss: LossName | Loss = "mean_cross_entropy",
) -> Batch:
    """WRM: x̃ ascends w·ℓ(x̃) − ½‖x̃ − x‖², the dual of a worst case within a Wasserstein ball.

    x̃ ← x + ∇ w·ℓ(x), then for t = 0, 1, …: x̃ ← x̃ + (t + 2)^-½ ∇[w·ℓ(x̃) − ½‖x̃ − x‖²], without a box.

    Args:
        weight: w = 1/(2γ) with γ the penalty of the dual; larger moves inputs further.
        steps: of the second formula. draws: of the model, at every step the same.

    Source: Sinha, Namkoong & Duchi, "Certifying some distributional robustness with principled adversarial training"
    (2018), and its authors' code, whose settings are the defaults.
    """
    check_range("weight", weight, Positive)
    check_range("steps", steps, Count)
    objective = lookup("loss", loss, LOSSES)
    if objective in LATENT:
        raise ValueError("a loss of latents has no gradient at the input itself, where WRM starts: use 'langevin'.")
    check_inputs(x, y)
    networks = current_draws(model, draws, seed=derive(seed, "wasserstein")).keep()
    with mode(model.net, training=False):
        moved = x + weight * input_gradient(model, x, y, networks, objective)
        for step in range(steps):
            gradient = weight * input_gradient(model, moved, y, networks, objective) - (moved - x)
            moved = moved + gradient / (step + 2) ** 0.5
    return Batch(moved, y, x)
