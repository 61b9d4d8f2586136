"""Recipes of ensembles: members, models made of others, replicas, what fools all members of a source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from small_recipes import all_rows, read, record_of

from oracles import raises_sentence
from unshaken.attacks import load_transfer_set
from unshaken.data import load
from unshaken.evaluation.predict import predict
from unshaken.models import Deterministic, Ensemble, Together
from unshaken.report import report
from unshaken.report.stored_run import load_run
from unshaken.runs.loading import new_model
from unshaken.runs.plan import plan, source_of
from unshaken.runs.recipe import Recipe
from unshaken.runs.run import Worker, failed_units, run
from unshaken.runs.units import ModelSource, TrainUnit, TransferUnit

RECIPE = """
[data]
name = "digits"
train_limit = 200
test_limit = 40
[network]
kind = "mlp"
widths = [12]
[model]
kind = "deterministic"
[training]
epochs = 4
batch_size = 20
objective = { kind = "mixture" }
optimizer = { kind = "adam", lr = 0.02 }
[sweep.method]
first = {}
second = { replica = 1 }
both = { model = { kind = "joined", of = ["first", "second"] } }
two = { model = { kind = "ensemble" } }
"member 2" = { model = { kind = "member", of = ["two"], number = 2 } }
"by logit" = { model = { kind = "joined", of = ["two"], combine = "logit" } }
[sweep.method.unlike]
network = [{ kind = "mlp", widths = [8] }, { kind = "mlp", widths = [6, 6] }]
model = { kind = "ensemble", combine = "logit" }
[transfer]
sources = ["unlike"]
keep = "fooled"
[evaluation]
eps = [0.05, 0.15]
draws = "all"
repeats = 1
[[attacks]]
kind = "pgd"
draws = "all"
steps = 4
"""


MEAN_FIELD = "{model={kind='mean_field'}}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(RECIPE)
    return tmp_path / "small.toml"


@pytest.fixture(scope="module")
def worker(tmp_path_factory) -> Worker:
    """A run that has been made, with its models."""
    folder = tmp_path_factory.mktemp("ensembles")
    (folder / "small.toml").write_text(RECIPE)
    recipe = read(folder / "small.toml")
    run(recipe, out=folder / "runs")
    worker = Worker(recipe, folder / "runs", None, torch.device("cpu"), print)
    worker.work()
    return worker


def sources_of(recipe: Recipe) -> list[ModelSource]:
    return [source_of(recipe.config, model) for model in recipe.config.models]


def test_models_are_what_the_recipe_says(worker: Worker) -> None:
    assert not failed_units(worker.folder.path)
    kinds = {label: type(model) for label, model in worker.models.items()}
    assert kinds == {
        "first": Deterministic,
        "second": Deterministic,
        "both": Ensemble,
        "two": Ensemble,
        "unlike": Together,
        "member 2": Deterministic,
        "by logit": Together,
    }
    assert [len(net) for net in (member.net for member in worker.models["unlike"].model.members)] == [4, 6]


def test_models_that_are_trained_apart_are_joined(worker: Worker) -> None:
    models, x = worker.models, load("digits", limit=40).x
    each = [predict(models[name], x, models[name].all()) for name in ("first", "second")]
    assert not torch.allclose(*each)
    torch.testing.assert_close(predict(models["both"], x, models["both"].all()), (each[0] + each[1]) / 2)


def test_a_member_and_another_mean_are_of_the_trained_ensemble(worker: Worker) -> None:
    models, x = worker.models, load("digits", limit=40).x
    two = models["two"]
    one = models["member 2"]
    torch.testing.assert_close(predict(one, x, one.all()), two.logits(x, two.all())[1].softmax(-1).detach())
    logit = two.logits(x, two.all()).mean(0).softmax(-1).detach()
    torch.testing.assert_close(predict(models["by logit"], x, models["by logit"].all()), logit)


def test_every_model_is_predicted_and_attacked_with_all_its_members(worker: Worker) -> None:
    rows = all_rows(worker.folder.path)
    draws = rows[rows.attack == "none"].groupby("model").inference_draws.first()
    assert draws.to_dict() == {
        "first": 1, "second": 1, "both": 2, "two": 2, "unlike": 1, "member 2": 1, "by logit": 1
    }  # fmt: skip
    assert set(rows[rows.attack == "pgd"].attack_draws) == {"all"}
    assert (rows.shared_draws <= 0).all()
    reported = load_run(worker.folder.path).rows
    assert set(reported.inference_draws) == {1}
    assert reported.votes.between(0, 1).all()
    assert 0.5 in set(reported.votes)


def test_only_what_fools_every_member_of_the_source_is_given_to_others(worker: Worker) -> None:
    rows, (file,) = all_rows(worker.folder.path), worker.folder.path.glob("perturbations/*.safetensors")
    perturbations, data = load_transfer_set(file), load("digits", limit=40)
    source = worker.models["unlike"].model
    fooled = torch.stack([member.net(perturbations.x_adv[1]).argmax(-1) for member in source.members])
    assert 0 < len(perturbations.ids) < 40
    transferred = rows[(rows.role == "transfer") & (rows.model == "first")]
    indices = sorted(set(transferred["index"]))
    assert len(indices) == len(perturbations.ids)
    assert (fooled != data.y[indices]).all()
    before = torch.stack([member.net(data.x[indices]).argmax(-1) for member in source.members])
    assert (before == data.y[indices]).any(0).all(), "nobody is fooled where all were wrong before"
    assert transferred.label.tolist() == data.y[transferred["index"].tolist()].tolist()
    assert "those that mislead every member at eps 0.15, and not all before" in perturbations.metadata["kept"]
    everywhere = rows[(rows.role == "sweep") & (rows.model == "unlike") & (rows.attack == "pgd") & (rows.eps == 0.15)]
    assert set(everywhere[everywhere.correct]["index"]).isdisjoint(indices)


def test_the_page_compares_them_and_the_same_command_repeats_nothing(worker: Worker) -> None:
    stamps = {file: file.stat().st_mtime_ns for file in worker.folder.path.glob("*/*.*") if "run.json" not in str(file)}
    assert run(worker.recipe, out=worker.folder.path.parent) == worker.folder.path
    assert stamps == {file: file.stat().st_mtime_ns for file in stamps}
    page = report(worker.folder.path).read_text(encoding="utf-8")
    sizes = record_of(worker.folder.path).sizes
    assert sizes["both"].parameters == 2 * sizes["first"].parameters
    assert sizes["two"].flops == sizes["by logit"].flops == 2 * sizes["first"].flops
    assert "inference draws at eps" not in page
    assert "Each input was predicted with one set of draws only" not in page  # they are all the members
    assert "a few networks, all of which an attack may know" in page
    table = pd.read_csv(worker.folder.path / "tables" / "accuracy.csv")
    assert (table.parameters > 0).all()


def test_replicas_differ_by_their_seed_alone(path: Path) -> None:
    first, second, *_ = sources_of(read(path))
    assert first.seed != second.seed
    assert replace(first, seed=second.seed) == second
    seeds = [source.seed for source in sources_of(read(path, "seed=[0, 1]"))[:4]]
    assert len(set(seeds)) == 4
    assert seeds[2] == second.seed


def test_models_of_a_seed_are_made_of_those_of_that_seed(path: Path) -> None:
    config = read(path, "seed=[0, 1]").config
    assert config.model("both, seed 1").components == ["first, seed 1", "second, seed 1"]
    units = [unit.label for unit in plan(read(path, "seed=[0, 1]")) if isinstance(unit, TrainUnit)]
    assert units.index("second, seed 0") < units.index("both, seed 0")


def test_networks_that_are_listed_may_be_set_together(path: Path) -> None:
    listed = '[[network]]\nkind = "mlp"\n[[network]]\nkind = "mlp"\nwidths = [3]\n[model]\nkind = "ensemble"\n'
    rest = RECIPE[RECIPE.index("[training]") : RECIPE.index("[sweep.method]")] + RECIPE[RECIPE.index("[evaluation]") :]
    path.write_text(RECIPE[: RECIPE.index("[network]")] + listed + rest)
    (source,) = sources_of(read(path, "network.widths=[5]"))
    assert [network.get("widths") for network in source.network] == [[5], [5]]
    assert len(new_model(source, load("digits", limit=2))) == 2


def test_what_fooled_all_networks_is_not_given_to_one_of_them(path: Path) -> None:
    def targets(*settings: str) -> set[str]:
        units = plan(read(path, "transfer.sources=['both']", *settings))
        return {unit.model for unit in units if isinstance(unit, TransferUnit)}

    assert targets() == {"two", "unlike", "member 2", "by logit"}
    assert targets("transfer.keep='all'") == {"first", "second", "two", "unlike", "member 2", "by logit"}


def test_what_fooled_is_of_the_first_network_of_a_group(path: Path) -> None:
    several = ["seed=[3, 4]"]
    assert read(path, *several).config.transfer.sources == ["unlike, seed 3"]
    named = [*several, "transfer.sources=['unlike, seed 4']"]
    assert read(path, *named).config.transfer.sources == ["unlike, seed 4"]
    every = [*several, "transfer.keep='all'"]
    assert read(path, *every).config.transfer.sources == ["unlike, seed 3", "unlike, seed 4"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["sweep.method.two.model.members=1"], "members must be a whole number, 2 or more: .*; got 1"),
        (["sweep.method.two.model.combine='vote'"], "unknown combine 'vote'"),
        (["sweep.method.both.model.of=['first', 'secnd']"], "both is made of: unknown model 'secnd': did you mean"),
        (["sweep.method.both.model.of=['first', 'both']"], "both is made of 'both', which is made of it"),
        (["sweep.method.both.model.of=['first']"], "members must be a whole number, 2 or more: .*; got 1"),
        (["sweep.method.'member 2'.model.number=3"], "number must be that of one of the 2 members, from 1; got 3"),
        (
            ["sweep.method.'member 2'.model.of=['first']"],
            "only an ensemble has members; first is of kind 'deterministic'",
        ),
        (["sweep.method.'member 2'.model.of=[]"], "member 2 is made of other models: of must name one or more"),
        (["sweep.method.unlike.model.members=3"], "members is 3, but 2 networks are listed"),
        (
            ["sweep.method.unlike.model={kind='mean_field'}"],
            "only an ensemble has several networks; got a 'mean_field'",
        ),
        (
            ["sweep.method.both.model.of=['first', 'first']"],
            "both is made of 'first' twice: an ensemble needs separate networks",
        ),
        (
            ["sweep.method.both.model.of=['two', 'member 2']"],
            "both is made of 'two' twice: an ensemble needs separate networks",
        ),
        (
            ["sweep.method.unlike.model.gate={kind='mlp'}"],
            "keep 'fooled' needs sources that are networks or ensembles; unlike is an ensemble with a gate",
        ),
        (["sweep.method.second.replica=0"], "replica must be a whole number, 1 or more; got 0"),
        (["attacks.draws='mean'"], "a 'ensemble' model has no mean network: attack it with a number of draws"),
        (["evaluation.draws='mean'"], "draws must be a whole number, 1 or more, or 'all'; got 'mean'"),
        (
            ["sweep.method.both=[]", f"sweep.method.first={MEAN_FIELD}"],
            "has more draws than can be listed: give a number",
        ),
        (
            ["sweep.method.both=[]", f"sweep.method.first={MEAN_FIELD}", "transfer.sources=['first']"],
            "keep 'fooled' needs sources that are networks or ensembles; first is mean_field",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence_before_any_work(
    path: Path, tmp_path: Path, settings: list[str], message: str
) -> None:
    with raises_sentence(message):
        run(read(path, *settings), out=tmp_path / "runs")
    assert not list(tmp_path.glob("runs/*/models/*"))


def test_a_transfer_set_for_other_data_is_refused(worker: Worker, path: Path, tmp_path: Path) -> None:
    (file,) = worker.folder.path.glob("perturbations/*.safetensors")
    with raises_sentence("these perturbations were made for other data .* 40 of the 40 inputs are not among its"):
        run(read(path, f"transfer.sets=['{file}']", "data.size=9"), out=tmp_path / "runs")
    run(
        read(path, f"transfer.sets=['{file}']", "sweep.method={first={}}", "transfer.sources=[]"), out=tmp_path / "runs"
    )
