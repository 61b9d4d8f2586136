"""Training is three choices: inputs x objective x optimizer."""

from unshaken.training.augment import AUGMENTS
from unshaken.training.inputs import INPUTS, NOISES, adversarial, variable_noise
from unshaken.training.loop import OPTIMIZERS, Epoch, train
from unshaken.training.objectives import OBJECTIVES
from unshaken.training.schedules import SCHEDULES

__all__ = [
    "AUGMENTS",
    "INPUTS",
    "NOISES",
    "OBJECTIVES",
    "OPTIMIZERS",
    "SCHEDULES",
    "Epoch",
    "adversarial",
    "train",
    "variable_noise",
]
