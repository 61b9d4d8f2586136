"""Carlini & Wagner's L2 attack: the smallest perturbation that takes the label, searched once for all sizes."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from unshaken.attacks.interface import OnGradient, budgets_of, fixed_argument
from unshaken.attacks.losses import LOSSES, LossName, cw, margin
from unshaken.attacks.norms import NORMS, UPDATES, NormName, per_input
from unshaken.attacks.objective import losses_and_gradient
from unshaken.attacks.sampling import SchemeName, draws_of_steps
from unshaken.errors import lookup
from unshaken.models import Draws, StochasticClassifier
from unshaken.models.draws import Provenance
from unshaken.types import Count, Eps, Inputs, Labels, Loss, NotNegative, Positive, Supplied
from unshaken.validate import check_inputs, check_range, check_ranges

BALL = NORMS["l2"]
INSIDE = 0.999999  # artanh is infinite at the edges of the box
Evaluate = Callable[[Inputs, Tensor, Draws], tuple[Tensor, Tensor]]  # (x_adv, active, draws) -> (losses, gradient)
STOP_CHECKS = 10  # how often a descent is asked whether its objective has fallen, by this share at least
STOP_FALL = 1e-4


def carlini_wagner(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    eps: Supplied[Eps],
    norm: NormName = "l2",
    loss: LossName | Loss = "cw",
    draws: Count | SchemeName | Draws = 10,
    steps: Count = 100,
    search_steps: Count = 9,
    lr: Positive = 0.1,
    initial_c: Positive = 0.01,
    confidence: NotNegative = 5.0,
    redraw: bool = True,
    seed: Supplied[int] = 0,
    batch_size: Count = 256,
    on_gradient: Supplied[OnGradient | None] = None,
) -> Inputs:
    """CW-k: min over w of ‖x' − x‖₂² + c·max(κ − loss(x'), 0) with x' = (tanh(w) + 1)/2, and the smallest c that wins.

    For each input c is searched by bisection, and in every turn w by Adam from x. Of all points on the way the nearest
    one is kept whose loss is above κ under the attack's draws of that step: these decide, no others. It serves all
    sizes: where it is within eps it is given back as it is, elsewhere its projection onto the ball. Where no point
    wins it is the one of largest loss that is projected. So an input survives at the sizes below its distance, and none
    is moved further than it takes.

    Such a point lies just behind the boundary of its k draws, and other draws find it on either side: with κ = 0, the
    usual value, this measures distances and hardly misleads new draws (on a mean-field MNIST network of accuracy 0.93
    it left 0.87 to 0.93 at any size; κ = 5 left 0.50 at eps 1 and 0 with the whole box, as PGD does). A κ that is out
    of reach costs little, since what is too far is projected.

    Args:
        loss: "cw" or "margin", or a function that is above 0 where the label has fallen.
        draws: as in `pgd`.
        steps: of Adam in each turn. An input whose objective falls by less than 0.01 % in a tenth of them is done.
        search_steps: turns of the search for c; as long as nothing wins c grows tenfold.
        lr: Adam's learning rate, in the scale of w. The authors' 0.01 takes 1,000 steps to leave a black background.
        initial_c: the first c.
        confidence: κ, in the scale of the loss; 0 for a classifier that is not random, or for distances.
        redraw: k fresh draws at every step, the same ones in every turn, or the same k throughout. With fresh ones no
            descent is stopped early, for what falls by chance tells nothing.
        on_gradient: called with (step, gradient of the loss (B, ...)) before each step, zero for inputs that are done;
            steps are counted through all turns.

    The rest is as in `pgd`; the norm is L2.
    Source: Carlini & Wagner, "Towards evaluating the robustness of neural networks" (2017), section VI.A with their f6;
    constants, early stop and search as in the authors' code, which takes up to 10,000 steps.
    """
    if norm != "l2":
        raise fixed_argument("norm", "l2")
    objective = lookup("loss", loss, LOSSES)
    if objective in LOSSES.values() and objective not in (cw, margin):
        raise ValueError(f"loss must be above 0 where the label has fallen, as 'cw' and 'margin' are; got {loss!r}.")
    check_inputs(x, y)
    budgets = budgets_of(eps, x)
    check_ranges(Count, steps=steps, search_steps=search_steps, batch_size=batch_size)
    check_ranges(Positive, lr=lr, initial_c=initial_c)
    check_range("confidence", confidence, NotNegative)
    x, used = x.detach(), list[Provenance]()

    def evaluate(x_adv: Inputs, active: Tensor, sample: Draws) -> tuple[Tensor, Tensor]:
        """(loss (B,), its gradient (B, ...)) of the active inputs; −inf and zero elsewhere."""
        losses, gradient = x.new_full((len(x),), -math.inf), torch.zeros_like(x)
        inputs = model, x_adv[active], y[active], sample
        losses[active], gradient[active] = losses_and_gradient(*inputs, objective, batch_size)
        if on_gradient is not None:
            on_gradient(len(used), gradient)
        used.append(sample.provenance)
        return losses, gradient

    nearest, patience = Nearest(x, confidence), 0 if redraw else steps // STOP_CHECKS
    c, low, high = (x.new_full((len(x),), value) for value in (initial_c, 0.0, math.inf))
    for _ in range(search_steps):
        samples = draws_of_steps(model, draws, steps, redraw, seed)
        success = _descend(evaluate, nearest, c, samples, lr, patience)
        low, high = torch.where(success, low, c), torch.where(success, c, high)
        c = torch.where(high.isinf(), 10 * c, (low + high) / 2)
    projected = [(x + BALL.project(nearest.x_adv - x, radius)).clamp_(0, 1) for radius in budgets.eps]
    return budgets.result(torch.cat(projected), used)


vars(carlini_wagner)["keywords"] = {"norm": "l2"}  # what is fixed, as in settings of `pgd`: recipes and reports ask


class Nearest:
    """Of all points on the way, for each input: the nearest one that wins, else the one of largest loss."""

    def __init__(self, x: Inputs, confidence: float) -> None:
        self.x, self.x_adv, self.confidence = x, x, confidence
        self.distance, self.loss = (x.new_full((len(x),), sign * math.inf) for sign in (1, -1))

    def update(self, x_adv: Inputs, distance: Tensor, losses: Tensor) -> Tensor:
        """Take note of a point of each input; whether it wins, (B,)."""
        wins = losses > self.confidence
        better = torch.where(wins, distance < self.distance, self.distance.isinf() & (losses > self.loss))
        self.x_adv = torch.where(per_input(better, x_adv), x_adv, self.x_adv)
        self.distance = torch.where(better & wins, distance, self.distance)
        self.loss = torch.where(better, losses, self.loss)
        return wins


def _descend(
    evaluate: Evaluate, nearest: Nearest, c: Tensor, samples: Iterator[Draws], lr: float, patience: int
) -> Tensor:
    """One turn of the search, from x: whether a point wins with these c, (B,)."""
    x, adam = nearest.x, UPDATES["adam"](BALL)
    start = torch.atanh((2 * x - 1) * INSIDE)
    w, active, previous = start, torch.ones_like(c, dtype=torch.bool), torch.full_like(c, math.inf)
    success = ~active
    for step, sample in enumerate(samples, 1):
        # x' is x itself at the start, where artanh was kept from infinity too
        x_adv = (x + (w.tanh() - start.tanh()) / 2).clamp_(0, 1)
        distance, (losses, gradient) = BALL.size(x_adv - x), evaluate(x_adv, active, sample)
        success |= nearest.update(x_adv, distance, losses)
        weight = c * (losses < nearest.confidence)
        ascent = (per_input(weight, x) * gradient - 2 * (x_adv - x)) * (1 - w.tanh().square()) / 2
        w = w + lr * adam(ascent)  # inputs that are done move on too, but no point of theirs is evaluated any more
        if patience and step % patience == 0:  # without a fall by STOP_FALL since then an input is done
            objective = distance.square() + c * (nearest.confidence - losses).clamp_min(0)
            active, previous = active & (objective < (1 - STOP_FALL) * previous), objective
        if not active.any():
            break
    return success
