"""Recipes are read strictly: every word is known, every value has its type, and the nearest right word is named."""

from pathlib import Path

import pytest

from unshaken.attacks import ATTACKS
from unshaken.runs.parts import build, full
from unshaken.runs.recipe import find_recipe, read_recipe, recipe_folders

BASE = """
title = "A test"
[data]
name = "digits"
[network]
kind = "mlp"
widths = [8]
[model]
kind = "mean_field"
[training]
epochs = 2
optimizer = { kind = "adam", lr = 0.01 }
[evaluation]
eps = [0.1, "8/255"]
draws = 7
[[attacks]]
kind = "mean"
[[attacks]]
kind = "pgd"
sweep.draws = [1, 5]
sweep.norm = ["linf", "l2"]
[presets.smoke]
training = { epochs = 1 }
attacks = { steps = 2 }
[presets.sgd]
training = { optimizer = { kind = "sgd", lr = 0.5 } }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(BASE)
    return str(path)


@pytest.mark.parametrize(
    "path", [p for folder in recipe_folders()[:1] for p in sorted(folder.glob("*.toml"))], ids=lambda p: p.stem
)
@pytest.mark.parametrize("preset", [None, "smoke"])
def test_every_recipe_that_comes_with_the_package_resolves(path: Path, preset: str | None) -> None:
    assert read_recipe(path.stem, preset=preset).config["title"]


@pytest.mark.parametrize(("preset", "shown"), [("paper", True), ("laptop", False), ("paper_mnist", False)])
def test_published_flatness_stands_beside_the_published_noise_alone(preset: str, shown: bool) -> None:
    config = read_recipe("constant_flatness", preset=preset).config
    known = {entry["size"] for entry in config["paper"]["flatness"].values()}
    assert (known == {config["analyses"][0]["size"]}) == shown


def test_defaults_are_written_out_and_fractions_are_numbers(recipe: str) -> None:
    config = read_recipe(recipe).config
    assert config["attacks"][0]["eps"] == [0.1, 8 / 255]
    assert (config["data"]["grey"], config["data"]["held_out"]) == (False, None)
    assert config["evaluation"] == {"draws": 7, "repeats": 3, "rule": "probability", "batch_size": 256}
    training = config["models"][0]["training"]
    assert training["objective"] == {"kind": "elbo", "draws": 1, "kl_scale": 1.0}
    assert training["inputs"] == {"kind": "clean"}
    assert training["batch_size"] == 100


def test_a_sweep_is_a_grid_and_labels_tell_its_points_apart(recipe: str) -> None:
    labels = [attack["label"] for attack in read_recipe(recipe).config["attacks"]]
    assert labels == ["MEAN", "PGD-1 (norm linf)", "PGD-1 (norm l2)", "PGD-5 (norm linf)", "PGD-5 (norm l2)"]


def test_a_recipe_may_begin_with_another(recipe: str) -> None:
    other = Path(recipe).with_name("other.toml")
    other.write_text(
        f'title = "Mine"\nlike = "{recipe}"\n[evaluation]\ndraws = 3\n[presets.smoke]\ntraining.epochs = 9\n'
    )
    config = read_recipe(str(other), preset="smoke").config
    assert (config["title"], config["evaluation"]["draws"], config["evaluation"]["repeats"]) == ("Mine", 3, 3)
    assert config["models"][0]["training"]["epochs"] == 9
    assert [attack["kind"] for attack in config["attacks"]] == ["mean", *["pgd"] * 4]
    other.write_text(f'like = "{other}"\n')
    with pytest.raises(ValueError, match="like goes in a circle: other → other"):
        read_recipe(str(other))
    other.write_text('title = "Mine"\nlike = "mine"\n')
    assert read_recipe(str(other)).config["title"] == "Mine"
    other.write_text("like = 5\n")
    with pytest.raises(ValueError, match="like must name another recipe; got 5"):
        read_recipe(str(other))
    other.write_text('like = "no_such"\n')
    with pytest.raises(FileNotFoundError, match="no recipe 'no_such'"):
        read_recipe(str(other))


def test_an_empty_list_takes_a_sweep_back(recipe: str) -> None:
    swept = ['sweep."network.widths"=[[4], [8]]']
    assert len(read_recipe(recipe, settings=swept).config["models"]) == 2
    assert len(read_recipe(recipe, settings=[*swept, 'sweep."network.widths"=[]']).config["models"]) == 1


def test_an_analysis_of_attacks_needs_attacks(recipe: str) -> None:
    text = BASE.split("[[attacks]]")[0] + '[[analyses]]\nkind = "conditions"\neps = [0.1]\n'
    Path(recipe).write_text(text)
    with pytest.raises(ValueError, match=r"conditions is of attacks: \[\[attacks\]\] is missing"):
        read_recipe(recipe)


def test_several_seeds_are_several_models_of_one_group(recipe: str) -> None:
    config = read_recipe(recipe, settings=["seed=[3, 5]", 'sweep."network.widths"=[[4], [8]]']).config
    assert config["seed"] == 3
    assert [model["seed"] for model in config["models"]] == [3, 5, 3, 5]
    assert [model["label"] for model in config["models"][:2]] == [
        "mean_field, widths [4], seed 3",
        "mean_field, widths [4], seed 5",
    ]
    assert len({model["group"] for model in config["models"]}) == 2
    assert "seed" not in read_recipe(recipe, settings=["seed=[3]"]).config["models"][0]


def test_a_model_may_be_made_of_another(recipe: str) -> None:
    settings = ['model={kind="smoothing", sigma=0.5, base={kind="matrix_gaussian"}}']
    model = read_recipe(recipe, settings=settings).config["models"][0]["model"]
    assert model == {
        "kind": "smoothing",
        "sigma": 0.5,
        "noises": 1,
        "base": {"kind": "matrix_gaussian", "prior_scale": 1.0, "initial_log_variance": -3.0},
    }


def test_schedule_and_augment_are_parts(recipe: str) -> None:
    settings = ['training.schedule={kind="steps", at=[1]}', 'training.augment={kind="crop_flip", padding=2}']
    training = read_recipe(recipe, settings=settings).config["models"][0]["training"]
    assert training["schedule"] == {"kind": "steps", "at": [1], "factor": 0.2}
    assert training["augment"] == {"kind": "crop_flip", "padding": 2, "flip": 0.5}


def test_an_attack_may_have_a_default_of_its_own(recipe: str) -> None:
    Path(recipe).write_text(BASE.replace('kind = "mean"', 'kind = "moments"'))
    assert read_recipe(recipe).config["attacks"][0]["loss"] == "cw"
    assert read_recipe(recipe, settings=["attacks.loss=margin"]).config["attacks"][0]["loss"] == "margin"


def test_a_sweep_over_models(recipe: str) -> None:
    Path(recipe).write_text(BASE + '\n[sweep]\n"model.prior_scale" = [0.1, 1.0]\n')
    models = read_recipe(recipe).config["models"]
    assert [model["label"] for model in models] == ["mean_field, prior_scale 0.1", "mean_field, prior_scale 1.0"]
    assert [model["model"]["prior_scale"] for model in models] == [0.1, 1.0]


ADVERSARIAL = '{ kind = "adversarial", eps = "8/255", attack = { kind = "pgd", draws = 2 } }'
NAMED = f"""
[sweep."training.inputs"]
none = {{ kind = "clean" }}
PGD-2 = {ADVERSARIAL}
[sweep.prior]
wide = {{ model = {{ prior_scale = 3.0 }}, training = {{ epochs = 9 }} }}
"""


def test_a_sweep_of_names_labels_the_models_and_may_change_several_sections(recipe: str) -> None:
    Path(recipe).write_text(BASE + NAMED)
    models = read_recipe(recipe).config["models"]
    assert [model["label"] for model in models] == ["none, wide", "PGD-2, wide"]
    assert [model["model"]["prior_scale"] for model in models] == [3.0, 3.0]
    assert [model["training"]["epochs"] for model in models] == [9, 9]
    seen = models[1]["training"]["inputs"]
    assert (seen["eps"], seen["probability"]) == (8 / 255, 0.3)
    assert seen["attack"]["kind"] == "pgd"
    assert (seen["attack"]["draws"], seen["attack"]["steps"], seen["attack"]["loss"]) == (2, 10, "log_error")
    assert "eps" not in seen["attack"]


def test_a_sweep_of_names_and_one_of_values(recipe: str) -> None:
    Path(recipe).write_text(BASE + '\n[sweep]\n"model.prior_scale" = [0.1, 1.0]\n' + NAMED)
    labels = [model["label"] for model in read_recipe(recipe).config["models"]]
    assert labels[0] == "mean_field, prior_scale 0.1, none, wide"
    assert len(labels) == 4


def test_a_named_point_of_a_sweep_may_be_set(recipe: str) -> None:
    Path(recipe).write_text(BASE + NAMED)
    models = read_recipe(recipe, settings=['sweep."training.inputs".PGD-2.eps=0.2']).config["models"]
    assert models[1]["training"]["inputs"]["eps"] == 0.2


def test_analyses_are_parts_and_attacks_are_then_optional(recipe: str) -> None:
    text = BASE[: BASE.index("[[attacks]]")] + BASE[BASE.index("[presets.sgd]") :]
    analyses = '[[analyses]]\nkind = "gradient_agreement"\nsweep.loss = ["cw", "log_error"]\n'
    Path(recipe).write_text(text + analyses)
    config = read_recipe(recipe, settings=["analyses.reference=7"]).config
    assert config["attacks"] == []
    assert [part["label"] for part in config["analyses"]] == [
        "gradient agreement, loss cw",
        "gradient agreement, loss log_error",
    ]
    assert [part["reference"] for part in config["analyses"]] == [7, 7]
    assert config["analyses"][0]["draws"] == [1, 5, 10, 20, "mean", "moments"]


def test_a_preset_overrides_and_a_setting_overrides_the_preset(recipe: str) -> None:
    config = read_recipe(recipe, preset="smoke", settings=["training.epochs=9", "attacks.draws=3"]).config
    assert config["models"][0]["training"]["epochs"] == 9
    assert [attack.get("steps") for attack in config["attacks"]] == [None, 2, 2]
    assert [attack.get("draws") for attack in config["attacks"]] == [None, 3, 3]


def test_a_sweep_may_be_set_too(recipe: str) -> None:
    config = read_recipe(recipe, settings=["attacks.sweep.draws=[2, 3, 4]", "attacks.norm=linf"]).config
    assert [attack["label"] for attack in config["attacks"]] == ["MEAN", "PGD-2", "PGD-3", "PGD-4"]


def test_restarts_have_a_column_and_are_in_the_label_alone(recipe: str) -> None:
    settings = ["attacks.start=uniform", "attacks.norm=linf", "attacks.draws=2", "attacks.sweep.restarts=[1, 5]"]
    attacks = read_recipe(recipe, settings=settings).config["attacks"]
    told = [(attack["name"], attack["label"]) for attack in attacks if attack["kind"] == "pgd"][:2]
    assert told == [("pgd", "PGD-2 (restarts 1)"), ("pgd", "PGD-2 (restarts 5)")]


def test_a_part_of_another_kind_replaces_the_old_one(recipe: str) -> None:
    optimizer = read_recipe(recipe, preset="sgd").config["models"][0]["training"]["optimizer"]
    assert optimizer["kind"] == "sgd"
    assert optimizer["lr"] == 0.5
    assert "betas" not in optimizer


def test_parts_from_outside_the_package(recipe: str) -> None:
    config = read_recipe(recipe, settings=["network.kind=unshaken.networks:mlp"]).config
    assert config["models"][0]["network"] == {"kind": "unshaken.networks:mlp", "widths": [128, 128]}


def test_a_resolved_attack_knows_what_its_kind_fixes(recipe: str) -> None:
    mean = read_recipe(recipe).config["attacks"][0]
    assert "draws" not in mean
    assert full(mean, ATTACKS)["draws"] == "mean"
    assert build(ATTACKS, {"kind": "fgsm", "draws": 3}).keywords["draws"] == 3


CURVES = "curves={every=5, select='FGSM-1', attacks=[{kind='fgsm', draws=1, eps=['8/255']}, {kind='mean', eps=[0.1]}]}"


def test_curves_have_attacks_of_one_size_each(recipe: str) -> None:
    config = read_recipe(recipe, settings=["data.validation=0.1", CURVES]).config
    assert config["data"]["validation"] == 0.1
    told = {word: config["curves"][word] for word in ("every", "split", "limit", "draws", "select", "smooth")}
    assert told == {"every": 5, "split": "validation", "limit": None, "draws": 10, "select": "FGSM-1", "smooth": 1}
    assert [(a["label"], a["eps"]) for a in config["curves"]["attacks"]] == [("FGSM-1", [8 / 255]), ("MEAN", [0.1])]
    bare = read_recipe(recipe, settings=["curves={every=5, split='test'}"]).config
    assert bare["curves"]["attacks"] == []


def test_a_recipe_without_curves_is_what_it_was(recipe: str) -> None:
    config = read_recipe(recipe).config
    assert "curves" not in config
    assert "validation" not in config["data"]


def test_unlabelled_images_may_lie_behind_those_that_are_kept_for_validation(recipe: str) -> None:
    data = "data={name='digits', train_limit=50, validation=0.1, unlabelled={name='digits', skip=50}}"
    assert read_recipe(recipe, settings=[data]).config["data"]["unlabelled"]["skip"] == 50
    for other in (data.replace("skip=50", "skip=50, seed=1"), data.replace("skip=50", "skip=49")):
        with pytest.raises(ValueError, match="its images must not be those of"):
            read_recipe(recipe, settings=[other])


def test_weights_of_one_step_are_not_selected_from_a_chain_of_many(recipe: str) -> None:
    settings = ["model={kind='chain'}", "training.burn_in=3", "attacks=[{kind='fgsm', draws=1}]"]
    curves = "curves={every=5, split='test', select='%s'}"
    assert read_recipe(recipe, settings=[*settings, curves % "none"]).config["curves"]
    with pytest.raises(ValueError, match="select must be 'none' with burn_in: such a model is made of states of many"):
        read_recipe(recipe, settings=[*settings, curves % "clean"])


def test_curves_of_no_training_are_refused(recipe: str) -> None:
    text = Path(recipe).read_text().replace('[training]\nepochs = 2\noptimizer = { kind = "adam", lr = 0.01 }\n', "")
    Path(recipe).write_text(text)
    with pytest.raises(ValueError, match=r"\[curves\]: section \[training\] is missing: no model is trained"):
        read_recipe(recipe, settings=["curves={every=5, split='test'}"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("attacks.stpes=3", "unknown setting 'stpes': did you mean 'steps'?"),
        ("attack.steps=3", "unknown section 'attack': did you mean 'attacks'?"),
        ("atacks.steps=3", "unknown section 'atacks': did you mean 'attacks'?"),
        ("model.kind=mean_feild", r"\[model\]: unknown kind 'mean_feild': did you mean 'mean_field'?"),
        ("model.prior_scael=1", r"\[model\]: unknown setting 'prior_scael': did you mean 'prior_scale'?"),
        ("model.prior_scale=-1", "prior_scale must be a number above 0; got -1"),
        ("training.optimizer.lrr=1", r"\[training\]: optimizer: unknown setting 'lrr': did you mean 'lr'?"),
        ("training.optimizer.kind=adan", "unknown kind 'adan': did you mean 'adam'?"),
        ("training.epochs=0", "epochs must be a whole number, 1 or more; got 0"),
        ("training.epochs=many", "epochs: input should be a valid integer.*got 'many'"),
        ("training.objective=elbo", r"objective: expected a part \{ kind = ... \}, got 'elbo'"),
        ("evaluation.eps=0.1", "eps: input should be a valid list; got 0.1"),
        ("evaluation.eps=[]", "eps is an empty list"),
        ("evaluation.eps=[-0.1]", "eps must be finite and 0 or more; got -0.1"),
        ("evaluation.eps=[nan]", "eps must be finite and 0 or more; got nan"),
        ("evaluation.eps=[8]", r"eps 8 is larger than the whole input box; is 8/255 meant\?"),
        ("evaluation.eps=[0.1, 0.1]", "eps has a size twice"),
        ("evaluation.draws=true", "expected a value of another type than true or false; got True"),
        ("evaluation=5", r"\[evaluation\]: expected a table of settings, got 5"),
        ("data=5", r"\[data\]: expected a table of settings, got 5"),
        ("data.held_out=0", r"\[data\]: held_out: held_out must be a number above 0 and below 1; got 0"),
        ("data.held_out=25", "held_out must be a number above 0 and below 1; got 25"),
        ("data.held_out=true", "held_out: expected a value of another type than true or false; got True"),
        ("data.grey=mean", "grey: input should be a valid boolean.*got 'mean'"),
        ("data.gray=true", r"\[data\]: unknown setting 'gray': did you mean 'grey'?"),
        ("training=false", r"\[training\] must be a table of settings; got False"),
        ("attacks=[5]", r"\[\[attacks\]\] must be a list of one attack or more"),
        ("model.kind=5", r"\[model\]: unknown kind 5: choose one of"),
        ("model.kind=os:sep", "kind 'os:sep' names no function"),
        ("seed=abc", "seed must be a whole number, or a list of them; got 'abc'"),
        ("attacks.sweep.draws=[1, 1]", "two attacks are the same: "),
        ("evaluation.draws=0", "draws must be a whole number, 1 or more; got 0"),
        ("evaluation.rule=probabilty", "unknown rule 'probabilty': did you mean 'probability'?"),
        ("attacks.loss=log_eror", "unknown loss 'log_eror': did you mean 'log_error'?"),
        ("attacks.norm=l22", "unknown norm 'l22': did you mean 'l2'?"),
        ("attacks.draws=meen", "expected a number or a scheme, got 'meen': did you mean 'mean'?"),
        ("attacks.steps=0", "steps must be a whole number, 1 or more; got 0"),
        ("attacks.step_size=0", "step_size must be a number above 0; got 0"),
        ("data.nam=x", r"\[data\]: unknown setting 'nam': did you mean 'name'?"),
        ("network.kind=nowhere:net", "cannot import kind 'nowhere:net'"),
        ("attacks", "--set needs section.word=value"),
        ('training.inputs={kind="adversarial"}', r"\[training\]: inputs: 'eps' is missing"),
        ('training.inputs={kind="adversarial", eps=-1}', "inputs: eps: eps must be finite and 0 or more; got -1"),
        (
            'training.inputs={kind="adversarial", eps=0.1, probability=1.5}',
            "probability must be a number from 0 to 1; got 1.5",
        ),
        (
            'training.inputs={kind="adversarial", eps=0.1, attack={kind="means"}}',
            "inputs: attack: unknown kind 'means': did you mean 'mean'?",
        ),
        (
            'training.inputs={kind="adversarial", eps=0.1, attack={kind="mean", eps=0.1}}',
            "attack: unknown setting 'eps'",
        ),
        ('analyses=[{kind="agreement"}]', r"\[\[analyses\]\] number 1: unknown kind 'agreement'"),
        ('analyses=[{kind="gradient_agreement", draws=[1, "meen"]}]', "got 'meen': did you mean 'mean'?"),
        ('analyses=[{kind="gradient_agreement", draws=[0]}]', "draws must be a whole number, 1 or more; got 0"),
        ('analyses=[{kind="gradient_agreement", zeros="bot"}]', "unknown zeros 'bot': did you mean 'both'?"),
        ('analyses=[{kind="attack_time", rounds=0}]', "rounds must be a whole number, 1 or more; got 0"),
        ("analyses=5", r"\[\[analyses\]\] must be a list of analyses"),
        ("sweep=5", r"\[sweep\]: expected a table of settings, got 5"),
        ("attacks.sweep=5", "sweep: expected a table of settings, got 5"),
        ('training.objective={kind="elbo", kl_scale=-1}', "kl_scale must be a finite number, 0 or more; got -1"),
        ('training.objective={kind="elbo", kl_scale=nan}', "kl_scale must be a finite number, 0 or more; got nan"),
        ('analyses=[{kind="conditions", eps=[1], smoothness=0}]', "smoothness must be a number above 0; got 0"),
        (
            'analyses=[{kind="conditions", eps=[1], smoothness="tigt"}]',
            "unknown smoothness 'tigt': did you mean 'tight'",
        ),
        ("attacks.restarts=2", "restarts start anew: 2 of them need a random start, such as 'uniform', not 'none'"),
        ("seed=[0, 0]", "two seeds are the same: 0"),
        ("seed=[]", r"seed must be a whole number, or a list of them; got \[\]"),
        ('model={kind="smoothing", sigma=0}', "sigma must be a number above 0; got 0"),
        ('model={kind="smoothing", sigma=1, base={kind="dropuot"}}', "unknown kind 'dropuot': did you mean 'dropout'"),
        ('training.inputs={kind="variable_noise", size=1, noise="gausian"}', "did you mean 'gaussian'"),
        ('training.objective={kind="mixture", kl_weight=-1}', "kl_weight must be a finite number, 0 or more; got -1"),
        ("a b=1", "'a b' is no path of words"),
        ("model.initial=gausian", "unknown initial 'gausian': did you mean 'gaussian'?"),
        ("evaluation.eps=['1/0']", "the fraction '1/0' divides by zero"),
        ("data.validation=1", r"\[data\]: validation: validation must be a number above 0 and below 1; got 1"),
        ("curves.evry=5", r"\[curves\]: unknown setting 'evry': did you mean 'every'?"),
        ("curves.draws=5", r"\[curves\]: 'every' is missing"),
        ("curves.every=0", "every must be a whole number, 1 or more; got 0"),
        ("curves={every=5, limit=0}", "limit must be a whole number, 1 or more; got 0"),
        ("curves={every=5, split='test', smooth=4}", "smooth must be odd, to have a middle; got 4"),
        ("curves.every=5", r"split 'validation' needs a share of the training images: set validation in \[data\]"),
        ("curves={every=5, split='tset'}", r"\[curves\]: unknown split 'tset': did you mean 'test'?"),
        (
            "curves={every=5, split='test', select='PDG-1'}",
            "unknown attack to select by 'PDG-1': choose one of: clean, n",
        ),
        ("curves={every=5, split='test', attacks=[{kind='pgdd'}]}", r"\[\[curves.attacks\]\] number 1: unknown kind"),
        (
            "curves={every=5, split='test', attacks=[{kind='fgsm', draws=1}]}",
            r"FGSM-1 must have one eps, such as \[0.1\]",
        ),
        (
            "curves={every=5, split='test', attacks=[{kind='fgsm', eps=0.1}]}",
            "eps must be a list of perturbation sizes",
        ),
        (
            "data={name='digits', validation=0.1, unlabelled={name='digits', skip=5}}",
            r"its images must not be those of \[data\] validation: .* train_limit of \[data\]; got skip 5",
        ),
    ],
)
def test_a_wrong_word_or_value_is_answered_in_one_sentence(recipe: str, setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_recipe(recipe, settings=[setting])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = [", "is not valid TOML"),
        (BASE.replace("[data]", "[dat]"), "unknown section 'dat': did you mean 'data'?"),
        (BASE.replace('[network]\nkind = "mlp"\nwidths = [8]\n', ""), r"section \[network\] is missing"),
        (BASE.replace('kind = "mlp"', ""), r"\[network\]: expected a part"),
        (BASE.replace('name = "digits"', ""), r"\[data\]: 'name' is missing"),
        (BASE + "[sweep]\nprior = [1, 2]", r"\[sweep\]: unknown section 'prior'"),
        (
            BASE + '[sweep]\n"model.prior_scale" = 2',
            "a sweep needs a list of values for 'model.prior_scale', or a table",
        ),
        (
            BASE + "[sweep.prior]\nwide = { modl = {} }",
            r"\[sweep.prior\]: unknown section 'modl': did you mean 'model'?",
        ),
        (BASE.replace("[1, 5]", "5"), "a sweep needs a list of values for 'draws'; got 5"),
    ],
)
def test_a_wrong_file(recipe: str, text: str, message: str) -> None:
    Path(recipe).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_recipe(recipe)


def test_an_unknown_preset_or_recipe_names_the_nearest(recipe: str) -> None:
    with pytest.raises(ValueError, match=r"unknown preset of mine.toml 'smok': did you mean 'smoke'?"):
        read_recipe(recipe, preset="smok")
    with pytest.raises(FileNotFoundError, match=r"no recipe 'demmo': did you mean 'demo'?"):
        find_recipe("demmo")


def test_shares_of_255_are_told_as_such(recipe: str) -> None:
    settings = 'attacks=[{kind="pgd", sweep={step_size=["2/255", "0.5/255", 0.1, 0.123456789]}}]'
    labels = [attack["label"] for attack in read_recipe(recipe, settings=[settings]).config["attacks"]]
    assert [label.split("step_size ")[1].rstrip(")") for label in labels] == [
        "2/255", "0.5/255", "0.1", "0.123456789"
    ]  # fmt: skip
