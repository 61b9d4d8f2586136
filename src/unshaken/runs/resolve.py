"""Every setting of a recipe, checked, with defaults filled in and sweeps laid out, before any work starts."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from unshaken.analysis import ANALYSES
from unshaken.attacks import ATTACKS
from unshaken.attacks.pgd import check_restarts, check_start
from unshaken.evaluation.checks import attack_name
from unshaken.errors import lookup, nearest, unknown
from unshaken.runs.merge import check_table, merge, nested
from unshaken.models import MADE_OF, MODELS
from unshaken.networks import NETWORKS
from unshaken.runs.parts import Table, arguments, full, part, settable
from unshaken.training import train
from unshaken.types import Count
from unshaken.validate import check_eps, check_range

SECTIONS = (
    *("title", "about", "seed", "data", "network", "model", "training"),
    *("attacks", "analyses", "transfer", "evaluation", "curves", "sweep"),
)
COLUMNS = ("norm", "loss", "draws", "steps", "restarts", "eps")  # settings of an attack that rows hold in columns
NEEDS = ("teacher", "continues")  # settings of a training that name another model
MODEL_SECTIONS = ("network", "model", "training")
ANOTHER = "replica"  # the number of a model that differs from another one by its seed alone
FOOLED = ("deterministic", "ensemble", "joined", "member")  # kinds of models that have members to mislead, or are one
SPLITS = ("validation", "test")  # where [curves] are evaluated


def data_section(
    name: str,
    *,
    train_limit: int | None = None,
    test_limit: int | None = None,
    seed: int | None = None,
    size: int | list[int] | None = None,
    grey: bool = False,
    held_out: float | None = None,
    validation: float | None = None,
    unlabelled: dict[str, Any] | None = None,
) -> None:
    """[data]: the image set; how many images, the first ones or, with a seed, random ones; resized to `size`.

    With `grey`, the mean of the colours is the only channel. With `held_out`, models are trained on a part of the train
    split and tested on this share of it. With `validation`, this share of the images to train on is kept for [curves].
    """


def unlabelled_section(
    name: str, *, split: str = "train", skip: int = 0, limit: int | None = None, seed: int | None = None
) -> None:
    """[data.unlabelled]: images without labels; `limit` of them, behind the first `skip`.

    They are for models with a teacher, which labels them, and for objectives that need no labels. Their size and
    colours are those of [data]; where the set is the same, `held_out` is too.
    """


def transfer_section(*, sources: Sequence[str] = (), sets: Sequence[str] = (), keep: str = "all") -> None:
    """[transfer]: models, or groups of them, whose perturbations are given to every other model; files of such ones.

    "all" stands for every model. With keep "fooled", only perturbations are given that mislead every member of their
    source, a network or an ensemble; of a group it is then the first network, so that all are of one set.
    """


def evaluation_section(
    eps: list[float], *, draws: int | str = 100, repeats: int = 3, rule: str = "probability", batch_size: int = 256
) -> None:
    """[evaluation]: perturbation sizes, inference draws, independent repeats of attack and inference draws.

    Draws "all" are every member of an ensemble, or stored state of a chain, once.
    """


def curves_section(
    every: int,
    *,
    split: str = "validation",
    limit: int | None = None,
    draws: int | str = 10,
    select: str = "none",
    smooth: int = 1,
    attacks: Sequence[dict[str, Any]] = (),
) -> None:
    """[curves]: models are evaluated after `every` so many minibatches of their training, and after the last.

    On the first `limit` images of the split, with so many inference draws, without an attack ("clean") and under each
    of [[curves.attacks]], which have one size each. With `select`, the label of one of these or "clean", a model keeps
    the weights that were best under it. Figures have a running median over `smooth` evaluations.
    """


def resolve(raw: Table) -> Table:
    """Every setting of a recipe, checked, with defaults filled in and sweeps laid out as models and attacks."""
    for word in raw:
        if word not in SECTIONS:
            raise unknown("section", word, SECTIONS)
    for word in ("data", "network", "model", "evaluation", *(["attacks"] if "analyses" not in raw else [])):
        if word not in raw:
            raise ValueError(f"section [{word}] is missing.")
    seeds = _seeds(raw.get("seed", 0))
    evaluation = arguments("[evaluation]", evaluation_section, raw["evaluation"], supplied=())
    _check_inference("[evaluation]", evaluation["draws"])
    _check_sizes("[evaluation]", evaluation["eps"])
    models = _for_seeds(_models(raw), seeds)
    _check_made_of(models)
    _check_continues(models)
    data = _data(raw["data"], models)
    curves = {"curves": _curves(raw["curves"], evaluation["eps"], data, models)} if "curves" in raw else {}
    return {
        "title": raw.get("title", ""),
        "about": raw.get("about", ""),
        "seed": seeds[0],
        "data": data,
        "models": models,
        "attacks": _attacks(raw["attacks"], evaluation.pop("eps")) if "attacks" in raw else [],
        "analyses": _analyses(raw.get("analyses", []), attacked=bool(raw.get("attacks"))),
        "transfer": _transfer(raw.get("transfer", {}), models),
        "evaluation": evaluation,
        **curves,
    }


def _data(given: Table, models: list[Table]) -> Table:
    """[data], with unlabelled images where a model is taught by another one."""
    data = arguments("[data]", data_section, given, supplied=())
    if data["unlabelled"] is not None:
        data["unlabelled"] = arguments("[data.unlabelled]", unlabelled_section, data["unlabelled"], supplied=())
    if data["validation"] is None:
        del data["validation"]  # results without it are named as they were before there was such a setting
    elif data["unlabelled"] is not None:
        _check_kept(data, data["unlabelled"])
    for model in models:
        if (teacher := needs_of(model).get("teacher")) is not None:
            _check_teacher(model, teacher, {other["label"]: other for other in models})
            if data["unlabelled"] is None:
                raise ValueError(f"{model['label']} has a teacher: [data.unlabelled] must say on which images.")
    return data


def _check_kept(data: Table, unlabelled: Table) -> None:
    """Images that are kept for validation are not among the unlabelled ones that models are trained on."""
    same = all(unlabelled[word] == data[word] for word in ("name", "seed"))
    behind = same and data["train_limit"] is not None and unlabelled["skip"] >= data["train_limit"]
    if unlabelled["name"] == data["name"] and unlabelled["split"] == "train" and not behind:
        raise ValueError(
            "[data.unlabelled]: its images must not be those of [data] validation: give both sections the same seed, "
            f"and a skip of at least the train_limit of [data]; got skip {unlabelled['skip']}."
        )


def _check_inference(where: str, draws: int | str) -> None:
    """Inference draws are so many, or all: a scheme of an attack is no prediction of the model."""
    if isinstance(draws, str) and draws != "all":
        raise ValueError(f"{where}: draws must be a number or 'all'; got {draws!r}.")


def _curves(given: Table, sizes: list[float], data: Table, models: list[Table]) -> Table:
    """[curves], with attacks of one size each."""
    found = arguments("[curves]", curves_section, given, supplied=())
    _check_inference("[curves]", found["draws"])
    if found["attacks"]:
        found["attacks"] = _attacks(found["attacks"], sizes, "[[curves.attacks]]")
    for attack in found["attacks"]:
        if len(attack["eps"]) != 1:
            raise ValueError(
                f"[[curves.attacks]]: {attack['label']} must have one eps, such as [0.1]; got {attack['eps']}."
            )
    if found["split"] not in SPLITS:
        raise ValueError(f"[curves]: {unknown('split', found['split'], SPLITS)}")
    if found["split"] == "validation" and "validation" not in data:
        raise ValueError("[curves]: split 'validation' needs a share of the training images: set validation in [data].")
    if found["select"] not in (names := ["none", "clean", *(attack["label"] for attack in found["attacks"])]):
        raise ValueError(f"[curves]: {unknown('attack to select by', found['select'], names)}")
    if found["smooth"] % 2 == 0:
        raise ValueError(f"[curves]: smooth must be odd, to have a middle; got {found['smooth']}.")
    trained = [model["training"] for model in models if model["training"]]
    if not trained:
        raise ValueError("[curves]: section [training] is missing: no model is trained.")
    if found["select"] != "none" and any(training["burn_in"] is not None for training in trained):
        raise ValueError("[curves]: select must be 'none' with burn_in: such a model is made of states of many steps.")
    return found


def _check_teacher(model: Table, teacher: str, models: dict[str, Table]) -> None:
    """A teacher is another model of the recipe, and has none itself."""
    where = f"[training]: {model['label']}"
    if teacher not in models:
        raise ValueError(
            f"{where}: {unknown('teacher', teacher, [label for label in models if label != model['label']])}"
        )
    if teacher == model["label"] or "teacher" in needs_of(models[teacher]):
        raise ValueError(f"{where}: its teacher must be a model without a teacher; {teacher!r} has one.")


def _check_continues(models: list[Table]) -> None:
    """Training continues from another model of the recipe, and in no circle."""
    labelled = {model["label"]: model for model in models}
    for model in models:
        met, name = [model["label"]], needs_of(model).get("continues")
        while name is not None:
            where = f"[training]: {met[-1]} continues"
            if name not in labelled:
                raise ValueError(
                    f"{where}: {unknown('model', name, [label for label in labelled if label not in met])}"
                )
            if name in met:
                raise ValueError(f"{where} {name!r}, which continues it: one of them must start by itself.")
            met.append(name)
            name = needs_of(labelled[name]).get("continues")


def _check_made_of(models: list[Table]) -> None:
    """Models that are joined or taken apart are others of the recipe, and none is made of itself."""
    labelled = {model["label"]: model for model in models}

    def walk(label: str, above: tuple[str, ...]) -> None:
        for name in parts_of(labelled[label]).values():
            where = f"[model]: {label} is made of"
            if name not in labelled:
                raise ValueError(f"{where}: {unknown('model', name, [other for other in labelled if other != label])}")
            if name in (*above, label):
                raise ValueError(f"{where} {name!r}, which is made of it: one of them must be trained.")
            walk(name, (*above, label))

    for label, model in labelled.items():
        if model["model"]["kind"] in MADE_OF and not parts_of(model):
            raise ValueError(f"[model]: {label} is made of other models: of must name one or more; got [].")
        walk(label, ())
        _check_apart(label, networks_in(label, labelled))


def networks_in(label: str, labelled: dict[str, Table]) -> list[tuple[str, int | None]]:
    """Which trained networks a model consists of: (label, number of the member, None for all of them)."""
    model, parts = labelled[label], parts_of(labelled[label]).values()
    if model["model"]["kind"] == "member":
        return [(name, model["model"]["number"]) for name in parts]
    return [one for name in parts for one in networks_in(name, labelled)] or [(label, None)]


def _check_apart(label: str, found: list[tuple[str, int | None]]) -> None:
    """No network is twice in a model, as it would be stored but once."""
    for place, (name, number) in enumerate(found):
        if any(
            (name == other and None in (number, its)) or (name, number) == (other, its) for other, its in found[:place]
        ):
            raise ValueError(f"[model]: {label} is made of {name!r} twice: an ensemble needs networks of their own.")


def parts_of(model: Table) -> dict[str, str]:
    """The labels of the models that one of MADE_OF consists of, in order."""
    made = model.get("model", {})
    of = made["of"] if made.get("kind") in MADE_OF else []
    return {f"part {number:03}": label for number, label in enumerate(of, 1)}


def needs_of(model: Table) -> dict[str, str]:
    """The labels of other models that this one needs: its teacher, the one that it continues, those it consists of."""
    training = model["training"] or {}
    return {word: training[word] for word in NEEDS if training.get(word) is not None} | parts_of(model)


def _transfer(given: Table, models: list[Table]) -> Table:
    """[transfer], with every model in the place of a group or of "all"."""
    found = arguments("[transfer]", transfer_section, given, supplied=())
    first = {model.get("group", model["label"]): model for model in reversed(models)}
    made = models if found["keep"] == "all" else [model for model in models if model in first.values()]
    named = {"all": [model["label"] for model in made]}
    for model in made:
        named.setdefault(str(model.get("group", model["label"])), []).append(model["label"])
    for model in models:
        named.setdefault(model["label"], [model["label"]])
    for name in found["sources"]:
        if name not in named:
            raise ValueError(f"[transfer]: {unknown('source', name, named)}")
    sources = dict.fromkeys(label for name in found["sources"] for label in named[name])
    labelled = {model["label"]: model for model in models}
    for label in sources if found["keep"] == "fooled" else ():
        model = labelled[label]["model"]
        kind = "an ensemble with a gate" if model.get("gate") else model["kind"]
        if kind not in FOOLED:
            raise ValueError(
                f"[transfer]: keep 'fooled' needs sources that are networks or ensembles; {label} is {kind}."
            )
    return {"sources": list(sources), "sets": found["sets"], "keep": found["keep"]}


def _seeds(given: Any) -> list[int]:
    """One seed, or several: then every model is trained once with each."""
    seeds = given if isinstance(given, list) else [given]
    if not seeds or any(isinstance(seed, bool) or not isinstance(seed, int) for seed in seeds):
        raise ValueError(f"seed must be a whole number, or a list of them; got {given!r}.")
    _check_unique("seeds", [str(seed) for seed in seeds])
    return seeds


def _for_seeds(models: list[Table], seeds: list[int]) -> list[Table]:
    """Every model once for each seed, where there are several; `group` is what these have in common."""
    if len(seeds) == 1:
        return models
    several = [
        {**deepcopy(model), "label": f"{model['label']}, seed {seed}", "group": model["label"], "seed": seed}
        for model in models
        for seed in seeds
    ]
    for model in several:  # models of one seed need those of that seed
        for word in [word for word in NEEDS if word in needs_of(model)]:
            model["training"][word] += f", seed {model['seed']}"
        if parts := parts_of(model):
            model["model"]["of"] = [f"{name}, seed {model['seed']}" for name in parts.values()]
    return several


def _models(raw: Table) -> list[Table]:
    """Network, model and training for each point of the grid of [sweep], with a label."""
    models = []
    sections = {word: raw[word] for word in MODEL_SECTIONS if word in raw}
    for word, section in sections.items():
        if not isinstance(section, dict) and not (word == "network" and isinstance(section, list)):
            raise ValueError(f"[{word}] must be a table of settings; got {section!r}.")
    check_table("[sweep]", raw.get("sweep", {}))
    sweep = {path: _not_taken_back(values) for path, values in raw.get("sweep", {}).items()}
    sweep = {path: values for path, values in sweep.items() if values != []}
    named = bool(sweep) and all(isinstance(values, dict) for values in sweep.values())
    words = [*sections, ANOTHER]
    for point in itertools.product(*(_axis(path, values, words) for path, values in sweep.items())):
        one = deepcopy(sections)
        for _, changes in point:
            merge(one, changes, "[sweep]")
        kind = [] if named else [str(one["model"].get("kind"))]
        models.append({"label": ", ".join([*kind, *(name for name, _ in point)]), **_model(one)})
    _check_unique("models", [str(model["label"]) for model in models])
    return models


def _model(one: Table) -> Table:
    """Network (or one for each member), model and training; a model that is made of others is not trained."""
    listed, made = isinstance(one["network"], list), one["model"].get("kind") in MADE_OF
    networks = [
        part(f"[[network]] {number}" if listed else "[network]", NETWORKS, network)
        for number, network in enumerate(one["network"] if listed else [one["network"]], 1)
    ]
    found: Table = {
        "network": networks if listed else networks[0],
        "model": part("[model]", MODELS | MADE_OF, one["model"]),
        "training": arguments("[training]", train, one["training"]) if "training" in one and not made else None,
    }
    if listed and not made and innermost(found["model"])["kind"] != "ensemble":
        raise ValueError(f"[[network]]: only an ensemble has several networks; got a {found['model']['kind']!r} model.")
    if ANOTHER in one:
        check_range(ANOTHER, one[ANOTHER], Count)
        found[ANOTHER] = one[ANOTHER]
    return found


def innermost(model: Table) -> Table:
    """The kind of model that others are around."""
    while "base" in model:
        model = model["base"]
    return model


def _not_taken_back(values: Any) -> Any:
    """The values of a line of [sweep], without those that are an empty list; none left is an empty list too."""
    if not isinstance(values, dict) or not values:
        return values
    return {name: value for name, value in values.items() if value != []} or []


def _axis(path: str, values: Any, sections: Sequence[str]) -> list[tuple[str, Table]]:
    """One line of [sweep] as (name, changes to the sections) for each of its values.

    A list holds values of a setting; a table holds values by name, of one setting or, where the path is no section's,
    of several: `[sweep.prior]`, `wide = { model = { prior_scale = 3.0 }, training = { epochs = 20 } }`.
    """
    known = path.split(".")[0] in sections
    if not known and not (isinstance(values, dict) and all(isinstance(value, dict) for value in values.values())):
        raise ValueError(f"[sweep]: {unknown('section', path.split('.')[0], sections)}")
    if isinstance(values, list) and values:
        return [(f"{path.split('.')[-1]} {_told(value)}", nested(path, value)) for value in values]
    if not isinstance(values, dict) or not values:
        raise ValueError(f"[sweep]: a sweep needs a list of values for {path!r}, or a table of them; got {values!r}.")
    for word in {word for value in values.values() for word in value} if not known else ():
        if word not in sections:
            told = unknown("section", word, sections)
            raise ValueError(
                f"[sweep.{path}]: {told} (If {path!r} is meant to be a section: {nearest(path, sections)})"
            )
    return [(name, nested(path, value) if known else value) for name, value in values.items()]


def _analyses(entries: list[Table], *, attacked: bool) -> list[Table]:
    """One analysis for each point of the grid of every [[analyses]], with a label."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("[[analyses]] must be a list of analyses.")
    found = []
    for i, entry in enumerate(entries):
        where = f"[[analyses]] number {i + 1}"
        own = {word: value for word, value in entry.items() if word != "sweep"}
        for point in _grid(where, entry.get("sweep", {})):
            analysis = part(where, ANALYSES, own | point)
            if not attacked and "attacks" in inspect.signature(lookup("kind", analysis["kind"], ANALYSES)).parameters:
                raise ValueError(f"{where}: {analysis['kind']} is of attacks: [[attacks]] is missing.")
            told = [f"{word} {_told(value)}" for word, value in point.items()]
            found.append({**analysis, "label": ", ".join([analysis["kind"].replace("_", " "), *told])})
    _check_unique("analyses", [analysis["label"] for analysis in found])
    return found


def _attacks(entries: list[Table], sizes: list[float], section: str = "[[attacks]]") -> list[Table]:
    """One attack for each point of the grid of every [[attacks]], with a label that no other has."""
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{section} must be a list of one attack or more.")
    attacks = []
    for i, entry in enumerate(entries):
        where = f"{section} number {i + 1}"
        own = {word: value for word, value in entry.items() if word not in ("sweep", "eps")}
        eps = entry.get("eps", sizes)
        _check_sizes(where, eps)
        for point in _grid(where, entry.get("sweep", {})):
            attack = part(where, ATTACKS, own | point)
            if full(attack, ATTACKS).get("norm") == "linf" and max(eps) > 1:
                raise ValueError(
                    f"{where}: eps {max(eps):g} is larger than the whole input box; is {max(eps):g}/255 meant?"
                )
            try:
                check_restarts(attack.get("restarts", 1), attack.get("start", "none"))
                check_start(attack.get("loss", "cw"), attack.get("start", "none"))
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
            attacks.append({**attack, "eps": eps})
    for attack, (name, label) in zip(attacks, _labels(attacks), strict=True):
        attack.update(name=name, label=label)
    _check_unique("attacks", [attack["label"] for attack in attacks])
    return attacks


def _labels(attacks: list[Table]) -> list[tuple[str, str]]:
    """(name, label): fgsm and FGSM-10, or FGSM-10 (loss cw) where another attack is FGSM-10 too.

    The name of an attack tells what no column of a row does, where it is not the default: pgd (start uniform).
    """
    whole = [full(attack, ATTACKS) for attack in attacks]
    names = [attack_name(attack["kind"], str(attack.get("draws", ""))) for attack in whole]
    labels = []
    for name, attack in zip(names, whole, strict=True):
        twins = [other for other, same in zip(whole, names, strict=True) if same == name]
        plain = {word: p.default for word, p in settable(lookup("kind", attack["kind"], ATTACKS)).items()}
        differing = [word for word in attack if any(other.get(word) != attack[word] for other in twins)]
        differing = [word for word in differing if word in COLUMNS or attack[word] != plain.get(word)]
        told = [f"{word} {_told(attack[word])}" for word in differing]
        rest = [f"{word} {_told(attack[word])}" for word in differing if word not in COLUMNS]
        kind = attack["kind"] + (f" ({', '.join(rest)})" if rest else "")
        labels.append((kind, f"{name} ({', '.join(told)})" if told else name))
    return labels


def _check_unique(what: str, labels: list[str]) -> None:
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ValueError(f"two {what} are the same: {twice[0]}.")


def _check_sizes(where: str, eps: Any) -> None:
    if not isinstance(eps, list):
        raise ValueError(f"{where}: eps must be a list of perturbation sizes; got {eps!r}.")
    try:
        check_eps([float(size) for size in eps], 1)
        if len(set(eps)) < len(eps):
            raise ValueError(f"eps has a size twice: {eps}.")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error


def _grid(where: str, sweep: Table) -> Iterator[Table]:
    """Every combination of the lists of a sweep; one empty point where there is none."""
    check_table(f"{where}: sweep", sweep)
    for word, values in sweep.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{where}: a sweep needs a list of values for {word!r}; got {values!r}.")
    return (dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values()))


def _told(value: Any) -> str:
    """A value in the label of a model or attack."""
    if isinstance(value, dict):
        return " ".join(_told(v) if k == "kind" else f"{k} {_told(v)}" for k, v in value.items())
    return _short(value) if isinstance(value, float) else str(value)


def _short(value: float) -> str:
    """The number, or as a share of 255 where that is what it must have been written as: 2/255."""
    steps = round(255 * value, 3)
    return str(value) if len(str(value)) <= 8 or abs(255 * value - steps) > 1e-9 else f"{steps:g}/255"
