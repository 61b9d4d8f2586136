"""Spatial attack: what a warp and the cost of a flow are, and that displacements stay small and do harm."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from oracles import CoinClassifier, raises_sentence, small_inputs, small_model
from oracles import precise_model as model
from unshaken import load, spatial
from unshaken.attacks import ATTACKS
from unshaken.attacks.losses import cw
from unshaken.attacks.spatial import flow_cost, warp
from unshaken.models import Deterministic, shared_draws
from unshaken.models.draws import generator
from unshaken.report.accuracy import accuracy_table, panels
from unshaken.runs.parts import all_arguments, resolve_part
from unshaken.runs.recipe import read_recipe
from unshaken.runs.run import run
from unshaken.store import read_rows

X, Y = small_inputs(dtype=torch.float64)
EPS = [0.0, 0.02, 0.1, 0.5]


def small_cnn(dtype: torch.dtype = torch.float32) -> nn.Module:
    """For digits."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10)]
        return nn.Sequential(*parts).to(dtype)


def flows(scale: float, like: Tensor = X) -> Tensor:
    shape = (len(like), 2, *like.shape[2:])
    return scale * (2 * torch.rand(shape, dtype=like.dtype, generator=generator(3, 0)) - 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(28, 28), (5, 7), (1, 3), (1, 1)])
def test_a_flow_of_zero_gives_x_back_exactly_and_no_flow_leaves_its_range(dtype, shape):
    x = torch.rand(4, 3, *shape, dtype=dtype, generator=generator(0, 0))
    assert torch.equal(warp(x, flows(0.0, x)), x)
    assert torch.equal(warp(torch.ones_like(x), flows(0.3, x)), torch.ones_like(x))
    warped = warp(x, flows(2.0, x))
    assert x.min() <= warped.min() <= warped.max() <= x.max()


def test_a_flow_of_whole_pixels_shifts_the_image_and_repeats_its_edge():
    x = torch.arange(12.0).view(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    flow[:, 0], flow[:, 1] = 1 / 3, -1 / 4  # from one row below and one column to the left
    expected = torch.tensor([[4, 4, 5, 6], [8, 8, 9, 10], [8, 8, 9, 10]]).float()
    torch.testing.assert_close(warp(x, flow)[0, 0], expected)


def test_it_is_the_bilinear_interpolation_of_torch():
    x = torch.rand(5, 3, 6, 8, dtype=torch.float64, generator=generator(1, 0))
    flow = flows(0.3, x)
    down, right = ((2 * torch.arange(n, dtype=x.dtype) + 1) / n - 1 for n in (6, 8))
    at = torch.stack([right.expand(6, 8) + 2 * flow[:, 1], down[:, None].expand(6, 8) + 2 * flow[:, 0]], -1)
    expected = nn.functional.grid_sample(x, at, padding_mode="border", align_corners=False)
    torch.testing.assert_close(warp(x, flow), expected)


def test_a_warp_can_be_differentiated_in_images_and_flow():
    x = X[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(warp, (x, flows(0.1)[:2].requires_grad_()))


def test_the_cost_of_a_flow_is_that_of_its_neighbours_and_has_a_gradient_at_zero():
    flow = flows(0.5)
    for one, cost in zip(flow, flow_cost(flow), strict=True):
        expected = 0.0
        for i, j in itertools.product(range(3), range(4)):
            for k, m in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                if 0 <= k < 3 and 0 <= m < 4:
                    expected += float(((one[:, i, j] - one[:, k, m]).square().sum() + 1e-8).sqrt() - 1e-4)
        assert math.isclose(float(cost), expected)
    torch.testing.assert_close(flow_cost(torch.full((2, 2, 3, 4), 0.3)), torch.zeros(2), atol=1e-9, rtol=0)
    zero = torch.zeros(2, 2, 3, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(flow_cost(zero).sum(), zero)
    assert not gradient.any()
    assert torch.autograd.gradcheck(flow_cost, flow.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_result_is_in_the_box_and_size_zero_gives_x_back(dtype):
    x = X.to(dtype)
    x_adv = spatial(small_model("mean_field", dtype=dtype), x, Y, eps=EPS, steps=4)
    assert x_adv.shape == (4, *X.shape)
    assert x_adv.dtype == dtype
    assert not x_adv.requires_grad
    assert torch.equal(x_adv[0], x)
    assert 0 <= x_adv.min() <= x_adv.max() <= 1
    assert all((moved != x).flatten(1).any(1).all() for moved in x_adv[1:])


def test_displacements_are_at_most_as_large_as_told():
    """In a ramp from 0 to 1 the change of a pixel is its displacement to the right."""
    ramp = torch.linspace(0, 1, 11, dtype=torch.float64).expand(3, 1, 5, 11)
    net = Deterministic(nn.Sequential(nn.Flatten(), nn.Linear(55, 3)).double())
    for eps in (0.02, 0.1):
        moved = spatial(net, ramp, Y[:3], eps=eps, steps=5, step_size=0.3, flow_weight=0.0) - ramp
        assert moved.abs().max() <= eps * 11 / 10 + 1e-9  # 11 pixels are 10 steps of the ramp
        assert moved.abs().max() > 0.99 * eps * 11 / 10


def test_the_loss_rises_and_a_larger_size_does_more():
    net = Deterministic(small_cnn(torch.float64))
    x = torch.rand(8, 1, 8, 8, dtype=torch.float64, generator=generator(4, 0))
    y = net.logits(x, net.mean())[0].argmax(-1)
    losses = [cw(net.logits(x_adv, net.mean()), y) for x_adv in spatial(net, x, y, eps=[0.0, 0.02, 0.1], draws=1)]
    assert (losses[1] > losses[0]).all()
    assert (losses[2] > losses[1]).all()


def test_each_step_climbs_the_loss_less_the_cost_of_the_flow():
    """Two steps by hand, with torch's own Adam through the warp."""
    net = model()
    draws = net.draw(3, seed=5)
    flow = torch.zeros(len(X), 2, 3, 4, dtype=X.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([flow], lr=0.04, eps=1e-9, maximize=True)
    for _ in range(2):
        optimizer.zero_grad()
        (cw(net.logits(warp(X, flow), draws), Y) - 0.2 * flow_cost(flow)).sum().backward()
        optimizer.step()
        with torch.no_grad():
            flow.clamp_(-0.05, 0.05)
    x_adv = spatial(net, X, Y, eps=0.05, steps=2, step_size=0.04, flow_weight=0.2, draws=draws)
    torch.testing.assert_close(x_adv, warp(X, flow).detach())


def test_a_smoother_flow_is_had_by_a_larger_weight():
    ramp = torch.linspace(0, 1, 8, dtype=torch.float64).expand(2, 1, 8, 8)  # its change tells the flow to the right
    net = Deterministic(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double())
    rough, smooth = (spatial(net, ramp, Y[:2], eps=0.1, flow_weight=weight) - ramp for weight in (0.0, 10.0))
    assert smooth.diff(dim=3)[..., 1:-1].abs().mean() < rough.diff(dim=3)[..., 1:-1].abs().mean() / 2


def test_a_list_of_sizes_is_one_call_for_each_and_so_is_a_size_for_each_input():
    settings = {"steps": 3, "draws": 2}
    sizes = [*EPS, torch.linspace(0, 0.3, len(X))]
    together = spatial(model(), X, Y, eps=sizes, **settings)
    for eps, x_adv in zip(sizes, together, strict=True):
        torch.testing.assert_close(x_adv, spatial(model(), X, Y, eps=eps, **settings))
    part_only = spatial(model(), X[[4, 1]], Y[[4, 1]], eps=EPS, batch_size=1, **settings)
    torch.testing.assert_close(part_only, together[:4, [4, 1]])


def test_the_first_gradient_serves_all_sizes_and_is_shown():
    net, calls = model(), []
    spatial(net, X, Y, eps=EPS, steps=3, draws=2, on_gradient=lambda step, gradient: calls.append((step, gradient)))
    assert net.cost.gradients == net.cost.forwards == 2 * len(X) * (1 + 2 * len(EPS))
    assert [(step, len(gradient)) for step, gradient in calls] == [(0, len(X)), (1, 4 * len(X)), (2, 4 * len(X))]


def test_seeds_draws_and_modes_are_those_of_other_attacks():
    net, settings = model(), {"eps": 0.1, "steps": 2}
    one = spatial(net, X, Y, seed=1, **settings)
    with torch.no_grad():
        assert torch.equal(spatial(net, X, Y, seed=1, **settings), one)
    assert not torch.equal(spatial(net, X, Y, seed=2, **settings), one)
    draws = net.draw(5, seed=3)
    assert shared_draws(spatial(net, X, Y, draws=draws, **settings), draws) == 5
    assert torch.equal(spatial(CoinClassifier(0.7), X, 0 * Y, **settings), X)
    with torch.inference_mode(), raises_sentence("an attack needs gradients"):
        spatial(net, X, Y, **settings)


def test_only_images_are_warped_and_a_recipe_sets_no_norm():
    net = model()
    with raises_sentence(r"a spatial attack moves pixels of images \(B, C, H, W\); got \(6, 12\)"):
        spatial(net, X.flatten(1), Y, eps=0.1)
    with raises_sentence("flow_weight must be a finite number, 0 or more; got -1"):
        spatial(net, X, Y, eps=0.1, flow_weight=-1)
    assert net.cost.forwards == 0
    assert all_arguments(ATTACKS, resolve_part("attack", ATTACKS, {"kind": "spatial"}))["norm"] == "flow"
    with raises_sentence("unknown setting 'norm'"):
        resolve_part("attack", ATTACKS, {"kind": "spatial", "norm": "linf"})


def test_a_small_trained_network_falls():
    data = load("digits", split="train", limit=400)
    net = small_cnn()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(data.x), data.y).backward()
        optimizer.step()
    model, x, y = Deterministic(net), data.x[:100], data.y[:100]
    right = [
        float((model.logits(x_adv, model.mean())[0].argmax(-1) == y).float().mean())
        for x_adv in spatial(model, x, y, eps=[0.0, 0.03, 0.1], draws=1)
    ]
    assert right[0] > 0.9
    assert right[2] < right[1] < right[0]
    assert right[2] < 0.3


RECIPE = """
[data]
name = "digits"
train_limit = 200
test_limit = 30
[network]
kind = "mlp"
widths = [16]
[model]
kind = "mean_field"
[training]
epochs = 4
optimizer = { kind = "adam", lr = 0.01 }
[evaluation]
eps = [0.05, 0.2]
draws = 6
repeats = 1
[[attacks]]
kind = "spatial"
steps = 3
draws = 2
[[attacks]]
kind = "carlini_wagner"
steps = 10
search_steps = 2
draws = 2
eps = [0.5, 2.0]
[[attacks]]
kind = "one_step_cw"
draws = 2
eps = [8.0]
"""


def test_a_recipe_runs_the_attacks_and_a_report_names_them(tmp_path: Path) -> None:
    (tmp_path / "moved.toml").write_text(RECIPE)
    folder = run(read_recipe(str(tmp_path / "moved.toml")), out=tmp_path / "runs")
    rows = pd.concat([read_rows(path)[0] for path in folder.glob("rows/*.parquet")])
    moved = rows[rows.attack == "spatial"]
    assert set(moved.norm) == {"flow"}
    assert set(moved.role) == {"sweep"}
    assert moved.zero_gradient.notna().all()
    assert moved[moved.eps == 0.2].correct.mean() < rows[rows.attack == "none"].correct.mean()
    nearest = rows[(rows.attack == "carlini_wagner") & (rows.role == "sweep")]
    assert (nearest["size"] <= nearest.eps + 1e-6).all()
    assert set(rows[rows.attack == "one_step_cw"].loss) == {"logit_sum"}
    assert set(rows[rows.attack == "carlini_wagner"].role) == {"check", "sweep"}
    named = {panel.title: {*panel.curves} for panel in panels(accuracy_table(rows))}
    alone = {"flow norm": {"SPATIAL-2"}, "L2 norm, a step of its own": {"ONE-STEP-CW-2"}}
    assert named == alone | {"L2 norm": {"CARLINI-WAGNER-2"}}
