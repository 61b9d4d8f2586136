"""Attacks: plain functions attack(model, x, y, *, eps, ...) -> x_adv, by name."""

from collections.abc import Callable

from unshaken.attacks.gradient import input_gradient
from unshaken.attacks.losses import LOSSES
from unshaken.attacks.norms import NORMS, Norm
from unshaken.attacks.pgd import fgm, fgsm, ifgsm, mean, moments, pgd
from unshaken.attacks.spsa import spsa
from unshaken.attacks.transfer import TransferSet, load_transfer_set, transfer, transfer_set
from unshaken.types import Inputs

ATTACKS: dict[str, Callable[..., Inputs]] = {
    "fgm": fgm,
    "fgsm": fgsm,
    "ifgsm": ifgsm,
    "mean": mean,
    "moments": moments,
    "pgd": pgd,
    "spsa": spsa,
}

__all__ = [
    "ATTACKS",
    "LOSSES",
    "NORMS",
    "Norm",
    "TransferSet",
    "fgm",
    "fgsm",
    "ifgsm",
    "input_gradient",
    "load_transfer_set",
    "mean",
    "moments",
    "pgd",
    "spsa",
    "transfer",
    "transfer_set",
]
