"""Evaluation during training: accuracy at fixed steps, clean and under attack, and the weights that were best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from unshaken.errors import unknown
from unshaken.evaluation.predict import predict
from unshaken.models import Draws, StochasticClassifier, derive
from unshaken.models.base import mode
from unshaken.training.history import Epoch, Meter, Score, scores_of
from unshaken.types import Count, Inputs, Labels
from unshaken.validate import check_inputs, check_range

CLEAN = "clean"


@dataclass(frozen=True)
class Monitor:
    """What is evaluated after every so many minibatches of a training, counted over all epochs, and after the last.

    Everything random follows from (seed, step), and training sees nothing of it: without `select`, the weights are bit
    by bit those of a training without a monitor. Attack and inference draws are of different seeds.

    Args:
        x, y: the images, (N, ...) in [0, 1], and their labels (N,).
        every: minibatches between two evaluations.
        attacks: by name, functions `attack(model, x, y, *, seed)` -> x_adv: an attack with its eps, as a partial.
        draws: inference draws, or "all" of an ensemble.
        rule: a key of `predict.RULES`.
        select: a key of `attacks`, or "clean": the model ends with the weights that were best under it, the earliest.
    """

    x: Inputs
    y: Labels
    every: int
    attacks: Mapping[str, Callable[..., Tensor]] = field(default_factory=dict)
    draws: int | str = 10
    rule: str = "probability"
    select: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_inputs(self.x, self.y)
        check_range("every", self.every, Count)
        if self.draws != "all":
            check_range("draws", self.draws, Count)
        if self.select is not None and self.select not in (names := [CLEAN, *self.attacks]):
            raise unknown("attack to select by", self.select, names)

    def evaluate(self, model: StochasticClassifier, step: int) -> Score:
        """How many images are classified correctly by what the model is now, in eval mode."""
        meter, right = Meter(model), dict[str, int]()
        with mode(model.net, training=False):
            seed = derive(self.seed, "inference", step)
            inference = (model.all() if isinstance(self.draws, str) else model.draw(self.draws, seed=seed)).keep()
            right[CLEAN] = self._correct(model, self.x, inference)
            for name, attack in self.attacks.items():
                x_adv = attack(model, self.x, self.y, seed=derive(self.seed, "attack", step))
                right[name] = self._correct(model, x_adv, inference)
        return Score(step, len(self.y), right, *meter.spent())

    def _correct(self, model: StochasticClassifier, x: Inputs, draws: Draws) -> int:
        return int((predict(model, x, draws, rule=self.rule).argmax(-1) == self.y).sum())

    def best(self, scores: Sequence[Score]) -> Score:
        """The first of the scores with the most correct images under `select`."""
        return max(scores, key=lambda score: score.right[str(self.select)])

    def best_tensors(
        self, best: dict[str, Tensor], model: StochasticClassifier, scores: Sequence[Score]
    ) -> dict[str, Tensor]:
        """The tensors of the best score so far: those of the model where that is the last one, else still `best`."""
        if self.select is None or self.best(scores) is not scores[-1]:
            return best
        return {name: tensor.detach().clone() for name, tensor in model.tensors().items()}

    def restore(self, best: dict[str, Tensor], model: StochasticClassifier, history: Sequence[Epoch]) -> None:
        """Fill the model with the tensors of the best score, which is then marked as selected in `history`."""
        if best:
            model.fill(best, model.stored_kind, "the selected step")
            selected = self.best(scores_of(history))
            for epoch in history:
                epoch.scores[:] = [replace(score, selected=score is selected) for score in epoch.scores]
