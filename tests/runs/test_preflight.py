"""What cannot work is an error before any work."""

from pathlib import Path

import pytest
from small_recipes import MLP, RUN, read, read_with_curves

from oracles import raises_sentence
from unshaken.runs.run import run

INPUTS = {
    '{kind="adversarial", eps=0.1, attack={kind="mean"}}': "a 'module' model has no mean network",
    '{kind="adversarial", eps=0.1, attack={kind="moments"}}': "a 'module' model has no mean network",
    '{kind="adversarial", eps=16, attack={kind="fgsm"}}': r"eps 16 is larger than the whole input box, 1 in",
    '{kind="adversarial", eps=20, attack={kind="fgm"}}': "eps 20 is larger than the whole input box, 8 in the l2 norm",
    '{kind="adversarial", eps=0.1, probability=-1}': "probability must be a number from 0 to 1; got -1",
}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('analyses=[{kind="conditions", eps=[0.1], rule="vote"}]', "rule 'vote' has no gradient"),
        (
            'analyses=[{kind="conditions", eps=[0.1], smoothness="tight"}]',
            "needs a smoothing model, which a 'mean_field'",
        ),
        ('training.schedule={kind="steps", at=[0]}', "each entry of at must be a whole number, 1 or more; got 0"),
        (
            'training.augment={kind="crop_flip", padding=-1}',
            "padding must be a whole number of pixels, 0 or more; got -1",
        ),
        ('training.optimizer={kind="sgadald", lr=0.1, friction="mached"}', "unknown friction 'mached': did you mean"),
        ('training.optimizer={kind="adam", betas=[2.0, 3.0]}', "optimizer of mean_field: Invalid beta"),
        ('training.optimizer={kind="adam", lr=0}', "optimizer of mean_field: lr must be a number above 0; got 0.0"),
        ('training.optimizer={kind="adam", lr=-1}', "optimizer of mean_field: Invalid learning rate: -1.0"),
        ('model={kind="dropout"}', "dropout needs a network with nn.Dropout layers whose p is above 0"),
    ],
)
def test_a_setting_that_only_the_model_can_judge_is_judged_before_any_work(path, tmp_path, setting, message) -> None:
    with pytest.raises(ValueError, match=message):
        run(read(path, setting), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_what_a_model_or_the_data_cannot_do_is_an_error_before_any_work(path: Path, tmp_path: Path) -> None:
    text = RUN.replace('"mean_field"', '"module"')
    path.write_text(text)
    with raises_sentence("a 'module' model has no mean network"):
        run(read(path), out=tmp_path / "runs")
    for inputs, message in INPUTS.items():
        path.write_text(text.replace('kind = "mean"', 'kind = "fgsm"\ndraws = 2'))
        with raises_sentence(message):
            run(read(path, f"training.inputs={inputs}"), out=tmp_path / "runs")
    path.write_text(RUN.replace(MLP, 'kind = "outside:smooth_net"'))
    with raises_sentence(r"there is no moment rule for layer '2' \(Tanh\)"):
        run(read(path, "attacks=[{kind='moments'}]"), out=tmp_path / "runs")
    path.write_text(RUN.replace(MLP, 'kind = "small_cnn"'))
    with raises_sentence("small_cnn needs images of 16 x 16 or more; got 8 x 8"):
        run(read(path), out=tmp_path / "runs")
    path.write_text(RUN.replace("test_limit = 40", "test_limit = 4000"))
    with raises_sentence("limit is 4000, but the test split of digits has only 597 images"):
        run(read(path), out=tmp_path / "runs")
    path.write_text(RUN.replace('"digits"', '"mnist"'))
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="hf download ylecun/mnist"):
        run(read(path), out=tmp_path / "runs", data_root=tmp_path / "data")
    assert not (tmp_path / "runs").exists()


def test_a_model_without_a_mean_network_has_no_agreement_with_it(path: Path, tmp_path: Path) -> None:
    path.write_text(RUN.replace('"mean_field"', '"module"').replace('kind = "mean"', 'kind = "fgsm"\ndraws = 2'))
    with raises_sentence("a 'module' model has no mean network"):
        run(read(path, "analyses=[{kind='gradient_agreement', draws=[1, 'mean']}]"), out=tmp_path / "runs")


def test_curves_that_cannot_be_had_are_an_error_before_any_work(path: Path, tmp_path: Path) -> None:
    for settings, message in (
        (["curves.limit=41"], "limit is 41, but there are 40 images of validation"),
        (["curves.attacks=[{kind='pgd', loss='latent_shift', start='near', draws=1, eps=[0.1]}]"], "latents are those"),
        (["model.kind=module", "attacks=[{kind='fgsm', draws=1}]", "curves.attacks.draws=mean"], "has no mean network"),
    ):
        with raises_sentence(message):
            run(read_with_curves(path, "curves.select=none", *settings), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


LATENT = '\n[[attacks]]\nkind = "pgd"\nloss = "latent_shift"\nstart = "near"\ndraws = 1\nsteps = 2\n'
SHIFT = '\n[[analyses]]\nkind = "latent_shift"\neps = [0.1, 0.2]\ndraws = 3\n'


@pytest.mark.parametrize(
    ("sections", "settings", "message"),
    [
        (LATENT, [], r"latents are those of a network with encode\(\), such as 'vae'; Sequential has none"),
        (SHIFT, [], r"latents are those of a network with encode\(\), such as 'vae'; Sequential has none"),
        ("", ["training.objective.kind='vae'"], r"a network with encode\(\), such as 'vae'; Sequential has none"),
        (LATENT.replace("near", "none"), [], r"number 3: a loss of latents has no gradient at the input itself"),
    ],
)
def test_what_has_no_latent_is_an_error_before_any_work(path, tmp_path, sections, settings, message) -> None:
    path.write_text(RUN + sections)
    with raises_sentence(message):
        run(read(path, *settings), out=tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("*/models/*"))
