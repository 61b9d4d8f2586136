"""Training is three choices: inputs x objective x optimizer."""

from unshaken.training.augment import AUGMENTS
from unshaken.training.inputs import ANSWERS, INPUTS, adversarial, constant_noise, variable_noise
from unshaken.training.loop import OPTIMIZERS, Epoch, train
from unshaken.training.noise import NOISES
from unshaken.training.objectives import OBJECTIVES
from unshaken.training.schedules import SCHEDULES

__all__ = [
    "ANSWERS",
    "AUGMENTS",
    "INPUTS",
    "NOISES",
    "OBJECTIVES",
    "OPTIMIZERS",
    "SCHEDULES",
    "Epoch",
    "adversarial",
    "constant_noise",
    "train",
    "variable_noise",
]
