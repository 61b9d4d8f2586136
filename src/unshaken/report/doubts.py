"""Reasons for doubt that lie in the run, not in its rows: training, few inputs or repeats, units without a result."""

from collections.abc import Mapping, Sequence

from unshaken.evaluation.statistics import accuracy
from unshaken.report.accuracy import chance_accuracy
from unshaken.report.groups import group_of, groups
from unshaken.report.stored_run import StoredRun
from unshaken.report.tables import unit_label
from unshaken.report.wording import listed, number_word, percent
from unshaken.runs.record import RunRecord, UnitRecord
from unshaken.training import Epoch

Histories = Mapping[str, Sequence[Epoch]]
"""One list of records of epochs per trained model."""

MOST_NAMED = 3
"""The most chains, networks of a group, or units that wait to be run, that are named one by one."""

FEW_REPEATS = {
    1: [
        "Each input was predicted with one set of draws only (one repeat), so the intervals cover the choice of inputs "
        "but not the luck of the draws."
    ],
    2: ["There are two repeats only, so the variance of the draws is hardly known and intervals can be wide."],
}
"""What is said of runs with so many repeats."""


def doubts(source: StoredRun) -> list[str]:
    """A sentence for each reason: what training met, few repeats, models that guess, few inputs, units not done."""
    rows = source.rows
    attacked = bool((rows.attack != "none").any())
    sentences = training_doubts(source.record, source.histories)
    if attacked and source.record.recipe.evaluation.draws != "all":
        sentences += FEW_REPEATS.get(rows.repeat.nunique(), [])
    for model, clean in rows[rows.attack == "none"].groupby("model", sort=False):
        if (interval := accuracy(clean)).low <= (guess := chance_accuracy(clean)):
            sentences.append(f"Without an attack {model} is not surely better than chance ({guess:.3f}): {interval}.")
    if len(rows) and (n := rows["index"].nunique()) < 100:
        sentences.append(f"Only {n} inputs were {'attacked' if attacked else 'used'}, so every interval is wide.")
    return sentences + _not_done(source.record.units)


def training_doubts(record: RunRecord, histories: Histories) -> list[str]:
    """A sentence for each model, or group of networks, with chains that diverged; one on noise that was left out, and
    one on weights that were selected on the images of the test."""
    diverged = {model: [chain for epoch in epochs for chain in epoch.diverged] for model, epochs in histories.items()}
    lost = {model: chains for model, chains in diverged.items() if chains}
    sentences = []
    for group in dict.fromkeys(group_of(record, lost).values()):
        if members := groups(record).get(group):
            networks = {model: lost[model] for model in members.values() if model in lost}
            sentences.append(_lost_by_group(record, group, members, networks))
        else:  # a model that is in no group is its own
            sentences.append(_lost_by_model(record, group, lost[group]))
    return sentences + _without_noise(record, histories) + _selected_on_test(record)


def _lost_by_model(record: RunRecord, model: str, lost: Sequence[str]) -> str:
    """Which chains of one model diverged, and what it consists of."""
    names = _some([f"{name} ({when})" for name, _, when in (chain.partition(" in ") for chain in lost)], "chains")
    left = record.recipe.model(model).model.innermost.get("chains", 0) - len(lost)
    rest = "other chain" if left == 1 else f"other {number_word(left)} chains" if left > 1 else "other chains"
    rest += _stored_before(record, model)
    return f"In the training of {model}, {names} diverged: the model consists of the {rest}."


def _lost_by_group(record: RunRecord, group: str, members: Mapping[int, str], lost: Mapping[str, Sequence[str]]) -> str:
    """How many networks of a group lost chains, and which."""
    seeds = {model: seed for seed, model in members.items()}
    names = {model: listed([chain.partition(" in ")[0] for chain in chains]) for model, chains in lost.items()}
    networks = _some([f"{name} with seed {seeds[model]}" for model, name in names.items()], "networks")
    count = f"{len(lost)} of the {len(members)} networks of {group}"
    rest = f"such a network consists of its other chains{_stored_before(record, next(iter(lost)))}"
    return f"Chains diverged in the training of {count} ({networks}): {rest}."


def _without_noise(record: RunRecord, histories: Histories) -> list[str]:
    """The largest share of noise variances that were negative, and what to do about it."""
    shares = {model: epochs[-1].clamped for model, epochs in histories.items() if epochs}
    model = max(shares, key=shares.__getitem__, default=None)
    if model is None or shares[model] == 0:
        return []
    training = record.recipe.model(model).training
    matched = training is not None and training.optimizer.get("friction") == "matched"
    cure = "a lower learning rate" + ("" if matched else ' or friction "matched"')
    most = ", the most of all models" if sum(share > 0 for share in shares.values()) > 1 else ""
    share = percent(shares[model]) if shares[model] >= 0.0005 else "less than 0.1 %"
    return [
        f"In the training of {model}, {share} of the noise variances of its sampler were negative{most}: those weights "
        f"had no noise in those steps; {cure} is the usual cure."
    ]


def _selected_on_test(record: RunRecord) -> list[str]:
    """Where weights were selected on the images they are tested on, as published results often are."""
    curves = record.recipe.curves
    if curves is None or curves.split != "test" or curves.select == "none":
        return []
    under = "clean accuracy" if curves.select == "clean" else f"accuracy under {curves.select}"
    return [
        f"Weights were selected by their {under} on the images that they are tested on, so every accuracy is too high "
        'by the luck of that choice: split = "validation" of [curves] selects on others.'
    ]


def _stored_before(record: RunRecord, model: str) -> str:
    """What else draws are if chains store states on their way."""
    training = record.recipe.model(model).training
    stored = training is not None and training.burn_in is not None
    return ", and of what these chains had stored before" if stored else ""


def _some(names: Sequence[str], what: str) -> str:
    """All of a few, or the first and how many there are besides."""
    more = len(names) - MOST_NAMED
    return listed([*names[:MOST_NAMED], f"{more} other {what}"] if more > 1 else names)


def _not_done(units: list[UnitRecord]) -> list[str]:
    """A sentence for each part without a result, its repeats together; one for all that wait, if they are many."""
    repeats: dict[tuple[str, ...], list[UnitRecord]] = {}
    for unit in units:
        if unit.status != "done":
            repeats.setdefault((unit.kind, unit_label(unit), unit.model, unit.status), []).append(unit)
    waiting = [group for group in repeats.values() if group[0].status not in ("failed", "skipped")]
    if len(waiting) <= MOST_NAMED:
        return [_missing(group) for group in repeats.values()]
    models = list(dict.fromkeys(group[0].model for group in waiting))
    sentences = [_missing(group) for group in repeats.values() if group not in waiting]
    return [*sentences, f"{sum(map(len, waiting))} units have not been run yet, on {listed(models)}."]


def _missing(units: list[UnitRecord]) -> str:
    """ "PGD-10 on mean_field failed (2 units): out of memory." """
    first = units[0]
    what = "The training of" if first.kind == "train" else f"{unit_label(first)} on"
    outcome = {"failed": "failed", "skipped": "could not start"}.get(first.status, "has not been run yet")
    count = f" ({len(units)} units)" if len(units) > 1 else ""
    reason = f": {first.error.strip().rstrip('.')}" if first.error else ""
    return f"{what} {first.model} {outcome}{count}{reason}."
