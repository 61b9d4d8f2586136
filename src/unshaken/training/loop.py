"""Training: minibatches of what the learner sees, an objective, an optimizer; checkpoints and exact resume."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
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
from unshaken.training.inputs import clean
from unshaken.training.objectives import elbo
from unshaken.training.schedules import constant
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
    inputs: Callable[..., tuple[Inputs, Labels]] = clean,
    objective: Callable[..., Tensor] = elbo,
    optimizer: Callable[..., Optimizer] = torch.optim.Adam,
    schedule: Callable[..., float] = constant,
    epochs: int = 10,
    batch_size: int = 100,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Epoch]:
    """Minimise `objective` over minibatches of `inputs`, in place; returns one record per epoch.

    Everything random follows from (seed, epoch, step). With `checkpoint`, the state is written there after every
    epoch, and a run that was cut off goes on from it to the same weights, bit by bit, as one that was not.

    Args:
        model: trained in place; its network is in train mode meanwhile, and then in the modes it was in.
        x, y: (N, ...) in [0, 1] and (N,), all of them.
        augment: a function of AUGMENTS, applied to every batch before `inputs` sees it.
        inputs, objective: functions of INPUTS and OBJECTIVES; optimizer: a function of the parameters.
        schedule: a function of SCHEDULES, which says what the optimizer's own learning rates are multiplied by.
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
    steps = math.ceil(len(x) / batch_size)
    for epoch in range(len(history), epochs):
        for group, rate in zip(rule.param_groups, rates, strict=True):
            group["lr"] = rate * shares[epoch]
        started, total, before = time.perf_counter(), 0.0, replace(model.cost)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(derive(seed, "order", epoch)))
        with mode(model.net, training=True):
            for step, at in enumerate(order.to(x.device).split(batch_size)):
                now = derive(seed, "train", epoch, step)
                batch = augment(x[at], seed=derive(seed, "augment", epoch, step))
                seen, labels = inputs(model, batch, y[at], seed=now)
                loss = objective(model, seen, labels, examples=len(x), seed=now)
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
        history.append(Epoch(total / len(x), float(right.float().mean()), time.perf_counter() - started, *cost))
        if checkpoint is not None:
            _save(model, rule, history, Path(checkpoint))
    return history


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
