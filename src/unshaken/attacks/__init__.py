"""Attacks: plain functions attack(model, x, y, *, eps, ...) -> x_adv, by name."""

from collections.abc import Callable
from typing import Annotated

from unshaken.attacks.carlini_wagner import carlini_wagner
from unshaken.attacks.doubling import doubling
from unshaken.attacks.losses import LOSSES
from unshaken.attacks.norms import NORMS, Norm
from unshaken.attacks.objective import input_gradient
from unshaken.attacks.pgd import fgm, fgsm, ifgsm, mean, moments, one_step_cw, pgd
from unshaken.attacks.spatial import spatial
from unshaken.attacks.spsa import spsa
from unshaken.attacks.transfer import TransferSet, load_transfer_set, transfer, transfer_set
from unshaken.types import Inputs, PartOf

ATTACKS: dict[str, Callable[..., Inputs]] = {
    "carlini_wagner": carlini_wagner,
    "doubling": doubling,
    "fgm": fgm,
    "fgsm": fgsm,
    "ifgsm": ifgsm,
    "mean": mean,
    "moments": moments,
    "one_step_cw": one_step_cw,
    "pgd": pgd,
    "spatial": spatial,
    "spsa": spsa,
}
AttackPart = Annotated[Callable[..., Inputs], PartOf(ATTACKS)]

__all__ = ["ATTACKS", "LOSSES", "NORMS", "AttackPart", "Norm", "TransferSet", "input_gradient", "load_transfer_set"]
__all__ += ["transfer", "transfer_set", *ATTACKS]
