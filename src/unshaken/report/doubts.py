"""Reasons for doubt that lie in the run, not in its rows: training, few inputs or repeats, units without a result."""

from collections.abc import Mapping, Sequence

from unshaken.evaluation.statistics import accuracy
from unshaken.report.accuracy import chance_accuracy
from unshaken.report.groups import group_of, groups
from unshaken.report.section import Wording
from unshaken.report.stored_run import StoredRun
from unshaken.report.tables import unit_label
from unshaken.report.wording import listed
from unshaken.runs.record import RunRecord, UnitRecord
from unshaken.training import Epoch

Histories = Mapping[str, Sequence[Epoch]]
"""One list of records of epochs per trained model."""

MOST_NAMED = 3  # the most chains, networks of a group, or units that wait to be run, that are named one by one

WORDING = Wording("doubts")


def doubts(source: StoredRun) -> list[str]:
    """A sentence for each reason: what training met, few repeats, models that guess, few inputs, units not done."""
    rows = source.rows
    attacked = bool((rows.attack != "none").any())
    sentences = training_doubts(source.record, source.histories)
    if attacked and source.record.recipe.evaluation.draws != "all" and (repeats := rows.repeat.nunique()) < 3:
        sentences.append(WORDING.few_repeats(repeats))
    for model, clean in rows[rows.attack == "none"].groupby("model", sort=False):
        if (interval := accuracy(clean)).low <= (guess := chance_accuracy(clean)):
            sentences.append(WORDING.guesses(model, guess, interval))
    if len(rows) and (n := rows["index"].nunique()) < 100:
        sentences.append(WORDING.few_inputs(n, attacked))
    return sentences + _not_done(source.record.units)


def training_doubts(record: RunRecord, histories: Histories) -> list[str]:
    """A sentence for each model, or group of networks, with chains that diverged; one on noise that was left out, and
    one on weights that were selected on the images of the test."""
    diverged = {model: [chain for epoch in epochs for chain in epoch.diverged] for model, epochs in histories.items()}
    lost = {model: chains for model, chains in diverged.items() if chains}
    sentences = []
    for group in dict.fromkeys(group_of(record, lost).values()):
        seeds = {model: seed for seed, model in groups(record).get(group, {}).items()}
        networks = [model for model in seeds or [group] if model in lost]  # a model that is in no group is its own
        training = record.recipe.model(networks[0]).training
        stored = training is not None and training.burn_in is not None
        chains = {model: [chain.partition(" in ")[::2] for chain in lost[model]] for model in networks}
        if seeds:
            texts = [f"{listed([name for name, _ in chains[model]])} with seed {seeds[model]}" for model in networks]
            names = _some(texts, "networks")
            sentences.append(WORDING.lost_by_group(group, names, len(networks), len(seeds), stored))
        else:
            names = _some([f"{name} ({when})" for name, when in chains[group]], "chains")
            left = record.recipe.model(group).model.innermost.get("chains", 0) - len(lost[group])
            sentences.append(WORDING.lost_by_model(group, names, left, stored))
    shares = {model: epochs[-1].clamped for model, epochs in histories.items() if epochs and epochs[-1].clamped > 0}
    if shares:
        model = max(shares, key=shares.__getitem__)
        training = record.recipe.model(model).training
        matched = training is not None and training.optimizer.get("friction") == "matched"
        sentences.append(WORDING.without_noise(model, shares[model], len(shares) > 1, matched))
    curves = record.recipe.curves
    if curves is not None and curves.split == "test" and curves.select != "none":
        sentences.append(WORDING.selected_on_test(curves.select))
    return sentences


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
    models = listed([*dict.fromkeys(group[0].model for group in waiting)])
    sentences = [_missing(group) for group in repeats.values() if group not in waiting]
    return [*sentences, f"{sum(map(len, waiting))} units have not been run yet, on {models}."]


def _missing(units: list[UnitRecord]) -> str:
    """ "PGD-10 on mean_field failed (2 units): out of memory." """
    first = units[0]
    what = "The training of" if first.kind == "train" else f"{unit_label(first)} on"
    outcome = {"failed": "failed", "skipped": "could not start"}.get(first.status, "has not been run yet")
    count = f" ({len(units)} units)" if len(units) > 1 else ""
    reason = f": {first.error.strip().rstrip('.')}" if first.error else ""
    return f"{what} {first.model} {outcome}{count}{reason}."
