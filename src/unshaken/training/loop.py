"""Training: minibatches of what the learner sees, an objective, an optimizer; checkpoints and exact resume."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor
from torch.optim import Optimizer

from unshaken.evaluation.predict import predict
from unshaken.models import StochasticClassifier, derive
from unshaken.models.base import mode
from unshaken.training.augment import AUGMENTS, none
from unshaken.training.checkpoint import TrainingState
from unshaken.training.history import Epoch, Meter, Score, scores_of
from unshaken.training.inputs import Batch, InputFunction, Points, clean, points_per_input, with_augmentation
from unshaken.training.learner import Learner, finite_batch, new_optimizer, steps_to_store
from unshaken.training.monitor import Monitor
from unshaken.training.noise import shuffled
from unshaken.training.objectives import OBJECTIVES, elbo
from unshaken.training.samplers import SGLD, SGAdaLD, clamped_share
from unshaken.training.schedules import SCHEDULES, constant
from unshaken.training.self_training import with_unlabelled
from unshaken.types import Count, Inputs, Labelled, Labels, NotNegative, PartOf, Supplied
from unshaken.validate import check_each, check_inputs, check_ranges

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "sgld": SGLD,
    "sgadald": SGAdaLD,
}

Progress = Callable[[int, int, str], None]  # (minibatches done, minibatches in all, note)


def train(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    augment: Annotated[Callable[..., Inputs], PartOf(AUGMENTS)] = none,
    inputs: Annotated[InputFunction, PartOf("unshaken.training:INPUTS")] = clean,
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
        inputs, objective, schedule: functions of INPUTS, OBJECTIVES and SCHEDULES.
        optimizer: a function of the parameters, which a sampler is too; that is told `examples` and a seed.
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
    check_ranges(Count, epochs=epochs, batch_size=batch_size, updates=updates)
    factors = learning_rate_factors(schedule, epochs)
    x, y, members = with_unlabelled(x, y, unlabelled, teacher, seed, objective)
    passes = points_per_input(inputs)
    steps = passes * math.ceil(len(members) / batch_size)
    stores_after = steps_to_store(model, burn_in, thin, epochs * steps)
    if continues is not None:
        model.start_at(continues.network())
    state = TrainingState(model, new_optimizer(model, optimizer, len(x), derive(seed, "sampler")))
    learner = Learner(model, state.optimizer, objective, len(x), updates)
    rates = [group["lr"] for group in state.optimizer.param_groups]
    if learner.chain is not None:
        learner.chain.stored.clear()
    if checkpoint is not None and Path(checkpoint).exists():
        state.load(Path(checkpoint))
    if len(state.history) > epochs:
        raise ValueError(f"{checkpoint} has {len(state.history)} epochs behind it, more than the {epochs} asked for.")
    points = partial(minibatches, members, passes, batch_size, seed)
    make = partial(with_augmentation(inputs), model)
    trainer = Trainer(learner, state, x, y, points, augment, make, epochs, steps, stores_after, seed, monitor, progress)
    with nullcontext() if learner.chain is None else learner.chain.in_training():
        for epoch in range(len(state.history), epochs):
            for group, rate in zip(state.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factors[epoch]
            state.history.append(trainer.epoch(epoch))
            if checkpoint is not None:
                state.save(Path(checkpoint))
    if monitor is not None:
        monitor.restore(state.best, model, state.history)
    return state.history


@dataclass(frozen=True)
class Trainer:
    """What every epoch of a training needs: the arguments of `train`, checked and made ready.

    points: epoch -> its points in minibatches. make: what turns one into a batch. steps: minibatches of an epoch.
    stores_after: numbers of minibatches after which a chain stores its states.
    """

    learner: Learner
    state: TrainingState
    x: Inputs
    y: Labels
    points: Callable[[int], Iterator[Points]]
    augment: Callable[..., Inputs]
    make: Callable[..., Batch]
    epochs: int
    steps: int
    stores_after: range
    seed: int
    monitor: Monitor | None
    progress: Progress | None

    def epoch(self, epoch: int) -> Epoch:
        """Learn from every point once."""
        model, chain = self.learner.model, self.learner.chain
        meter, loss_sum, count, diverged, scores = Meter(model), 0.0, 0, list[str](), list[Score]()
        with mode(model.net, training=True):
            for step, points in enumerate(self.points(epoch)):
                name, step_seed = f"epoch {epoch + 1}, step {step + 1}", derive(self.seed, "train", epoch, step)
                change = partial(self.augment, seed=derive(self.seed, "augment", epoch, step))
                make = partial(self.make, self.x[points.index], self.y[points.index], points, change, step_seed)
                batch, left_out = finite_batch(chain, make, name)
                loss, stopped = self.learner.learn(batch, step_seed, name)
                loss_sum += 0 if stopped else loss * len(points.index)
                count += len(points.index)
                diverged += left_out + stopped
                done = epoch * self.steps + step + 1
                if chain is not None and done in self.stores_after:
                    chain.keep_state()
                self.evaluate(done, scores)
                if self.progress is not None:
                    self.progress(done, self.epochs * self.steps, self.note(loss, scores))
        x, y = (tensor[self.y >= 0][:1000] for tensor in (self.x, self.y))  # those that have a label
        logits = predict(model, x, model.draw(10, seed=derive(self.seed, "accuracy")))
        accuracy = float((logits.argmax(-1) == y).float().mean())
        clamped = clamped_share(self.learner.optimizer)
        return Epoch(loss_sum / count, accuracy, *meter.spent(without=scores), clamped, diverged, scores)

    def evaluate(self, done: int, scores: list[Score]) -> None:
        """Add what the monitor measures after this minibatch, where it does, and keep the tensors that are best."""
        monitor, model = self.monitor, self.learner.model
        if monitor is not None and (done % monitor.every == 0 or done == self.epochs * self.steps):
            scores.append(monitor.evaluate(model, done))
            self.state.best = monitor.best_tensors(self.state.best, model, [*scores_of(self.state.history), *scores])

    def note(self, loss: float, scores: list[Score]) -> str:
        """The loss, the accuracy of the last epoch, and that under the last attack in the last evaluation."""
        notes = [f"loss {loss:.3f}"]
        if self.state.history:
            notes.append(f"accuracy {self.state.history[-1].accuracy:.3f}")
        if evaluations := [*scores_of(self.state.history), *scores]:
            attack, right = list(evaluations[-1].right.items())[-1]
            notes.append(f"{attack} {right / evaluations[-1].images:.3f}")
        return ", ".join(notes)


def minibatches(members: Tensor, passes: int, batch_size: int, seed: int, epoch: int) -> Iterator[Points]:
    """The points of an epoch: `passes` times all members in random order, each time with another of their copies.

    A member meets each of its copies once in an epoch. Points are shuffled within a pass, not over all of them: a
    permutation of members x copies would be kept otherwise.
    """
    for number in range(passes):
        order = torch.Generator().manual_seed(derive(seed, "order", epoch * passes + number))
        for index in members[torch.randperm(len(members), generator=order).to(members.device)].split(int(batch_size)):
            copy = (shuffled(derive(seed, "copies", epoch), index) + number) % passes
            yield Points(index, copy, epoch, seed)


def learning_rate_factors(schedule: Callable[..., float], epochs: int) -> list[float]:
    """What the learning rates are multiplied by in every epoch, all of them computed before the first."""
    factors = [schedule(epoch, epochs) for epoch in range(epochs)]
    check_each("what a schedule multiplies the learning rate by", factors, NotNegative)
    return factors
