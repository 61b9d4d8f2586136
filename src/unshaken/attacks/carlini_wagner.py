"""Carlini & Wagner's L2 attack: the smallest perturbation that takes the label, searched once for all sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from unshaken.attacks.gradient import input_gradient
from unshaken.attacks.losses import LOSSES, LossName, cw, margin
from unshaken.attacks.norms import NORMS, NormName
from unshaken.attacks.pgd import UPDATES, SchemeName, Watch, draws_of_steps, fixed_at, sizes_of
from unshaken.errors import lookup
from unshaken.models import Draws, StochasticClassifier
from unshaken.models.draws import Provenance, remember
from unshaken.types import Count, Eps, Inputs, Labels, Loss, NotNegative, Positive, Supplied
from unshaken.validate import check_eps, check_inputs, check_range

MARGINS = (cw, margin)  # the losses of LOSSES that are above 0 where the label has fallen, and only there
BALL = NORMS["l2"]
INSIDE = 0.999999  # artanh is infinite at the edges of the box
LOOKS = 10  # times that a descent is asked whether it still falls, by this share at least
FALL = 1e-4


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
    watch: Supplied[Watch | None] = None,
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
        watch: called with (step, gradient of the loss (B, ...)) before each step, zero for inputs that are done; steps
            are counted through all turns.

    The rest is as in `pgd`; the norm is L2.
    Source: Carlini & Wagner, "Towards evaluating the robustness of neural networks" (2017), section VI.A with their f6;
    constants, early stop and search as in the authors' code, which takes up to 10,000 steps.
    """
    if norm != "l2":
        raise fixed_at("norm", "l2")
    objective = _margin(loss)
    check_inputs(x, y)
    check_eps(eps, len(x))
    for word, count in (("steps", steps), ("search_steps", search_steps), ("batch_size", batch_size)):
        check_range(word, count, Count)
    check_range("lr", lr, Positive)
    check_range("initial_c", initial_c, Positive)
    check_range("confidence", confidence, NotNegative)
    x, sizes, used = x.detach(), sizes_of(eps, x), list[Provenance]()

    def look(x_adv: Inputs, going: Tensor, now: Draws) -> tuple[Tensor, Tensor]:
        """(loss (B,), its gradient (B, ...)) of the inputs that are still going; −inf and zero elsewhere."""
        value, slope = x.new_full((len(x),), -math.inf), torch.zeros_like(x)
        value[going], slope[going] = _value_and_slope(model, x_adv[going], y[going], now, objective, batch_size)
        if watch is not None:
            watch(len(used), slope)
        used.append(now.provenance)
        return value, slope

    found = Nearest(x, confidence)
    c, low, high = (x.new_full((len(x),), value) for value in (initial_c, 0.0, math.inf))
    for _ in range(search_steps):
        each = draws_of_steps(model, draws, steps, redraw, seed)
        fell = _descend(look, found, c, each, lr, 0 if redraw else steps // LOOKS)
        low, high = torch.where(fell, low, c), torch.where(fell, c, high)
        c = torch.where(high.isinf(), 10 * c, (low + high) / 2)
    x_adv = torch.stack([(x + BALL.project(found.x_adv - x, size)).clamp_(0, 1) for size in sizes])
    return remember(x_adv if isinstance(eps, list | tuple) else x_adv[0], used)


vars(carlini_wagner)["keywords"] = {"norm": "l2"}  # what is fixed, as in settings of `pgd`: recipes and reports ask


def _margin(loss: str | Loss) -> Loss:
    """The loss, whose sign says whether the label has fallen."""
    found = lookup("loss", loss, LOSSES)
    if found in LOSSES.values() and found not in MARGINS:
        raise ValueError(f"loss must be above 0 where the label has fallen, as 'cw' and 'margin' are; got {loss!r}.")
    return found


class Nearest:
    """Of all points that were looked at, for each input: the nearest one that wins, else the one of largest loss."""

    def __init__(self, x: Inputs, confidence: float) -> None:
        self.x, self.x_adv, self.confidence = x, x, confidence
        self.distance, self.value = (x.new_full((len(x),), sign * math.inf) for sign in (1, -1))

    def see(self, x_adv: Inputs, distance: Tensor, value: Tensor) -> Tensor:
        """Take note of a point of each input; whether it wins, (B,)."""
        wins = value > self.confidence
        better = torch.where(wins, distance < self.distance, self.distance.isinf() & (value > self.value))
        self.x_adv = torch.where(_wide(better, x_adv), x_adv, self.x_adv)
        self.distance = torch.where(better & wins, distance, self.distance)
        self.value = torch.where(better, value, self.value)
        return wins


def _descend(
    look: Callable[[Inputs, Tensor, Draws], tuple[Tensor, Tensor]],
    found: Nearest,
    c: Tensor,
    draws: Iterator[Draws],
    lr: float,
    patience: int,
) -> Tensor:
    """One turn of the search, from x: whether a point wins with these c, (B,).

    Every `patience` steps an input is done whose objective has not fallen by FALL; never where that is 0.
    """
    x, climb = found.x, UPDATES["adam"](BALL)
    start = torch.atanh((2 * x - 1) * INSIDE)
    w, going, before = start, torch.ones_like(c, dtype=torch.bool), torch.full_like(c, math.inf)
    fell = ~going
    for step, now in enumerate(draws, 1):
        # x' is x itself at the start, where artanh was kept from infinity too
        x_adv = (x + (w.tanh() - start.tanh()) / 2).clamp_(0, 1)
        distance, (value, slope) = BALL.size(x_adv - x), look(x_adv, going, now)
        fell |= found.see(x_adv, distance, value)
        pull = c * (value < found.confidence)
        downhill = (_wide(pull, x) * slope - 2 * (x_adv - x)) * (1 - w.tanh().square()) / 2
        w = w + lr * climb(downhill)  # of inputs that are done too: nobody looks at them any more
        if patience and step % patience == 0:
            objective = distance.square() + c * (found.confidence - value).clamp_min(0)
            going, before = going & (objective < (1 - FALL) * before), objective
        if not going.any():
            break
    return fell


def _value_and_slope(
    model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss, batch_size: int
) -> tuple[Tensor, Tensor]:
    """(loss (B,), ∇_x loss) in one pass: the gradient is that of a loss which writes down its values."""
    values: list[Tensor] = []

    def seen(logits: Tensor, y: Labels) -> Tensor:
        value = loss(logits, y)
        values.append(value.detach())
        return value

    slope = input_gradient(model, x, y, draws, seen, batch_size=batch_size)
    return torch.cat(values).to(x.dtype), slope


def _wide(values: Tensor, like: Tensor) -> Tensor:
    """(B,) values beside (B, ...)."""
    return values.view(-1, *[1] * (like.dim() - 1))
