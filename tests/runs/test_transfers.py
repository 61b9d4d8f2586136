"""Runs in which models are given the perturbations of others, or labels by a teacher."""

from pathlib import Path

import pytest
import torch
from small_recipes import all_rows

from oracles import raises_sentence, truncate
from unshaken.attacks import load_transfer_set, transfer_set
from unshaken.data import load, load_images
from unshaken.models import Deterministic
from unshaken.networks import mlp
from unshaken.report import report
from unshaken.runs.plan import plan
from unshaken.runs.recipe import read_recipe
from unshaken.runs.record import ModelRecord, read_record
from unshaken.runs.run import failed_units, run
from unshaken.runs.units import TrainUnit

RECIPE = """
[data]
name = "digits"
train_limit = 100
test_limit = 30
unlabelled = { name = "digits", skip = 100, limit = 150 }
[network]
kind = "mlp"
widths = [8]
[model]
kind = "deterministic"
[training]
epochs = 1
objective = { kind = "cross_entropy" }
[sweep.defence]
pupil = { training = { teacher = "standard" } }
standard = {}
noisy = { training = { inputs = { kind = "constant_noise", size = "1/4", copies = 2 } } }
[transfer]
sources = ["standard"]
[evaluation]
eps = [0.1, 0.2]
draws = 1
repeats = 1
[[attacks]]
kind = "fgsm"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(RECIPE)
    return tmp_path / "small.toml"


def model_records(folder: Path, name: str = "*") -> list[ModelRecord]:
    return [read_record(file, ModelRecord) for file in folder.glob(f"models/{name}.json")]


def test_a_source_attacks_every_other_model(path: Path, tmp_path: Path) -> None:
    folder = run(read_recipe(str(path)), out=tmp_path / "runs")
    assert not failed_units(folder)
    rows = all_rows(folder)
    transferred = rows[rows.role == "transfer"]
    assert set(transferred.model) == {"pupil", "noisy"}
    assert set(transferred.source) == {"standard"}
    assert set(rows[rows.role != "transfer"].source) == {""}
    assert transferred.groupby(["model", "eps"]).size().tolist() == [30] * 4
    white_box = rows[(rows.model == "standard") & (rows.role == "sweep") & (rows.attack == "fgsm")]
    for column in ("attack", "norm", "loss", "attack_draws", "steps", "restarts"):
        assert set(transferred[column]) == set(white_box[column])
    assert set(transferred.shared_draws) == {0.0}
    assert transferred["size"].max() <= 0.2 + 1e-6
    assert report(folder).is_file()


def test_transferred_rows_are_those_of_the_stored_perturbations(path: Path, tmp_path: Path) -> None:
    folder = run(read_recipe(str(path)), out=tmp_path / "runs")
    (stored,) = folder.glob("perturbations/*.safetensors")
    perturbations, data = load_transfer_set(stored), load("digits", limit=30)
    assert perturbations.metadata["source"] == "standard"
    assert perturbations.metadata["data"] == "digits"
    model = Deterministic(mlp((1, 8, 8), 10, widths=(8,)))
    (weights,) = folder.glob("models/noisy-*.safetensors")
    model.load(weights)
    rows = all_rows(folder)
    for size, x_adv in zip(perturbations.eps, perturbations.x_adv, strict=True):
        predicted = model.logits(x_adv, model.mean())[0].argmax(-1)
        stored_rows = rows[(rows.role == "transfer") & (rows.model == "noisy") & (rows.eps == size)].sort_values(
            "index"
        )
        assert stored_rows.predicted.tolist() == predicted.tolist()
        assert stored_rows.correct.tolist() == (predicted == data.y).tolist()


def test_perturbations_that_are_gone_are_made_again(path: Path, tmp_path: Path) -> None:
    recipe, messages = read_recipe(str(path)), list[str]()
    folder = run(recipe, out=tmp_path / "runs")
    (stored,) = folder.glob("perturbations/*.safetensors")
    before = load_transfer_set(stored).x_adv
    truncate(stored)
    run(recipe, out=tmp_path / "runs", say=messages.append)
    assert [message for message in messages if "truncated" in message]
    assert torch.equal(load_transfer_set(stored).x_adv, before)
    stored.unlink()
    run(recipe, out=tmp_path / "runs", say=messages.append)
    assert torch.equal(load_transfer_set(stored).x_adv, before)


def test_a_stored_set_is_given_to_every_model(path: Path, tmp_path: Path) -> None:
    data = load("digits", limit=30)
    torch.manual_seed(5)
    surrogate = Deterministic(mlp((1, 8, 8), 10))
    perturbations = transfer_set(
        surrogate, data.x, data.y, eps=[0.3], metadata={"source": "surrogate", "attack": "pgd"}
    )
    perturbations.save(tmp_path / "set.safetensors")
    settings = [f'transfer.sets=["{tmp_path / "set.safetensors"}"]', "transfer.sources=[]"]
    folder = run(read_recipe(str(path), settings=settings), out=tmp_path / "runs")
    transferred = all_rows(folder).query("role == 'transfer'")
    assert set(transferred.model) == {"pupil", "standard", "noisy"}
    assert set(transferred.source) == {"surrogate (set)"}
    assert set(transferred.attack) == {"pgd"}
    other = [*settings, "data.test_limit=31"]
    with raises_sentence(r"made for other data \(against surrogate\): 1 of the 31 inputs are not among its 30"):
        run(read_recipe(str(path), settings=other), out=tmp_path / "runs")


def test_what_was_made_against_the_very_same_network_is_no_transfer(path: Path, tmp_path: Path) -> None:
    first = run(read_recipe(str(path)), out=tmp_path / "runs")
    (stored,) = first.glob("perturbations/*.safetensors")
    settings = [f'transfer.sets=["{stored}"]', "transfer.sources=[]"]
    rows = all_rows(run(read_recipe(str(path), settings=settings), out=tmp_path / "runs"))
    assert set(rows[rows.role == "own"].model) == {"standard"}
    assert set(rows[rows.role == "transfer"].model) == {"pupil", "noisy"}


def test_sets_are_told_apart_by_the_names_of_their_files(path: Path, tmp_path: Path) -> None:
    data = load("digits", limit=30)
    files = [tmp_path / folder / "set.safetensors" for folder in "ab"]
    for seed, file in enumerate(files):
        torch.manual_seed(seed)
        model = Deterministic(mlp((1, 8, 8), 10))
        transfer_set(model, data.x, data.y, eps=[0.3], metadata={"source": "surrogate"}).save(file)
    settings = [f"transfer.sets={[str(file) for file in files]}", "transfer.sources=[]"]
    with raises_sentence("two of the sets are files called 'set': rename one"):
        run(read_recipe(str(path), settings=settings), out=tmp_path / "runs")
    other = files[1].rename(files[1].with_name("other.safetensors"))
    settings = [f"transfer.sets={[str(files[0]), str(other)]}", "transfer.sources=[]"]
    folder = run(read_recipe(str(path), settings=settings), out=tmp_path / "runs")
    assert set(all_rows(folder).source) == {"", "surrogate (set)", "surrogate (other)"}
    assert report(folder).is_file()


def test_an_objective_that_compares_needs_an_attack_before_any_work(path: Path, tmp_path: Path) -> None:
    settings = ["sweep.defence.noisy.training.objective.kind='trades'"]
    with raises_sentence("inputs of noisy: the objective looks at inputs before and after they are moved"):
        run(read_recipe(str(path), settings=settings), out=tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("*/models/*"))


def test_a_teacher_comes_first_and_labels_what_has_no_label(path: Path, tmp_path: Path) -> None:
    recipe = read_recipe(str(path))
    trained = [unit.model for unit in plan(recipe) if isinstance(unit, TrainUnit)]
    assert trained == ["standard", "pupil", "noisy"]
    folder = run(recipe, out=tmp_path / "runs")
    (record,) = model_records(folder, "pupil-*")
    # members: 100 inputs twice (150 / 100 is nearer to two) and 150 others; then the accuracy on 250 with ten draws
    assert record.history[0].forwards == 350 + 250
    other = read_recipe(str(path), settings=["data.unlabelled.skip=200"])
    again = run(other, out=tmp_path / "runs")
    borrowed = {record.model: record.taken_from is not None for record in model_records(again)}
    assert borrowed == {"pupil": False, "standard": True, "noisy": True}


def test_a_pupil_of_a_seed_has_the_teacher_of_that_seed(path: Path) -> None:
    models = read_recipe(str(path), settings=["seed=[3, 4]"]).config.models
    teachers = {model.label: model.training.teacher for model in models if model.training.teacher}
    assert teachers == {"pupil, seed 3": "standard, seed 3", "pupil, seed 4": "standard, seed 4"}


def test_without_its_teacher_a_pupil_fails_and_the_rest_goes_on(path: Path, tmp_path: Path) -> None:
    path.write_text(
        RECIPE.replace("standard = {}", "standard = { training = { optimizer = { kind = 'sgd', lr = 1e30 } } }")
    )
    messages: list[str] = []
    folder = run(read_recipe(str(path)), out=tmp_path / "runs", say=messages.append)
    assert [message for message in messages if "the model 'standard', which it needs, failed" in message]
    assert {unit.model for unit in failed_units(folder)} >= {"standard", "pupil"}
    assert set(all_rows(folder).model) == {"noisy"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["transfer.sources=['standrd']"], r"\[transfer\]: unknown source 'standrd': did you mean 'standard'"),
        (["sweep.defence.pupil.training.teacher='standrd'"], "unknown teacher 'standrd': did you mean 'standard'"),
        (["sweep.defence.pupil.training.teacher='pupil'"], "its teacher must be a model without a teacher"),
        (["transfer.source=['standard']"], r"\[transfer\]: unknown setting 'source': did you mean 'sources'"),
        (["transfer.sets=['gone.safetensors']"], r"\[transfer\]: sets: 'gone.safetensors' is not a file"),
        (["data.unlabelled.skipp=3"], r"\[data.unlabelled\]: unknown setting 'skipp': did you mean 'skip'"),
        (["data.unlabelled={name='digits', skip=-1}"], "skip must be a whole number, 0 or more; got -1"),
        (
            ["data.unlabelled={name='digits', skip=1300}"],
            "skip is 1300, but the train split of digits has only 1200 images",
        ),
        (
            ["data.unlabelled={name='digits', skip=1000, limit=300}"],
            "limit is 300, but .* only 200 images behind the first 1000",
        ),
        (["sweep.defence.noisy.training.inputs.size='x/255'"], "size must be a .*number.*; got 'x/255'"),
        (["sweep.defence.noisy.training.inputs.size='16/0'"], "the fraction '16/0' divides by zero"),
        (["sweep.defence.noisy.training.inputs.copies=0"], "copies must be a whole number, 1 or more; got 0"),
        (["sweep.defence.noisy.training.inputs.copies=-3"], "copies must be a whole number, 1 or more; got -3"),
        (["sweep.defence.noisy.training.inputs.noise='gausian'"], "unknown noise 'gausian': did you mean 'gaussian'"),
    ],
)
def test_mistakes_are_answered_before_any_work(path: Path, tmp_path: Path, settings: list[str], message: str) -> None:
    with raises_sentence(message):
        run(read_recipe(str(path), settings=settings), out=tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("*/models/*"))


def test_a_teacher_needs_images(path: Path) -> None:
    path.write_text(RECIPE.replace("unlabelled =", "#"))
    with raises_sentence(r"pupil has a teacher: \[data.unlabelled\] must say on which images"):
        read_recipe(str(path))


def test_unlabelled_images_of_another_shape_are_refused(path: Path, tmp_path: Path) -> None:
    from datasets import Dataset, Features, Image
    from PIL import Image as Picture

    (tmp_path / "root" / "others").mkdir(parents=True)
    pictures = [Picture.new("L", (9, 8), shade) for shade in (0, 100, 200)]
    features = Features({"image": Image()})
    Dataset.from_dict({"image": pictures}, features=features).to_parquet(tmp_path / "root" / "others" / "train.parquet")
    settings = [f"data.unlabelled={{name='{tmp_path / 'root' / 'others'}', skip=0, limit=3}}"]
    with raises_sentence(r"unlabelled inputs must have the shape of the others, \(1, 8, 8\); got \(1, 8, 9\)"):
        run(read_recipe(str(path), settings=settings), out=tmp_path / "runs")


def test_a_value_of_a_sweep_is_removed_by_an_empty_list(path: Path) -> None:
    models = read_recipe(str(path), settings=["sweep.defence.pupil=[]"]).config.models
    assert [model.label for model in models] == ["standard", "noisy"]
    empty = [
        "sweep.defence.pupil=[]",
        "sweep.defence.standard=[]",
        "sweep.defence.noisy=[]",
        "transfer.sources=['all']",
    ]
    assert [model.label for model in read_recipe(str(path), settings=empty).config.models] == ["deterministic"]


def test_images_without_labels_are_the_others_of_the_same_order() -> None:
    whole = load("digits", split="train")
    assert torch.equal(load_images("digits", skip=20, limit=5), whole.x[20:25])
    mixed = load("digits", split="train", seed=3)
    assert torch.equal(load_images("digits", skip=20, limit=5, seed=3), mixed.x[20:25])
    assert load_images("digits", limit=2, size=4).shape == (2, 1, 4, 4)


def test_an_objective_that_needs_no_labels_has_unlabelled_images_without_a_teacher(tmp_path: Path) -> None:
    text = RECIPE.replace('"mlp"', '"vae"').replace('"cross_entropy"', '"vae"')
    start, end = text.index("[sweep.defence]"), text.index("[evaluation]")
    (tmp_path / "coder.toml").write_text(text[:start] + text[end:])
    folder = run(read_recipe(str(tmp_path / "coder.toml")), out=tmp_path / "runs")
    (record,) = model_records(folder)
    # members: 100 inputs twice and 150 others; then the accuracy on the 100 that have a label, one draw for all ten
    assert record.history[0].forwards == 350 + 100
    other = read_recipe(str(tmp_path / "coder.toml"), settings=["data.unlabelled.skip=200"])
    (again,) = model_records(run(other, out=tmp_path / "runs"))
    assert again.taken_from is None
