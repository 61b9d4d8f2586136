"""Projected gradient ascent on a stochastic classifier: one loop, of which the named attacks are settings."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from unshaken.attacks.interface import GradientEstimator, OnGradient, budgets_of, fixed_argument, supported_kwargs
from unshaken.attacks.losses import LATENT, LOSSES, SOFT, LossName
from unshaken.attacks.norms import NORMS, UPDATES, Norm, NormName, StartName, UpdateName, per_input
from unshaken.attacks.objective import input_gradient, loss_target, losses_under
from unshaken.attacks.sampling import SchemeName, check_start, draws_of_steps, random_start, selection_draws, strongest
from unshaken.errors import lookup
from unshaken.models import Draws, StochasticClassifier, derive
from unshaken.models.draws import Provenance
from unshaken.types import Count, Eps, Inputs, Labels, Loss, Positive, Supplied
from unshaken.validate import check_inputs, check_ranges


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
    indices: Supplied[Sequence[int] | None] = None,
    on_gradient: Supplied[OnGradient | None] = None,
    gradient_estimator: Supplied[GradientEstimator] = input_gradient,
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
        indices: a number for each input, on which its random start depends; by default its index in x.
        on_gradient: called with (step, gradient) before each step; the gradient is (N, ...), N being B or E·B.
        gradient_estimator: by default the exact gradient. A random estimate takes `seed`, which differs from step to
            step, and `indices`, a number for each input.

    Returns:
        x_adv (B, ...), or (E, B, ...) where eps is a list. Source: Madry et al. (2018); for Bayesian networks
        Däubener et al. (2020), section 2.
    """
    objective, ball = lookup("loss", loss, LOSSES), lookup("norm", norm, NORMS)
    check_inputs(x, y, soft=objective in SOFT, unlabelled=objective in LATENT)
    budgets = budgets_of(eps, x)
    check_ranges(Count, steps=steps, batch_size=batch_size)
    nu = per_input(budgets.step_sizes(steps, step_size), x)
    check_start(objective, start, restarts)
    target, indices = loss_target(objective, x, y), range(len(x)) if indices is None else indices

    def ascend(seed: int, on_gradient: OnGradient | None) -> tuple[Inputs, list[Provenance]]:
        """One run, with a start and draws that follow from its seed."""
        x_adv, used = x.detach(), list[Provenance]()
        origin, targets = budgets.tile(x_adv), budgets.tile(target)
        if start != "none":
            x_adv = random_start(x_adv, ball, start, budgets, derive(seed, "start"), indices)
        direction = lookup("update", update, UPDATES)(ball)
        for step, sample in enumerate(draws_of_steps(model, draws, steps, redraw, seed)):
            randomness = {"seed": derive(seed, "slope", step), "indices": [*indices] * (len(x_adv) // len(x))}
            keywords = {"batch_size": batch_size, **supported_kwargs(gradient_estimator, **randomness)}
            at_x = step == 0 and start == "none"  # every budget is still at x, whose gradient serves them all
            gradient = gradient_estimator(model, x_adv, target if at_x else targets, sample, objective, **keywords)
            if on_gradient is not None:
                on_gradient(step, gradient)
            used.append(sample.provenance)
            if at_x:
                x_adv, gradient = budgets.tile(x_adv), budgets.tile(gradient)
            move = direction(gradient).mul_(nu)
            if x_adv is not origin:  # the first step from the input itself is not rounded by x + d - x, nor a copy
                move.add_(x_adv).sub_(origin)
            x_adv = ball.project(move, budgets.radius).add_(origin).clamp_(0, 1)
        return x_adv, used

    x_adv, used = ascend(seed, on_gradient)
    if restarts > 1:
        others = (ascend(derive(seed, "restart", number), None) for number in range(1, restarts))
        selection, targets = selection_draws(model, draws, seed), budgets.tile(target)
        losses = partial(losses_under, model, target=targets, draws=selection, loss=objective, batch_size=batch_size)
        x_adv, used = strongest((x_adv, [*used, selection.provenance]), others, losses)
    return budgets.result(x_adv, used)


def _setting(doc: str, *, preferred: dict[str, Any] | None = None, **fixed: Any) -> Callable[..., Inputs]:
    """`pgd` with some arguments fixed for good, defaults of its own for others, and its own line of documentation."""
    defaults = preferred or {}

    def attack(model: StochasticClassifier, x: Inputs, y: Labels, **keywords: Any) -> Inputs:
        if clash := fixed.keys() & keywords.keys():
            raise fixed_argument(min(clash), fixed[min(clash)])
        return pgd(model, x, y, **defaults | keywords, **fixed)

    free = [p for p in inspect.signature(pgd).parameters.values() if p.name not in fixed]
    signature = inspect.Signature([p.replace(default=defaults.get(p.name, p.default)) for p in free])
    vars(attack).update(func=pgd, keywords=fixed, __signature__=signature)
    attack.__doc__ = doc
    return attack


ONE_STEP: dict[str, Any] = {"steps": 1, "step_size": None, "start": "none", "restarts": 1}
ONE_STEP |= {"redraw": True, "update": "steepest"}
LINF_STEP = {"norm": "linf", **ONE_STEP}

fgsm = _setting("FGSM-k: x + eps·sign(∇_x loss), one gradient for all sizes. Goodfellow et al. (2015).", **LINF_STEP)
fgm = _setting("FGM-k: x + eps·g/‖g‖₂ with g = ∇_x loss, the L2 form of FGSM.", norm="l2", **ONE_STEP)
ifgsm = _setting(
    "IFGSM-k: FGSM in small steps from x, projected. Kurakin et al. (2017).", norm="linf", start="none", restarts=1
)
mean = _setting(
    "MEAN: FGSM on the network at the mean weights. Däubener et al. (2020), eq. 6.", draws="mean", **LINF_STEP
)
moments = _setting(
    "MOMENTS: FGSM on the expected logits, which one pass of means and variances gives.",
    preferred={"loss": "cw"},
    draws="moments",
    **LINF_STEP,
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
