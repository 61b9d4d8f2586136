"""Projected gradient ascent on a stochastic classifier: one loop, of which the named attacks are settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from numbers import Real
from typing import Annotated, Any

import torch
from torch import Tensor

from unshaken.attacks.gradient import compared, goal, input_gradient
from unshaken.attacks.losses import LATENT, LOSSES, SOFT, LossName
from unshaken.attacks.norms import NORMS, STARTS, Norm, NormName, StartName
from unshaken.errors import lookup, nearest, unknown
from unshaken.models import Draws, StochasticClassifier, derive
from unshaken.models.draws import Provenance, generator, remember
from unshaken.types import Count, Eps, Inputs, Labels, Loss, OneOf, Positive, Supplied
from unshaken.validate import check_eps, check_inputs, check_range

Watch = Callable[[int, Tensor], None]
Slope = Callable[..., Tensor]  # (model, x, y, draws, loss, *, batch_size) -> ∇_x loss, see `pgd`
JUDGES = 20  # draws, at least, that choose among restarts

# what an attack can do without drawing: one deterministic pass, or every draw that there is
SCHEMES: dict[str, Callable[[StochasticClassifier], Draws]] = {
    "mean": lambda model: model.mean(),
    "moments": lambda model: model.expected(),
    "all": lambda model: model.all(),
}
SchemeName = Annotated[str, OneOf(SCHEMES)]


def pgd(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    eps: Supplied[Eps],
    norm: NormName | Norm = "linf",
    loss: LossName | Loss = "log_error",
    draws: Count | SchemeName | Draws = 10,
    steps: Count = 10,
    step_size: Positive | None = None,
    start: StartName | Positive = "none",
    restarts: Count = 1,
    redraw: bool = True,
    update: UpdateName = "steepest",
    seed: Supplied[int] = 0,
    batch_size: Count = 256,
    places: Supplied[Sequence[int] | None] = None,
    watch: Supplied[Watch | None] = None,
    slope: Supplied[Slope] = input_gradient,
) -> Inputs:
    """PGD-k: x ← clip(x0 + project(x − x0 + ν·direction(∇_x loss))), `steps` times, with k draws per gradient.

    Args:
        model, x, y: the classifier; inputs (B, ...) in [0, 1]; labels (B,), or with loss "kl" probabilities (B, K). A
            loss of LATENT does not look at the labels, which may be -1 where there is none.
        eps: size of the ball: a number, a tensor (B,) with one for each input, or a list of E of these. All sizes of a
            list share their draws, and the gradient at x.
        norm, loss: keys of NORMS and LOSSES, or functions of the same form; the loss is ascended.
        draws: k new draws; "mean" for the network at the mean weights, "moments" for the expected logits by one pass
            of means and variances, "all" for every member of an ensemble or stored state of a chain; or a Draws object,
            used at every step.
        steps: number of gradient steps.
        step_size: ν in the scale of x; by default 2·eps/steps, which is eps/5 for ten steps, and eps for one.
        start: a word of STARTS: "none", "uniform" in the ball, "gaussian", or "near" x; or a number σ, for a Gaussian
            of standard deviation σ·eps (in L2, of about that length), projected.
        restarts: how many times, each with a start and draws of its own; of every input the perturbation with the
            largest loss is kept, judged by further draws (k, at least 20), which are no inference draws either; where
            `draws` is a scheme or a Draws object, by that.
        redraw: k fresh draws at every step, or the same ones throughout.
        update: "steepest", the norm's own steepest step of length ν; "adam" with learning rate ν; or "gradient", ν
            times the gradient as long as it is.
        seed: of draws and start. Draws for inference never come from the same seed path.
        batch_size: inputs in one pass through the network; it changes memory and speed, not the result.
        places: a number for each input, on which its random start depends; by default its place in x.
        watch: called with (step, gradient) before each step; the gradient is (N, ...), N being B or E·B.
        slope: how the gradient is had; another attack may estimate it, a recipe cannot say. An estimate that is random
            takes `seed`, another one at every step, and `places`, a number for each input.

    Returns:
        x_adv (B, ...), or (E, B, ...) where eps is a list. Source: Madry et al. (2018); for Bayesian networks
        Däubener et al. (2020), section 2.
    """
    objective, ball = lookup("loss", loss, LOSSES), lookup("norm", norm, NORMS)
    check_inputs(x, y, soft=objective in SOFT, unlabelled=objective in LATENT)
    check_eps(eps, len(x))
    check_range("steps", steps, Count)
    check_range("batch_size", batch_size, Count)
    if step_size is not None:
        check_range("step_size", step_size, Positive)
    check_restarts(restarts, start)
    check_start(loss, start)
    y = goal(objective, x, y)
    sizes = sizes_of(eps, x)  # (E, B)
    radius = sizes.flatten()
    nu = radius * min(1.0, 2 / steps) if step_size is None else torch.full_like(radius, step_size)

    where = range(len(x)) if places is None else places

    def once(own: int, look: Watch | None) -> tuple[Inputs, list[Provenance]]:
        """One ascent with draws and start of its own."""

        def gradient(x_adv: Inputs, y: Labels, now: Draws, step: int) -> Tensor:
            each_place = [*where] * (len(x_adv) // len(x))
            chance = accepted(slope, seed=derive(own, "slope", step), places=each_place)
            found = slope(model, x_adv, y, now, objective, batch_size=batch_size, **chance)
            if look is not None:
                look(step, found)
            return found

        each = draws_of_steps(model, draws, steps, redraw, own)
        first = _start(x, ball, start, radius, derive(own, "start"), where)
        climb = lookup("update", update, UPDATES)(ball)
        return _ascend(gradient, _move(ball, climb, radius, nu), x.detach(), y, first, each, len(sizes))

    x_adv, used = once(seed, watch)
    if restarts > 1:
        others = (once(derive(seed, "restart", number), None) for number in range(1, restarts))
        judges = judges_of(model, draws, seed)
        x_adv, used = _strongest(model, x_adv, used, others, _copies(y, len(sizes)), judges, objective, batch_size)
    x_adv = x_adv.view(*sizes.shape, *x.shape[1:]) if isinstance(eps, list | tuple) else x_adv
    return remember(x_adv, used)


def _start(
    x: Inputs, ball: Norm, start: str | float, radius: Tensor, seed: int, places: Sequence[int]
) -> Inputs | None:
    """Where every size starts, (E·B, ...): in its ball; None where all start at x. An input's depends on its place."""
    if start == "none":
        return None
    origin = x.detach()
    each = [ball.start(origin[i : i + 1], start, generator(seed, place, x.device)) for i, place in enumerate(places)]
    origin, noise = (_copies(part, len(radius) // len(x)) for part in (origin, torch.cat(each)))
    return (origin + noise * radius.view(-1, *[1] * (x.dim() - 1))).clamp(0, 1)


def accepted(function: Callable[..., Tensor], **words: Any) -> dict[str, Any]:
    """Those of `words` that an attack or a slope takes: one from outside need not know `places` or `watch`."""
    known = inspect.signature(function).parameters
    return {word: value for word, value in words.items() if word in known}


def _move(
    ball: Norm, climb: Callable[[Tensor], Tensor], radius: Tensor, nu: Tensor
) -> Callable[[Inputs, Inputs, Tensor], Inputs]:
    """(x0, x, gradient) -> the next x: a step of size ν from x, projected onto the ball around x0 and into the box."""

    def move(origin: Inputs, x: Inputs, gradient: Tensor) -> Inputs:
        moved = climb(gradient).mul_(nu.view(-1, *[1] * (x.dim() - 1)))
        if x is not origin:
            moved.add_(x).sub_(origin)
        return ball.project(moved, radius).add_(origin).clamp_(0, 1)

    return move


def _ascend(
    gradient: Callable[[Inputs, Labels, Draws, int], Tensor],
    move: Callable[[Inputs, Inputs, Tensor], Inputs],
    origin: Inputs,
    y: Labels,
    start: Inputs | None,
    draws: Iterator[Draws],
    copies: int,
) -> tuple[Inputs, list[Provenance]]:
    """The loop itself, for all sizes at once: x_adv (E·B, ...), and the draws that made it."""
    used: list[Provenance] = []
    x_adv = origin
    if start is not None:
        origin, y, x_adv = _copies(origin, copies), _copies(y, copies), start
    for step, now in enumerate(draws):
        slope = gradient(x_adv, y, now, step)
        used.append(now.provenance)
        if step == 0 and start is None:  # all sizes are still at x: its gradient serves them all
            origin, x_adv, slope, y = (_copies(t, copies) for t in (origin, x_adv, slope, y))
        x_adv = move(origin, x_adv, slope)
    return x_adv, used


def _strongest(
    model: StochasticClassifier,
    x_adv: Inputs,
    used: list[Provenance],
    others: Iterator[tuple[Inputs, list[Provenance]]],
    y: Labels,
    judges: Draws,
    loss: Loss,
    batch_size: int,
) -> tuple[Inputs, list[Provenance]]:
    """Of every input the perturbation with the largest loss under the draws of `judges`."""
    best, used = heights(model, x_adv, y, judges, loss, batch_size), [*used, judges.provenance]
    for other, more in others:
        value = heights(model, other, y, judges, loss, batch_size)
        higher = value > best
        x_adv, best = torch.where(higher.view(-1, *[1] * (x_adv.dim() - 1)), other, x_adv), torch.maximum(best, value)
        used += more
    return x_adv, used


@torch.no_grad()
def heights(model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss, batch_size: int) -> Tensor:
    """The loss of each input, (N,), under these draws."""
    parts = [slice(i, i + batch_size) for i in range(0, len(y), batch_size)]
    return torch.cat([loss(*compared(model, x[part], y[part], draws, loss)) for part in parts])


def judges_of(model: StochasticClassifier, draws: int | str | Draws, seed: int) -> Draws:
    """The draws that choose among perturbations: k new ones and at least JUDGES, or what the attack has instead."""
    return attack_draws(model, max(draws, JUDGES) if isinstance(draws, int) else draws, derive(seed, "judge")).keep()


def check_restarts(restarts: int, start: str | float) -> None:
    """Several restarts need a start that is not always the same."""
    check_range("restarts", restarts, Count)
    if restarts > 1 and start == "none":
        raise ValueError(f"restarts start anew: {restarts} of them need a random start, such as 'uniform', not 'none'.")


def check_start(loss: str | Loss, start: str | float) -> None:
    """A word of STARTS or a σ above 0. A loss of latents needs one: it is smallest, and flat, at the input itself."""
    if not isinstance(start, str):
        check_range("start", start, Positive)
    elif start not in STARTS:
        raise unknown("start", start, STARTS)
    if start == "none" and lookup("loss", loss, LOSSES) in LATENT:
        raise ValueError(
            "a loss of latents has no gradient at the input itself: use pgd with a start such as 'near', not 'none'."
        )


def sizes_of(eps: Eps, x: Inputs) -> Tensor:
    """(E, B): one row for each entry of the list (E = 1 for a single size)."""
    if isinstance(eps, Real):
        return torch.full((1, len(x)), float(eps), dtype=x.dtype, device=x.device)
    entries = eps if isinstance(eps, list | tuple) else [eps]
    return torch.stack([torch.as_tensor(e, dtype=x.dtype, device=x.device).expand(len(x)) for e in entries])


def _copies(tensor: Tensor, n: int) -> Tensor:
    """(B, ...) -> (n·B, ...)"""
    return tensor.repeat(n, *[1] * (tensor.dim() - 1)) if n > 1 else tensor


def draws_of_steps(
    model: StochasticClassifier, draws: int | str | Draws, steps: int, redraw: bool, seed: int
) -> Iterator[Draws]:
    """The draws of each step: the next k of one set, or the same ones at all steps, kept in memory."""
    if isinstance(draws, int) and redraw:
        check_range("draws", draws, Count)
        return model.draw(draws * steps, seed=derive(seed, "attack")).chunks(draws)
    fixed = attack_draws(model, draws, seed)
    return repeat(fixed.keep() if steps > 1 else fixed, steps)


def attack_draws(model: StochasticClassifier, draws: int | str | Draws, seed: int) -> Draws:
    """What an attack with one gradient uses: that many draws of its seed, a scheme of SCHEMES, or the draws given."""
    if isinstance(draws, Draws):
        return draws
    if not isinstance(draws, str):
        return model.draw(draws, seed=derive(seed, "attack"))
    if draws not in SCHEMES:
        raise ValueError(
            f"draws must be a number, a Draws object, 'mean', 'moments' or 'all'; got {draws!r}: "
            f"{nearest(draws, SCHEMES)}"
        )
    return SCHEMES[draws](model)


def _steepest(norm: Norm) -> Callable[[Tensor], Tensor]:
    """The norm's steepest step: the sign of the gradient, or the gradient at length one."""
    return norm.direction


def _adam(norm: Norm) -> Callable[[Tensor], Tensor]:
    """Adam's step with β = (0.9, 0.999), for learning rate 1. Source: Kingma & Ba (2015), algorithm 1."""
    first, second, step = torch.zeros(()), torch.zeros(()), 0

    def climb(gradient: Tensor) -> Tensor:
        nonlocal first, second, step
        step += 1
        first = 0.9 * first.to(gradient) + 0.1 * gradient
        second = 0.999 * second.to(gradient) + 0.001 * gradient.square()
        return (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-9)

    return climb


def _gradient(norm: Norm) -> Callable[[Tensor], Tensor]:
    """The gradient itself, of whatever length it has: a step is as long as the loss is steep."""
    return torch.clone


UPDATES: dict[str, Callable[[Norm], Callable[[Tensor], Tensor]]] = {
    "steepest": _steepest,
    "adam": _adam,
    "gradient": _gradient,
}
UpdateName = Annotated[str, OneOf(UPDATES)]


def fixed_at(word: str, value: object) -> ValueError:
    """The error for an argument that an attack fixes for good."""
    return ValueError(f"{word} is fixed at {value!r} in this attack: use pgd to set it.")


def _setting(doc: str, *, preferred: dict[str, Any] | None = None, **fixed: Any) -> Callable[..., Inputs]:
    """`pgd` with some arguments fixed for good, defaults of its own for others, and its own line of documentation."""
    own = preferred or {}

    def attack(model: StochasticClassifier, x: Inputs, y: Labels, **given: Any) -> Inputs:
        if clash := fixed.keys() & given.keys():
            raise fixed_at(min(clash), fixed[min(clash)])
        return pgd(model, x, y, **own | given, **fixed)

    words = inspect.signature(pgd).parameters.values()
    free = inspect.Signature(
        [word.replace(default=own.get(word.name, word.default)) for word in words if word.name not in fixed]
    )
    vars(attack).update(func=pgd, keywords=fixed, __signature__=free)
    attack.__doc__ = doc
    return attack


ONE_STEP: dict[str, Any] = {
    **{"steps": 1, "step_size": None, "start": "none", "restarts": 1},
    **{"redraw": True, "update": "steepest"},
}

fgsm = _setting(
    "FGSM-k: x + eps·sign(∇_x loss), one gradient for all sizes. Goodfellow et al. (2015).", norm="linf", **ONE_STEP
)
fgm = _setting("FGM-k: x + eps·g/‖g‖₂ with g = ∇_x loss, the L2 form of FGSM.", norm="l2", **ONE_STEP)
ifgsm = _setting(
    "IFGSM-k: FGSM in small steps from x, projected. Kurakin et al. (2017).", norm="linf", start="none", restarts=1
)
mean = _setting(
    "MEAN: FGSM on the network at the mean weights. Däubener et al. (2020), eq. 6.",
    norm="linf",
    draws="mean",
    **ONE_STEP,
)
moments = _setting(
    "MOMENTS: FGSM on the expected logits, which one pass of means and variances gives.",
    preferred={"loss": "cw"},
    norm="linf",
    draws="moments",
    **ONE_STEP,
)
one_step_cw = _setting(
    """One-step CW-k: clip(x + ν·∇_x (Σ_{c≠y} z̄_c − z̄_y)), ν = 1/√2, with no normalisation and no size of its own.

    Its strength follows the length of the gradient; eps is a ball onto which the result is projected, so that one as
    large as the box (√(C·H·W), 28 for MNIST) leaves it as it was released.
    Source: the code of Ye & Zhu, "Bayesian adversarial learning" (2018), after Carlini & Wagner (2017): of a distance
    to x plus max(Σ z_y − Σ Σ_{c≠y} z_c, 0), with sums over the batch, one step down. The distance has no gradient at x.
    Here every input has a sum of its own and none is clamped, so that one input's step depends on no other's.
    """,
    norm="l2",
    loss="logit_sum",
    **ONE_STEP | {"step_size": 2**-0.5, "update": "gradient"},
)
