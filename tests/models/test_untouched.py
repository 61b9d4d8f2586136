"""Nothing of the user's network is touched: every tensor, flag, hook and gradient is as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from oracles import ATTACK_NORMS, SHORT, fixed, small_inputs, wrap
from unshaken.attacks import ATTACKS
from unshaken.attacks.sampling import SCHEMES
from unshaken.evaluation.predict import predict
from unshaken.models import MODELS

X, Y = small_inputs()


def busy_net() -> nn.Module:
    """In the middle of training: train mode with one part in eval, gradients, a frozen tensor, hooks, buffers."""
    norm = nn.BatchNorm2d(4)
    net = nn.Sequential(nn.Conv2d(1, 4, 2), norm, nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(24, 3)).train()
    net(X).sum().backward()
    net[5].bias.requires_grad_(False)
    norm.eval()
    net.register_forward_hook(lambda module, args, output: None)
    net[0].register_full_backward_hook(lambda module, before, after: None)
    net[0].weight.register_hook(lambda gradient: None)
    return net


def everything(net: nn.Module) -> list[Any]:
    """All that a user could notice: values (copied), identities, versions, gradients, flags and hooks."""
    seen: list[Any] = [torch.get_rng_state().tolist()]
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        gradient = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        hooks = list((tensor._backward_hooks or {}).items())
        seen.append((name, id(tensor), tensor._version, tensor.requires_grad, tensor.tolist(), gradient, hooks))
    for name, module in net.named_modules():
        hooks = {key: list(value.items()) for key, value in vars(module).items() if key.endswith("_hooks")}
        seen.append((name, id(module), module.training, sorted(vars(module)), hooks))
    return seen


@pytest.mark.parametrize("kind", MODELS)
def test_using_a_model_touches_nothing_of_the_network_it_was_made_from(kind, tmp_path):
    net, x = busy_net(), X.clone()
    before = everything(net)
    model = wrap(kind, net)
    draws = model.draw(20, seed=0)
    model.logits(x, draws.keep())
    model.divergence()
    predict(model, x, draws)
    draws.save(tmp_path / "draws")
    model.save(tmp_path / "model")
    assert everything(net) == before
    for name, norm in ATTACK_NORMS:
        if kind in ("module", "matrix_estimation") and fixed(name, "draws") in SCHEMES:
            continue
        if (kind, fixed(name, "draws")) in (("chain", "moments"), ("ensemble", "moments"), ("ensemble", "mean")):
            continue
        words = {} if "norm" in getattr(ATTACKS[name], "keywords", {}) else {"norm": norm}
        ATTACKS[name](model, x, Y, eps=[0.0, 0.1], batch_size=4, **words, **SHORT.get(name, {}))
        assert everything(net) == before, name
    assert torch.equal(x, X)
    assert x.grad is None


def test_a_module_that_a_network_holds_twice_keeps_its_tensors():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.ReLU())
    net.append(net[1])
    model = wrap("mean_field", net)
    before = dict(model.net.named_parameters())
    model.logits(X, model.draw(2, seed=0))
    assert all(tensor is before[name] for name, tensor in model.net.named_parameters())
    other = nn.Linear(12, 12)
    other.weight = net[1].weight
    net.append(other)
    model = wrap("mean_field", net)
    (state,) = list(model.draw(1, seed=0))
    by_hand = nn.functional.linear(
        nn.functional.linear(
            nn.functional.linear(X.flatten(1), state["1.weight"], state["1.bias"]).relu(),
            state["1.weight"],
            state["1.bias"],
        ),
        state["1.weight"],
        state["4.bias"],
    )
    torch.testing.assert_close(model.logits(X, model.draw(1, seed=0))[0], by_hand)
    assert all(tensor is model.fixed[name] for name, tensor in model.net.named_parameters())
