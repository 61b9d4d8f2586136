"""Training: minibatches of what the learner sees, an objective, an optimizer; checkpoints and exact resume."""

from __future__ import annotations

import inspect
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from unshaken.evaluation.predict import predict
from unshaken.models import StochasticClassifier, derive
from unshaken.models.base import mode
from unshaken.store import read_tensors, write_tensors
from unshaken.training.augment import AUGMENTS, none
from unshaken.training.inputs import Points, Seen, clean, points_per_input, shown
from unshaken.training.monitor import Monitor, Score, noted, spent
from unshaken.training.noise import shuffled
from unshaken.training.objectives import OBJECTIVES, elbo
from unshaken.training.samplers import SGLD, SGAdaLD, clamped_share
from unshaken.training.schedules import SCHEDULES, constant
from unshaken.training.self_training import with_unlabelled
from unshaken.types import Count, Inputs, Labelled, Labels, NotNegative, PartOf, Supplied
from unshaken.validate import check_inputs, check_range

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "sgld": SGLD,
    "sgadald": SGAdaLD,
}

Progress = Callable[[int, int, str], None]  # (done, total, note)


@dataclass
class Epoch:
    """Mean loss over the epoch, in nats per example; accuracy on the first 1,000 training inputs with 10 draws; what it
    cost: seconds, forward passes, and gradients with respect to inputs (in inputs x draws); the share of a sampler's
    noise variances so far that were negative and taken as zero; chains that diverged in it; what a monitor found in it,
    at a cost of its own."""

    loss: float
    accuracy: float
    seconds: float
    forwards: int = 0
    gradients: int = 0
    clamped: float = 0.0
    diverged: list[str] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)


def train(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    augment: Annotated[Callable[..., Inputs], PartOf(AUGMENTS)] = none,
    inputs: Annotated[Callable[..., tuple[Any, ...]], PartOf("unshaken.training:INPUTS")] = clean,
    objective: Annotated[Callable[..., Tensor], PartOf(OBJECTIVES)] = elbo,
    optimizer: Annotated[Callable[..., Optimizer], PartOf(OPTIMIZERS)] = torch.optim.Adam,
    schedule: Annotated[Callable[..., float], PartOf(SCHEDULES)] = constant,
    epochs: Count = 10,
    batch_size: Count = 100,
    updates: Count = 1,
    burn_in: Count | None = None,
    thin: Count = 100,
    seed: Supplied[int] = 0,
    continues: Labelled[StochasticClassifier] | None = None,
    unlabelled: Supplied[Inputs | None] = None,
    teacher: Labelled[StochasticClassifier] | None = None,
    monitor: Supplied[Monitor | None] = None,
    checkpoint: Supplied[str | Path | None] = None,
    progress: Supplied[Progress | None] = None,
) -> list[Epoch]:
    """Minimise `objective` over minibatches of `inputs`, in place; returns one record per epoch.

    Everything random follows from (seed, epoch, step). With `checkpoint`, the state is written there after every
    epoch, and a run that was cut off goes on from it to the same weights, bit by bit, as one that was not.

    Args:
        model: trained in place; its network is in train mode meanwhile, and then in the modes it was in.
        x, y: (N, ...) in [0, 1] and (N,), all of them.
        augment: a function of AUGMENTS, applied to every batch, before `inputs` unless that extends the training set.
        inputs, objective: functions of INPUTS and OBJECTIVES.
        optimizer: a function of the parameters, which a sampler is too; that is told `examples` and a seed.
        schedule: a function of SCHEDULES, which says what the optimizer's own learning rates are multiplied by.
        updates: steps of the optimizer on every minibatch, with the inputs that were made for it once.
        burn_in: of a chain, minibatches after which its state is stored, and again after every `thin` of them; without
            it the draws are where the chains end. What an earlier training stored is forgotten.
        continues: a model whose mean network is where training starts.
        unlabelled, teacher: further inputs (M, ...), and the model that labels them, see `training/self_training.py`.
        monitor: evaluates the model meanwhile, and may choose the step whose weights it ends with.
        checkpoint: a file; it must be of the same training.
        progress: called as (steps done, steps in all, "loss ..., accuracy ...").
    """
    if not torch.is_grad_enabled():
        raise ValueError("training needs gradients, which torch.no_grad() switches off: call it outside.")
    check_inputs(x, y)
    check_range("epochs", epochs, Count)
    check_range("batch_size", batch_size, Count)
    check_range("updates", updates, Count)
    shares = learning_rates(schedule, epochs)
    x, y, members = with_unlabelled(x, y, unlabelled, teacher, seed, objective)
    passes, see = points_per_input(inputs), shown(inputs)
    steps = passes * math.ceil(len(members) / batch_size)
    stores = when_to_store(model, burn_in, thin, epochs * steps)
    if continues is not None:
        model.start_at(continues.network())
    rule = update_rule(model, optimizer, len(x), derive(seed, "sampler"))
    rates = [group["lr"] for group in rule.param_groups]
    if model.stores:
        model.forget_states()
    history, best = _resume(model, rule, checkpoint) if checkpoint and Path(checkpoint).exists() else ([], {})
    if len(history) > epochs:
        raise ValueError(f"{checkpoint} has {len(history)} epochs behind it, more than the {epochs} asked for.")
    for epoch in range(len(history), epochs):
        for group, rate in zip(rule.param_groups, rates, strict=True):
            group["lr"] = rate * shares[epoch]
        started, total, before, diverged = time.perf_counter(), 0.0, replace(model.cost), list[str]()
        earlier, scores = _scores(history), list[Score]()
        with mode(model.net, training=True), model.moving():
            for step, points in enumerate(minibatches(members, passes, batch_size, seed, epoch)):
                now, at = derive(seed, "train", epoch, step), points.place
                change = partial(augment, seed=derive(seed, "augment", epoch, step))
                made = partial(see, model, x[at], y[at], points, change, now)
                where = f"epoch {epoch + 1}, step {step + 1}"
                seen, lost = _seen(model, made, where)
                diverged += [f"{name} in {where}" for name in lost]
                if step == 0:
                    check_before(objective, seen)
                value, lost = _learn(model, rule, objective, seen, updates, len(x), now, where)
                _check_loss(value, lost, where)
                diverged += [f"{name} in {where}" for name in lost]
                total += 0 if lost else value * len(at)
                if (done := epoch * steps + step + 1) in stores:
                    model.keep_state()
                if monitor is not None and monitor.due(done, epochs * steps):
                    scores.append(monitor.look(model, done))
                    best = monitor.kept(best, model, [*earlier, *scores])
                if progress is not None:
                    progress(done, epochs * steps, _note(value, history, noted([*earlier, *scores])))
        score = _score(model, x, y, derive(seed, "accuracy"))
        evaluation, rest = spent(scores)
        cost = (
            model.cost.forwards - before.forwards - rest.forwards,
            model.cost.gradients - before.gradients - rest.gradients,
        )
        seconds, points_seen = time.perf_counter() - started - evaluation, passes * len(members)
        history.append(Epoch(total / points_seen, score, seconds, *cost, clamped_share(rule), diverged, scores))
        if checkpoint is not None:
            _save(model, rule, history, best, Path(checkpoint))
    if monitor is not None:
        monitor.restore(best, model, _scores(history))
    return history


def update_rule(
    model: StochasticClassifier, optimizer: Callable[..., Optimizer], examples: int, seed: int
) -> Optimizer:
    """The optimizer of a model; a sampler is told the number of training inputs and a seed."""
    known = inspect.signature(optimizer).parameters
    told = {word: value for word, value in (("examples", examples), ("seed", seed)) if word in known}
    return optimizer(model.parameters(), **told)


def _learn(
    model: StochasticClassifier,
    rule: Optimizer,
    objective: Callable[..., Tensor],
    seen: Seen,
    updates: int,
    examples: int,
    seed: int,
    where: str,
) -> tuple[float, list[str]]:
    """(mean loss, names of members that diverged) of some steps of the optimizer on one minibatch.

    The loss is a mean over members: times their number, each has the gradient that it would have alone.
    """
    more = {"before": seen.before} if "before" in inspect.signature(objective).parameters else {}
    values, lost = list[float](), list[str]()
    for update in range(updates):
        own = derive(seed, "update", update) if update else seed
        loss = objective(model, seen.x, seen.y, examples=examples, seed=own, **more)
        values.append(float(loss.detach()))
        if model.members == 1 and not math.isfinite(values[-1]):
            break
        rule.zero_grad()
        (loss * model.members if model.members > 1 else loss).backward()
        rule.step()
        lost += model.drop_diverged()
        _check_any_left(model, where)
    return sum(values) / len(values), lost


def _seen(model: StochasticClassifier, made: Callable[[], Seen], where: str) -> tuple[Seen, list[str]]:
    """What the learner sees, and which of several members are left out because their part of it is not finite.

    An attack or a generator asks all members at once: one that is about to diverge would spoil the inputs of all.
    """
    spoilt: ValueError | None = None
    try:
        seen = made()
    except ValueError as error:  # such as a loss that is NaN
        spoilt = error
    if spoilt is None and (model.members == 1 or bool(seen.x.isfinite().all())):
        return seen, []
    lost = model.drop_diverged(partial(_is_finite, made))
    _check_any_left(model, where)
    if spoilt is not None and not lost:
        raise spoilt
    return made(), lost


def _is_finite(made: Callable[[], Seen]) -> bool:
    try:
        return bool(made().x.isfinite().all())
    except ValueError:
        return False


def _check_any_left(model: StochasticClassifier, where: str) -> None:
    if model.members == 0:
        raise ValueError(f"all chains have diverged in {where}: a lower learning rate is the usual cure.")


def _score(model: StochasticClassifier, x: Inputs, y: Labels, seed: int) -> float:
    """Accuracy on the first 1,000 inputs that have a label, with 10 draws of what the model is now."""
    x, y = x[y >= 0][:1000], y[y >= 0][:1000]
    with model.moving():
        return float((predict(model, x, model.draw(10, seed=seed)).argmax(-1) == y).float().mean())


def when_to_store(model: StochasticClassifier, burn_in: int | None, thin: int, steps: int) -> range:
    """The numbers of minibatches after which the state of a chain is stored."""
    if burn_in is None:
        return range(0)
    check_range("burn_in", burn_in, Count)
    check_range("thin", thin, Count)
    if burn_in > steps:
        raise ValueError(f"burn_in must be at most the {steps} minibatches of this training; got {burn_in}.")
    if not model.stores:
        raise ValueError(f"a {model.kind!r} model stores no states: burn_in is for a 'chain'.")
    return range(burn_in, steps + 1, thin)


def minibatches(members: Tensor, passes: int, batch_size: int, seed: int, epoch: int) -> Iterator[Points]:
    """The points of an epoch: `passes` times all members in random order, each time with another of their copies.

    A member meets each of its copies once in an epoch. Points are shuffled within a pass, not over all of them: a
    permutation of members x copies would be kept otherwise.
    """
    for number in range(passes):
        order = torch.Generator().manual_seed(derive(seed, "order", epoch * passes + number))
        for place in members[torch.randperm(len(members), generator=order).to(members.device)].split(batch_size):
            copy = (shuffled(derive(seed, "copies", epoch), place) + number) % passes
            yield Points(place, copy, epoch, seed)


def check_before(objective: Callable[..., Tensor], seen: Seen) -> None:
    """An objective that compares inputs before and after an attack needs inputs that an attack makes."""
    if seen.before is None and "before" in inspect.signature(objective).parameters:
        raise ValueError(
            "the objective looks at inputs before and after they are moved: it needs inputs of kind 'adversarial', "
            "'langevin' or 'wasserstein'."
        )


def learning_rates(schedule: Callable[..., float], epochs: int) -> list[float]:
    """What the learning rates are multiplied by in every epoch, all of them asked for before the first."""
    shares = [schedule(epoch, epochs) for epoch in range(epochs)]
    for share in shares:
        check_range("what a schedule multiplies the learning rate by", share, NotNegative)
    return shares


def _scores(history: list[Epoch]) -> list[Score]:
    return [score for epoch in history for score in epoch.scores]


def _note(loss: float, history: list[Epoch], scored: str) -> str:
    accuracy = [f"accuracy {history[-1].accuracy:.3f}"] if history else []
    return ", ".join([f"loss {loss:.3f}", *accuracy, *([scored] if scored else [])])


def _check_loss(loss: float, lost: list[str], where: str) -> None:
    """A loss is finite, but for that of a chain that was left out because of it."""
    if not math.isfinite(loss) and not lost:
        raise ValueError(f"the loss became {loss} in {where}: a lower learning rate is the usual cure.")


def _save(
    model: StochasticClassifier, rule: Optimizer, history: list[Epoch], best: dict[str, Tensor], path: Path
) -> None:
    """Model, best tensors, optimizer state and history as one safetensors file, in place at once or not at all."""
    kept: dict[str, Tensor] = {f"model.{name}": tensor for name, tensor in model.tensors().items()}
    kept |= {f"best.{name}": tensor for name, tensor in best.items()}
    for i, state in rule.state_dict()["state"].items():
        for name, value in state.items():
            if value is not None:
                kept[f"optimizer.{i}.{name}"] = torch.as_tensor(value)
    write_tensors(path, kept, {"kind": model.stored_kind, "history": json.dumps([asdict(epoch) for epoch in history])})


def _resume(model: StochasticClassifier, rule: Optimizer, path: str | Path) -> tuple[list[Epoch], dict[str, Tensor]]:
    """Fill model and optimizer from a checkpoint; returns its epochs, and the best tensors of these."""
    about, found = read_tensors(path)
    weights, best = (
        {name.removeprefix(part): tensor for name, tensor in found.items() if name.startswith(part)}
        for part in ("model.", "best.")
    )
    model.fill(weights, about.get("kind", "?"), str(path))
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in found.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".", 2)
            state.setdefault(int(i), {})[key] = tensor
    rule.load_state_dict({"state": state, "param_groups": rule.state_dict()["param_groups"]})
    return [Epoch(**epoch) for epoch in json.loads(about["history"])], best
