"""Training: what it minimises goes down, it resumes to the same bits, and it stops early when it cannot work."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from oracles import raises_sentence
from unshaken.evaluation.predict import predict
from unshaken.models import Deterministic, MeanField, SeededModule
from unshaken.networks import mlp
from unshaken.training import OPTIMIZERS, train
from unshaken.training.augment import crop_flip
from unshaken.training.inputs import adversarial, constant_noise, variable_noise
from unshaken.training.loop import minibatches
from unshaken.training.objectives import cross_entropy, elbo, trades
from unshaken.training.schedules import SCHEDULES, cosine, steps


def blobs(n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes, bright and dark images."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    return (0.3 + 0.4 * y[:, None, None, None] + 0.1 * torch.rand(n, 1, 3, 3, generator=rng)).clamp(0, 1), y


def new_model(seed: int = 0) -> MeanField:
    torch.manual_seed(seed)
    return MeanField(mlp((1, 3, 3), 2, widths=(8,)), prior_scale=0.5)


@pytest.mark.parametrize("objective", [cross_entropy, elbo])
def test_a_mean_field_network_learns(objective) -> None:
    model, (x, y) = new_model(), blobs()
    history = train(
        model, x, y, objective=objective, epochs=15, batch_size=20, optimizer=partial(torch.optim.Adam, lr=0.01)
    )
    assert history[-1].loss < history[0].loss
    assert history[-1].accuracy > 0.95
    assert (predict(model, x, model.draw(20, seed=1)).argmax(-1) == y).float().mean() > 0.95


def test_a_deterministic_network_learns_with_its_batch_statistics() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
    model, (x, y) = Deterministic(net), blobs()
    train(model, x, y, objective=cross_entropy, epochs=10, batch_size=20)
    assert (predict(model, x, model.mean()).argmax(-1) == y).float().mean() > 0.95
    assert net[2].running_mean.abs().sum() > 0, "the user's own network was trained"
    assert not model.net.training, "the network is back in eval mode"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_that_was_cut_off_ends_with_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    (x, y), make = blobs(), partial(OPTIMIZERS[optimizer], lr=0.01)
    if optimizer == "sgd":
        make = partial(make, momentum=0.9)
    whole, first, second = new_model(), new_model(), new_model(seed=9)
    uninterrupted = train(whole, x, y, epochs=4, optimizer=make)
    train(first, x, y, epochs=2, optimizer=make, checkpoint=tmp_path / "c")
    resumed = train(second, x, y, epochs=4, optimizer=make, checkpoint=tmp_path / "c")
    assert [epoch.loss for epoch in resumed] == [epoch.loss for epoch in uninterrupted]
    assert torch.equal(whole.mean_vector, second.mean_vector)
    assert torch.equal(whole.rho_vector, second.rho_vector)
    assert list(tmp_path.iterdir()) == [tmp_path / "c"], "no temporary file is left"


@pytest.mark.parametrize("schedule", [cosine, partial(steps, at=[1, 3], factor=0.5)])
def test_a_scheduled_and_augmented_run_that_was_killed_ends_with_the_same_bits(tmp_path: Path, schedule) -> None:
    (x, y), settings = blobs(), {"schedule": schedule, "augment": partial(crop_flip, padding=1), "epochs": 5}
    settings["optimizer"] = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    whole, killed, resumed = new_model(), new_model(), new_model(seed=9)
    uninterrupted = train(whole, x, y, **settings)

    def kill(done: int, total: int, note: str) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(killed, x, y, **settings, checkpoint=tmp_path / "c", progress=kill)
    history = train(resumed, x, y, **settings, checkpoint=tmp_path / "c")
    assert [epoch.loss for epoch in history] == [epoch.loss for epoch in uninterrupted]
    assert torch.equal(whole.mean_vector, resumed.mean_vector)


def watched_rates(rates: list[list[float]], lr: float = 0.1):
    """SGD for two groups, the second at twice the rate, that notes the rates of every step."""

    def optimizer(params):
        first, *rest = params
        sgd = torch.optim.SGD([{"params": [first]}, {"params": rest, "lr": 2 * lr}], lr=lr)
        sgd.register_step_pre_hook(lambda sgd, *_: rates.append([group["lr"] for group in sgd.param_groups]))
        return sgd

    return optimizer


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_schedule_scales_the_rates_of_all_groups_once_per_epoch(name: str) -> None:
    rates: list[list[float]] = []
    schedule = partial(SCHEDULES[name], **({"at": [1, 2]} if name == "steps" else {}))
    train(new_model(), *blobs(), epochs=3, schedule=schedule, optimizer=watched_rates(rates), batch_size=100)
    assert rates == [[0.1 * schedule(epoch, 3), 0.2 * schedule(epoch, 3)] for epoch in (0, 0, 1, 1, 2, 2)]


@pytest.mark.parametrize("factor", [-1.0, float("nan")])
def test_a_schedule_that_gives_no_rate_is_refused_before_the_first_step(factor: float) -> None:
    model = new_model()
    before = model.mean_vector.clone()
    with pytest.raises(ValueError, match="a schedule multiplies the learning rate by must be a finite number"):
        train(model, *blobs(), epochs=3, schedule=lambda epoch, epochs: factor if epoch else 1.0)
    assert torch.equal(model.mean_vector, before)


def test_inputs_see_the_augmented_batch_and_every_step_is_augmented_anew() -> None:
    seeds: list[int] = []

    def dark(x, *, seed):
        seeds.append(seed)
        return torch.zeros_like(x)

    def watched(model, x, y, *, seed):
        assert x.eq(0).all()
        return x, y

    train(new_model(), *blobs(), augment=dark, inputs=watched, epochs=3, batch_size=50)
    assert len(seeds) == len(set(seeds)) == 12


def test_inputs_may_hold_every_input_twice_with_its_label() -> None:
    x, y = blobs()

    def copied(model, x, y, *, seed):
        return torch.cat([x, x]), torch.cat([y, y])

    settings = {
        "objective": cross_entropy,
        "epochs": 2,
        "batch_size": 60,
        "optimizer": partial(torch.optim.SGD, lr=0.1),
    }
    plain, doubled = new_model(), new_model()
    a, b = train(plain, x, y, **settings), train(doubled, x, y, inputs=copied, **settings)
    assert [epoch.loss for epoch in b] == pytest.approx([epoch.loss for epoch in a], rel=1e-4)
    torch.testing.assert_close(doubled.mean_vector, plain.mean_vector, rtol=1e-4, atol=1e-6)


def test_every_module_is_back_in_its_own_mode_after_training() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)).eval()
    net[3].train()
    train(SeededModule(net), *blobs(), objective=cross_entropy, epochs=1)
    assert [module.training for module in net] == [False, False, False, True, False]


def test_draws_follow_an_optimizer_that_hides_its_changes() -> None:
    model, (x, y) = new_model(), blobs()
    model.draw(1, seed=0)
    train(model, x, y, epochs=20, batch_size=20, optimizer=partial(torch.optim.Adam, lr=0.01, fused=True))
    assert (predict(model, x, model.draw(20, seed=1)).argmax(-1) == y).float().mean() > 0.95


def test_training_without_gradients_is_refused() -> None:
    with torch.no_grad(), pytest.raises(ValueError, match="training needs gradients"):
        train(new_model(), *blobs())


def test_a_checkpoint_with_more_epochs_than_asked_for_is_refused(tmp_path: Path) -> None:
    train(new_model(), *blobs(), epochs=2, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match="has 2 epochs behind it, more than the 1 asked for"):
        train(new_model(), *blobs(), epochs=1, checkpoint=tmp_path / "c")


def test_the_seed_is_all_the_randomness() -> None:
    x, y = blobs()
    a, b, c = new_model(), new_model(), new_model()
    train(a, x, y, epochs=1, seed=1)
    torch.rand(5)
    train(b, x, y, epochs=1, seed=1)
    train(c, x, y, epochs=1, seed=2)
    assert torch.equal(a.mean_vector, b.mean_vector)
    assert not torch.equal(a.mean_vector, c.mean_vector)


def test_every_step_of_every_epoch_has_randomness_of_its_own() -> None:
    seeds: list[int] = []

    def watched(model, x, y, *, seed):
        seeds.append(seed)
        return x, y

    train(new_model(), *blobs(), inputs=watched, epochs=3, batch_size=50)
    assert len(seeds) == len(set(seeds)) == 12


def test_a_loss_that_is_nan_stops_at_once_and_says_where() -> None:
    model, (x, y) = new_model(), blobs()
    with pytest.raises(ValueError, match=r"the loss became (nan|inf) in epoch 1, step \d+: a lower learning rate"):
        train(model, x, y, optimizer=partial(torch.optim.SGD, lr=1e30))
    assert not model.net.training


def test_progress_tells_steps_loss_and_accuracy() -> None:
    notes: list[tuple[int, int, str]] = []
    x, y = blobs()
    train(new_model(), x, y, epochs=2, batch_size=150, progress=lambda *note: notes.append(note))
    assert [(done, total) for done, total, _ in notes] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert notes[0][2].startswith("loss ")
    assert ", accuracy " in notes[-1][2]


@pytest.mark.parametrize(
    ("settings", "message"), [({"epochs": 0}, "epochs must be"), ({"batch_size": 0}, "batch_size must be")]
)
def test_bad_settings(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(new_model(), *blobs(), **settings)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    x, y = blobs()
    train(new_model(), x, y, epochs=1, checkpoint=tmp_path / "c")
    other = MeanField(mlp((1, 3, 3), 2, widths=(9,)))
    with pytest.raises(ValueError, match="a checkpoint of another architecture"):
        train(other, x, y, epochs=2, checkpoint=tmp_path / "c")


@pytest.mark.parametrize("passes", [1, 3])
def test_an_epoch_meets_every_copy_of_every_input_once(passes: int) -> None:
    members = torch.arange(50)
    batches = list(minibatches(members, passes, 8, seed=5, epoch=2))
    points = [point for batch in batches for point in zip(batch.index.tolist(), batch.copy.tolist(), strict=True)]
    assert sorted(points) == [(index, copy) for index in range(50) for copy in range(passes)]
    assert len({int(copy) for copy in batches[0].copy}) == passes, "copies are mixed within a minibatch"
    other = next(minibatches(members, passes, 8, seed=5, epoch=3))
    assert not torch.equal(other.index, batches[0].index)


def test_constant_noise_has_the_same_points_in_every_epoch() -> None:
    x, y = blobs(20)
    batches = []

    def objective(model, x, y, *, examples, seed):
        assert examples == 20
        batches.append(x.clone())
        return cross_entropy(model, x, y, examples=examples, seed=seed)

    for noise in (constant_noise, variable_noise):
        batches.clear()
        inputs = partial(noise, size=0.2, copies=2, clean=True)
        history = train(new_model(), x, y, inputs=inputs, objective=objective, epochs=2, batch_size=7)
        assert len(batches) == 2 * 3 * 3
        first, second = (torch.cat(half).flatten(1).unique(dim=0) for half in (batches[:9], batches[9:]))
        assert len(first) == 60
        assert torch.equal(first, second) == (noise is constant_noise)
        assert history[0].forwards == 60 + 10 * 20


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("copies", [-3, -1, 0])
def test_fewer_copies_than_one_are_refused_and_not_trained_on(copies: int, clean: bool) -> None:
    x, y = blobs(20)
    with raises_sentence(f"copies must be a whole number, 1 or more; got {copies}"):
        train(new_model(), x, y, inputs=partial(constant_noise, size=0.2, copies=copies, clean=clean), epochs=1)


def test_training_on_an_extended_set_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    (x, y), inputs = blobs(30), partial(constant_noise, size=0.2, copies=3)
    whole, first, second = new_model(), new_model(), new_model(seed=9)
    train(whole, x, y, inputs=inputs, epochs=2)
    train(first, x, y, inputs=inputs, epochs=1, checkpoint=tmp_path / "c")
    train(second, x, y, inputs=inputs, epochs=2, checkpoint=tmp_path / "c")
    assert all(torch.equal(tensor, whole.tensors()[name]) for name, tensor in second.tensors().items())


def test_trades_needs_an_attack_on_the_inputs() -> None:
    x, y = blobs(20)
    with raises_sentence(
        "the objective looks at inputs before and after they are moved: it needs inputs of kind 'adversarial', "
        "'langevin' or 'wasserstein'"
    ):
        train(new_model(), x, y, objective=trades, epochs=1)
    inputs = partial(adversarial, eps=0.1, probability=1.0)
    assert len(train(new_model(), x, y, inputs=inputs, objective=trades, epochs=1)) == 1
