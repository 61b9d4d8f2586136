"""One run, some of its inputs, and a page that says why each label fell or did not."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pandas import DataFrame

from unshaken.analysis.explanation import explanations
from unshaken.data import Data
from unshaken.errors import lookup
from unshaken.report.accuracy import Panel, accuracy_table, panels, rows_behind
from unshaken.report.explain_page import Case, case_sentences, outcome_text, write_explain_page
from unshaken.report.stored_run import StoredRun, attack_of_row, load_run
from unshaken.report.wording import eps_text
from unshaken.runs.compute import inference_draws, perturb
from unshaken.runs.loading import load_split, new_model
from unshaken.runs.plan import plan
from unshaken.runs.recipe import Recipe
from unshaken.runs.record import RunRecord
from unshaken.runs.run import choose_device
from unshaken.runs.units import AttackUnit, TrainUnit
from unshaken.store import hash_tensors

CASES = 6  # inputs that are shown where none are asked for


def explain(
    run: str | Path,
    *,
    inputs: Sequence[int] = (),
    model: str | None = None,
    attack: str | None = None,
    eps: float | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> Path:
    """Write explain.html into the folder of a run: for some inputs the image, the attack and what the theorems say.

    Args:
        run: the folder of a run with attacks.
        inputs: indices among the test images; by default some that fell and some that did not.
        model, attack: labels as in the report; by default its first model and the attack that is strongest on it.
        eps: one of the sizes of the attack; by default the smallest that halves the accuracy.
        data_root: where the images are, as for the run itself.

    Returns the page. Attack and inference draws are those of the first repeat of the run; `say` gets a line for each
    input.
    """
    source = load_run(run)
    panel, label = _choice(source, model, attack)
    curve = panel.curves[label]
    size = panel.informative(label) if eps is None else _size(curve, eps, label)
    rows = rows_behind(curve, size, source.rows).query("repeat == 0").sort_values("index")
    count = len(rows)
    for index in inputs:
        if not 0 <= index < count:
            raise ValueError(f"there is no input {index}: the run has {count:,} of them, from 0 to {count - 1:,}.")
    indices = list(dict.fromkeys(inputs)) or _typical_inputs(rows, source, panel.model)
    record = source.record
    data = load_split(record.recipe.data, "test", data_root, choose_device(device))
    if hash_tensors([data.x, data.y]) != record.inputs.images["test"]:
        raise ValueError(f"{source.folder} was made with other test images than {data.name!r} has now.")
    recipe_attack = attack_of_row(record, rows.iloc[0])[1]
    if recipe_attack is None:
        raise ValueError(f"{label} is not an attack of the recipe of {source.folder}.")
    cases = _cases(source.folder, record, (panel.model, recipe_attack.label), data, size, indices)
    for case in cases:
        say(f"input {case.input_index} {outcome_text(case.why)}. {case_sentences(case.why, data.labels)[-1]}")
    return write_explain_page(source, cases, f"{label} on {panel.model}", size)


def _choice(source: StoredRun, model: str | None, attack: str | None) -> tuple[Panel, str]:
    """The panel and the curve that are meant: by default the first model, and the strongest attack on it.

    One with a step of its own, or that aims at the latent, is not meant by default where there is another.
    """
    candidates = sorted(panels(accuracy_table(source.rows)), key=lambda panel: bool(panel.apart))
    if not candidates:
        raise ValueError(f"{source.folder} has no attacks to explain.")
    if model is not None:
        lookup("model", model, {panel.model: panel for panel in candidates})
        candidates = [panel for panel in candidates if panel.model == model]
    if attack is None:
        return candidates[0], candidates[0].strongest()
    panel = lookup("attack", attack, {label: panel for panel in reversed(candidates) for label in panel.curves})
    return panel, attack


def _size(curve: DataFrame, eps: float, label: str) -> float:
    for size in curve.eps:
        if abs(size - eps) < 1e-6:
            return float(size)
    raise ValueError(f"{label} was not run with eps {eps:g}; choose one of: {', '.join(eps_text(curve.eps).values())}.")


def _typical_inputs(rows: DataFrame, source: StoredRun, model: str) -> list[int]:
    """Inputs that were classified correctly before the attack: the first that fell and the first that did not."""
    clean = source.rows[(source.rows.attack == "none") & (source.rows.model == model) & (source.rows.repeat == 0)]
    right = rows[rows["index"].isin(clean[clean.correct]["index"])]
    fell, stood = (right[right.correct == correct]["index"].tolist() for correct in (False, True))
    half = CASES // 2
    indices = fell[: max(half, CASES - len(stood))] + stood[: max(half, CASES - len(fell))]
    return sorted(map(int, indices)) or rows["index"].tolist()[:CASES]


def _cases(
    folder: Path, record: RunRecord, labels: tuple[str, str], data: Data, size: float, indices: list[int]
) -> list[Case]:
    """The attack on a model, by their labels, on some inputs, and why it won or lost."""
    model_label, attack_label = labels
    every = plan(Recipe(record.name, None, record.recipe), record.inputs)
    units = [unit for unit in every if unit.model == model_label]
    train = next(unit for unit in units if isinstance(unit, TrainUnit))
    unit = next(unit for unit in units if isinstance(unit, AttackUnit) and unit.attack.label == attack_label)
    model = new_model(train.source, data)
    model.load(folder / "models" / f"{train.name}.safetensors")
    x, y = data.x[indices], data.y[indices]
    x_adv = perturb(unit, model, [size], x, y, indices)[0][0]
    rule = unit.prediction.rule
    smoothness = "published" if hasattr(model, "sigma") and rule == "probability" else None
    whys = explanations(model, x, y, x_adv, inference_draws(unit, model), smoothness=smoothness, rule=rule)
    return list(map(Case, indices, x.cpu().numpy(), x_adv.cpu().numpy(), whys))
