"""Training: minibatches of what the learner sees, an objective, an optimizer; checkpoints and exact resume."""

from __future__ import annotations

import inspect
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from unshaken.models import StochasticClassifier, derive
from unshaken.models.base import mode
from unshaken.models.draws import read_tensors
from unshaken.predict import predict
from unshaken.store import write_tensors
from unshaken.training.augment import none
from unshaken.training.inputs import Points, Seen, clean, points_per_input, shown
from unshaken.training.noise import shuffled
from unshaken.training.objectives import elbo
from unshaken.training.schedules import constant
from unshaken.training.self_training import with_unlabelled
from unshaken.types import Inputs, Labels
from unshaken.validate import check_count, check_inputs, check_not_negative

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}

Progress = Callable[[int, int, str], None]  # (done, total, note)


@dataclass
class Epoch:
    """Mean loss over the epoch, in nats per example; accuracy on the first 1,000 training inputs with 10 draws; what it
    cost: seconds, forward passes, and gradients with respect to inputs (in inputs x draws)."""

    loss: float
    accuracy: float
    seconds: float
    forwards: int = 0
    gradients: int = 0


def train(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    *,
    augment: Callable[..., Inputs] = none,
    inputs: Callable[..., tuple[Any, ...]] = clean,
    objective: Callable[..., Tensor] = elbo,
    optimizer: Callable[..., Optimizer] = torch.optim.Adam,
    schedule: Callable[..., float] = constant,
    epochs: int = 10,
    batch_size: int = 100,
    seed: int = 0,
    unlabelled: Inputs | None = None,
    teacher: StochasticClassifier | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Epoch]:
    """Minimise `objective` over minibatches of `inputs`, in place; returns one record per epoch.

    Everything random follows from (seed, epoch, step). With `checkpoint`, the state is written there after every
    epoch, and a run that was cut off goes on from it to the same weights, bit by bit, as one that was not.

    Args:
        model: trained in place; its network is in train mode meanwhile, and then in the modes it was in.
        x, y: (N, ...) in [0, 1] and (N,), all of them.
        augment: a function of AUGMENTS, applied to every batch, before `inputs` unless that extends the training set.
        inputs, objective: functions of INPUTS and OBJECTIVES; optimizer: a function of the parameters.
        schedule: a function of SCHEDULES, which says what the optimizer's own learning rates are multiplied by.
        unlabelled, teacher: further inputs (M, ...), and the model that labels them, see `training/self_training.py`.
        checkpoint: a file; it must be of the same training.
        progress: called as (steps done, steps in all, "loss ..., accuracy ...").
    """
    if not torch.is_grad_enabled():
        raise ValueError("training needs gradients, which torch.no_grad() switches off: call it outside.")
    check_inputs(x, y)
    check_count("epochs", epochs)
    check_count("batch_size", batch_size)
    shares = learning_rates(schedule, epochs)
    rule = optimizer(model.parameters())
    rates = [group["lr"] for group in rule.param_groups]
    history = _resume(model, rule, checkpoint) if checkpoint and Path(checkpoint).exists() else []
    if len(history) > epochs:
        raise ValueError(f"{checkpoint} has {len(history)} epochs behind it, more than the {epochs} asked for.")
    x, y, members = with_unlabelled(x, y, unlabelled, teacher, seed)
    passes, see = points_per_input(inputs), shown(inputs)
    compares = "before" in inspect.signature(objective).parameters
    steps = passes * math.ceil(len(members) / batch_size)
    for epoch in range(len(history), epochs):
        for group, rate in zip(rule.param_groups, rates, strict=True):
            group["lr"] = rate * shares[epoch]
        started, total, before = time.perf_counter(), 0.0, replace(model.cost)
        with mode(model.net, training=True):
            for step, points in enumerate(minibatches(members, passes, batch_size, seed, epoch)):
                now, at = derive(seed, "train", epoch, step), points.place
                change = partial(augment, seed=derive(seed, "augment", epoch, step))
                seen = see(model, x[at], y[at], points, change, now)
                if compares and step == 0:
                    check_before(objective, seen)
                more = {"before": seen.before} if compares else {}
                loss = objective(model, seen.x, seen.y, examples=len(x), seed=now, **more)
                value = float(loss.detach())
                _check_loss(value, epoch, step)
                rule.zero_grad()
                loss.backward()
                rule.step()
                total += value * len(at)
                if progress is not None:
                    progress(epoch * steps + step + 1, epochs * steps, _note(value, history))
        right = predict(model, x[:1000], model.draw(10, seed=derive(seed, "accuracy"))).argmax(-1) == y[:1000]
        cost = (model.cost.forwards - before.forwards, model.cost.gradients - before.gradients)
        seconds, points_seen = time.perf_counter() - started, passes * len(members)
        history.append(Epoch(total / points_seen, float(right.float().mean()), seconds, *cost))
        if checkpoint is not None:
            _save(model, rule, history, Path(checkpoint))
    return history


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
            "the objective compares inputs before and after an attack: it needs inputs of kind 'adversarial'."
        )


def learning_rates(schedule: Callable[..., float], epochs: int) -> list[float]:
    """What the learning rates are multiplied by in every epoch, all of them asked for before the first."""
    shares = [schedule(epoch, epochs) for epoch in range(epochs)]
    for share in shares:
        check_not_negative("what a schedule multiplies the learning rate by", share)
    return shares


def _note(loss: float, history: list[Epoch]) -> str:
    return f"loss {loss:.3f}" + (f", accuracy {history[-1].accuracy:.3f}" if history else "")


def _check_loss(loss: float, epoch: int, step: int) -> None:
    if not math.isfinite(loss):
        raise ValueError(
            f"the loss became {loss} in epoch {epoch + 1}, step {step + 1}: a lower learning rate is the usual cure."
        )


def _save(model: StochasticClassifier, rule: Optimizer, history: list[Epoch], path: Path) -> None:
    """Model, optimizer state and history as one safetensors file, in place at once or not at all."""
    kept: dict[str, Tensor] = {f"model.{name}": tensor for name, tensor in model.tensors().items()}
    for i, state in rule.state_dict()["state"].items():
        for name, value in state.items():
            if value is not None:
                kept[f"optimizer.{i}.{name}"] = torch.as_tensor(value)
    write_tensors(path, kept, {"kind": model.stored_kind, "history": json.dumps([asdict(epoch) for epoch in history])})


def _resume(model: StochasticClassifier, rule: Optimizer, path: str | Path) -> list[Epoch]:
    """Fill model and optimizer from a checkpoint; returns the epochs it has behind it."""
    told, found = read_tensors(path)
    weights = {name.removeprefix("model."): t for name, t in found.items() if name.startswith("model.")}
    model.fill(weights, told.get("kind", "?"), str(path))
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in found.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".", 2)
            state.setdefault(int(i), {})[key] = tensor
    rule.load_state_dict({"state": state, "param_groups": rule.state_dict()["param_groups"]})
    return [Epoch(**epoch) for epoch in json.loads(told["history"])]
