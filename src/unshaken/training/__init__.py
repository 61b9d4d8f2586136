"""Training is three choices: inputs x objective x optimizer."""

from unshaken.training.inputs import INPUTS, adversarial
from unshaken.training.loop import OPTIMIZERS, Epoch, train
from unshaken.training.objectives import OBJECTIVES

__all__ = ["INPUTS", "OBJECTIVES", "OPTIMIZERS", "Epoch", "adversarial", "train"]
