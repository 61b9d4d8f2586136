"""On a deterministic network, with the same step rule and start, other libraries give the same perturbations."""

from __future__ import annotations

import warnings
from types import ModuleType

import pytest
import torch

from oracles import small_inputs, small_net
from unshaken.attacks import pgd
from unshaken.models import Deterministic

X, Y = small_inputs(20, dtype=torch.float64)
NET = small_net(dtype=torch.float64)
EPS, NU = 0.1, 0.03
SETTINGS = [("linf", 1), ("linf", 7), ("l2", 1), ("l2", 7)]
same_rule = pytest.mark.parametrize(("norm", "steps"), SETTINGS)


def peer(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, exc_type=(ImportError, RuntimeError))


def ours(norm: str, steps: int, **settings) -> torch.Tensor:
    nu = EPS if steps == 1 else NU
    model = Deterministic(NET)
    return pgd(model, X, Y, eps=EPS, norm=norm, steps=steps, step_size=nu, draws=1, loss="cross_entropy", **settings)


@same_rule
def test_equal_to_foolbox(norm, steps):
    foolbox = peer("foolbox")
    attack = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    nu = EPS if steps == 1 else NU
    model = foolbox.PyTorchModel(NET, bounds=(0, 1), device="cpu")
    _, x_adv, _ = attack(abs_stepsize=nu, steps=steps, random_start=False)(model, X, Y, epsilons=EPS)
    torch.testing.assert_close(ours(norm, steps), x_adv, rtol=0, atol=1e-6)


@same_rule
def test_equal_to_torchattacks(norm, steps):
    torchattacks = peer("torchattacks")
    attack = {"linf": torchattacks.PGD, "l2": torchattacks.PGDL2}[norm]
    nu = EPS if steps == 1 else NU
    x_adv = attack(NET, eps=EPS, alpha=nu, steps=steps, random_start=False)(X, Y)
    torch.testing.assert_close(ours(norm, steps), x_adv, rtol=0, atol=1e-6)
