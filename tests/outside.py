"""Parts that a user would write outside the package, named in recipes as "outside:function"."""

import os
import time
from pathlib import Path

import torch
from torch import nn


def failing_attack(model, x, y, *, eps, seed, draws: int = 1):
    """An attack that cannot work."""
    raise RuntimeError("no such luck")


def logging_attack(model, x, y, *, eps, seed):
    """Leaves inputs alone and a line in the file that $ATTACK_LOG names; waits for another process to do so too."""
    log = Path(os.environ["ATTACK_LOG"])
    with log.open("a") as file:
        file.write(f"{os.getpid()} {seed}\n")
    for _ in range(600):
        if len({line.split()[0] for line in log.read_text().splitlines()}) > 1:
            break
        time.sleep(0.1)
    return torch.stack([x] * len(eps))


def noise_attack(model, x, y, *, eps, seed, draws: int = 1, loss: str = "cw"):
    """Uniform noise of the largest size; it needs no gradient."""
    rng = torch.Generator().manual_seed(seed)
    noise = torch.rand(x.shape, generator=rng) * 2 - 1
    return torch.stack([(x + size * noise).clamp(0, 1) for size in eps])


def dropout_net(shape, classes: int, *, p: float = 0.2) -> nn.Module:
    """A network whose dropout is switched on by hand."""
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 16), nn.Dropout(p), nn.Linear(16, classes)
    )
    return net.eval().requires_grad_(False).train()


def stored_net(shape, classes: int) -> nn.Module:
    """A network whose weights are what the file that $STORED_NET names says."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))
    nn.init.constant_(net[1].weight, float(Path(os.environ["STORED_NET"]).read_text()))
    return net


def smooth_net(shape, classes):
    """A layer that moment propagation has no rule for."""
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], 8), nn.Tanh(), nn.Linear(8, classes))


def spread(model, x, y, *, seed, draws: int = 4):
    """An analysis: the standard deviation of the logits over draws, one row per input."""
    import pandas as pd

    logits = model.logits(x, model.draw(draws, seed=seed))
    return pd.DataFrame({"index": range(len(x)), "spread": logits.std(0).mean(-1).numpy()})
