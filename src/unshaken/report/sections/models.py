"""Models compared: the same attacks on each, what their training took, and which are surely better than MEAN's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.evaluation.statistics import differences
from unshaken.report.accuracy import NORMS, SERIES, STEP, Panel, SharedAttack, point_at, rows_behind, shared_attacks
from unshaken.report.drawing import SCHEMES, draw_lines, eps_axis, facet_figure, named_styles, styled
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.sections.columns import column_table
from unshaken.report.sections.comparison import published_note
from unshaken.report.sections.networks import grouped_labels
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import if_known, increase_text, listed, percent, significant_digits, times_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

MANY = 4
"""With more models than this the comparison comes first and single models are folded away."""

MAX_ATTACKS = 4
"""The most attacks of which none is left out."""

BASE = "MEAN"
"""The model, by its label, that training times and accuracies are relative to."""

NAN = float("nan")


class Score(NamedTuple):
    """At how many points, an attack at an eps, a model is surely better and surely worse than the base; of how many."""

    better: int
    worse: int
    of: int


class Models:
    """The models of a run side by side."""

    def __init__(self, run: StoredRun, attacks: Sequence[SharedAttack]) -> None:
        self.run, self.attacks = run, attacks
        self.labels = list(dict.fromkeys(model for attack in attacks for model in attack.curves))

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Training time of each model that was trained."""
        record = self.run.record
        untrained = {model.label for model in record.recipe.models if model.training is None}
        return {
            unit.model: unit.seconds
            for unit in record.units
            if unit.kind == "train" and unit.seconds and unit.model not in untrained
        }

    @cached_property
    def relative(self) -> dict[str, float]:
        """Training time divided by that of the base; empty where there is no base."""
        base = self.seconds.get(BASE)
        return {model: seconds / base for model, seconds in self.seconds.items()} if base else {}

    @cached_property
    def published(self) -> dict[str, float]:
        """The published increase of the training time over that of the base, for this data set."""
        increases = self.run.record.paper.training.get(self.run.record.data.name, {})
        return {model: increases[model] for model in self.labels if model in increases}

    @cached_property
    def saturated(self) -> dict[str, float]:
        """Share of the clean predictions of single draws whose softmax is exactly one."""
        clean = self.run.rows[self.run.rows.attack == "none"]
        sums = clean.groupby("model")[["saturated", "inference_draws"]].sum()
        return {str(model): share for model, share in (sums.saturated / sums.inference_draws).items()}

    @property
    def saturating(self) -> bool:
        """Whether any model has saturated predictions."""
        return any(self.saturated.get(model, 0) > 0 for model in self.labels)

    @cached_property
    def scores(self) -> dict[str, Score]:
        """Every model beside the base, paired by input and repeat, at a level shared out over the points of a model."""
        if BASE not in self.labels:
            return {}
        rows = self.run.rows
        points = rows[rows.role == "sweep"].groupby([*SERIES, "eps"], sort=False)

        def rows_at(curve: DataFrame, eps: float) -> DataFrame:
            return points.get_group((*(curve.iloc[0][column] for column in SERIES), eps))

        scores = {}
        for model in self.labels:
            pairs = [
                (rows_at(attack.curves[model], eps), rows_at(attack.curves[BASE], eps))
                for attack in self.attacks
                if model != BASE and {model, BASE} <= attack.curves.keys()
                for eps in attack.eps()
            ]
            pairs = [(ours, base) for ours, base in pairs if set(ours.repeat) & set(base.repeat)]
            changes = differences(pairs)
            better, worse = sum(change.low > 0 for change in changes), sum(change.high < 0 for change in changes)
            if pairs:
                scores[model] = Score(better, worse, len(pairs))
        return scores


def models_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The same attacks on several models; None where there is one model, no attack in common, or networks of groups
    alone, of which the section on seeds tells."""
    attacks = select_attacks(shared_attacks(panels), panels)
    if not attacks or {panel.model for panel in panels} <= grouped_labels(run.record):
        return None
    models = Models(run, attacks)
    caption = "Higher is a more robust network. Accuracy at eps 0 is that without an attack; bars are 95 % intervals."
    if BASE in models.labels or "MOMENTS" in models.labels:
        caption += " A network that was trained against an attack is drawn like that attack."
    drawn = [attack for attack in attacks if len(attack.eps()) > 1 or attack.apart != STEP]
    if len(drawn) < len(attacks):
        caption += " An attack with a step of its own is in the table alone."
    drawing = Drawing(
        "models",
        lambda narrow: models_figure(drawn, narrow=narrow),
        "Accuracy of every model against eps, for each attack; the numbers are in the table below",
        caption,
    )
    return Section(
        "models",
        "The models compared",
        _sentences(models),
        [drawing] * bool(drawn),
        [models_table(models)],
        page_position(models.labels),
    )


def page_position(models: Sequence[str]) -> str:
    """Where a comparison of models stands on the page: many of them come first, and single ones are folded away."""
    return "first" if len(models) > MANY else "figures"


def select_attacks(attacks: Sequence[SharedAttack], panels: Sequence[Panel]) -> list[SharedAttack]:
    """All attacks if they are few; otherwise the one that is strongest on most models, MEAN and MOMENTS."""
    if len(attacks) <= MAX_ATTACKS:
        return list(attacks)
    strongest = [panel.strongest() for panel in [p for p in panels if not p.apart] or panels]
    cheap: dict[str, SharedAttack] = {}
    for attack in sorted(attacks, key=SharedAttack.mean, reverse=True):
        cheap[next(iter(attack.curves.values())).attack.iloc[0]] = attack  # the strongest loss is the last
    wanted = {max(strongest, key=strongest.count), *(cheap[kind].label for kind in SCHEMES if kind in cheap)}
    return [attack for attack in attacks if attack.label in wanted] or list(attacks[:1])


def models_table(models: Models) -> Table:
    """Clean accuracy, accuracy under each attack, saturation, and training time, of every model.

    The .csv has every eps; the text has the informative eps of each attack.
    """
    import pandas as pd

    clean = {model: point for attack in reversed(models.attacks) for model, point in attack.clean.items()}
    data = pd.DataFrame({"model": models.labels})
    data[["clean", "clean_low", "clean_high"]] = [(clean.get(model) or (NAN,) * 3)[:3] for model in models.labels]
    columns: list[tuple[str, list[str]]] = [("model", models.labels)]
    columns += [("no attack", [str(clean.get(model, "")) for model in models.labels])]
    for attack in models.attacks:
        for eps in attack.eps():
            points = attack.points(eps, models.labels)
            data[f"{attack.label}, eps {attack.eps_text(eps)}"] = [point.value if point else NAN for point in points]
        under = attack.points(attack.informative(), models.labels)
        head = f"{attack.label}, eps {attack.eps_text(attack.informative())}"
        columns += [(head, ["" if point is None else point.in_full() for point in under])]
    scores = [models.scores.get(model) for model in models.labels]
    cells = ["" if score is None else f"{score.better} / {score.worse} of {score.of}" for score in scores]
    columns += [(f"better / worse than {BASE}", cells)] * bool(models.scores)
    measured = {"saturated": models.saturated, "training_seconds": models.seconds, "training_to_mean": models.relative}
    for name, values in (measured | {"published_increase": models.published}).items():
        data[name] = [values.get(model, NAN) for model in models.labels]
    increases = {model: ratio - 1 for model, ratio in models.relative.items() if model != BASE}
    for head, values, text, present in (
        ("saturated", models.saturated, percent, models.saturating),
        ("training, s", models.seconds, significant_digits, models.seconds),
        (f"training time over {BASE}", increases, increase_text, models.relative),
        ("published", models.published, increase_text, models.published),
    ):
        columns += [(head, [if_known(values.get(model, NAN), text) for model in models.labels])] * bool(present)
    if models.scores:
        data[["better_than_mean", "worse_than_mean", "points"]] = [score or (NAN,) * 3 for score in scores]
    return column_table("models", data, columns, note=_note(models))


@styled()
def models_figure(attacks: Sequence[SharedAttack], *, narrow: bool = False) -> Figure:
    """Accuracy against eps, the clean one at eps 0; one line for each model, one set of axes for each attack."""
    labels = list(dict.fromkeys(model for attack in attacks for model in attack.curves))
    styles = named_styles(labels)

    def draw(axis: Axes, attack: SharedAttack) -> dict[str, Any]:
        curves = {model: _from_clean(attack, model) for model in attack.curves}
        eps_axis(axis, sorted({float(eps) for curve in curves.values() for eps in curve.eps}))
        axis.set(title=f"under {attack.label}", xlabel=f"eps ({NORMS.get(attack.norm, attack.norm)} norm)")
        return draw_lines(axis, curves, styles)

    height = 2.6 if narrow else 3.3 if len(attacks) > 1 else 3.7
    return facet_figure(
        attacks, draw, narrow=narrow, height=height, ylabel="accuracy", labels=labels, below=narrow, sharey=True
    )


def _from_clean(attack: SharedAttack, model: str) -> DataFrame:
    """The curve of a model, from its accuracy without the attack on where that is known."""
    import pandas as pd

    curve, clean = attack.curves[model], attack.clean.get(model)
    if clean is None:
        return curve
    start = pd.DataFrame([{"eps": 0.0, **clean._asdict()}]).rename(columns={"value": "accuracy"})
    return pd.concat([start, curve[curve.eps > 0]])


def _note(models: Models) -> str:
    note = "Accuracy with its 95 % interval, under attack at the size where the attack has halved the mean "
    note += "accuracy of the models, or else at its largest size."
    if models.scores:
        note += (
            f" Better and worse than {BASE}: at how many pairs of attack and eps the difference to the network trained "
            f"against {BASE} is beyond chance."
        )
    if models.saturating:
        note += " Saturated: share of the clean predictions of single draws whose probability is rounded to one."
    return note + published_note(models.run.record) * bool(models.published)


def _sentences(models: Models) -> list[str]:
    """Who is more robust than the network trained against MEAN, at what cost; the range where there are many."""
    sentences = [_own_step(models, attack) for attack in models.attacks if attack.apart == STEP]
    sentences += [_beside_mean(models)] if models.scores else []
    if len(models.labels) <= MANY:
        return sentences
    clean = {m: point.value for attack in models.attacks for m, point in attack.clean.items()}
    ranges = [f"{_range(clean)} without an attack"] if clean else []
    for attack in models.attacks:
        eps = attack.informative()
        accuracies = {model: point_at(curve, eps).value for model, curve in attack.curves.items()}
        ranges.append(f"{_range(accuracies)} under {attack.label} at eps {attack.eps_text(eps)}")
    return [f"The accuracy of the {len(models.labels)} models goes {listed(ranges)}.", *sentences]


def _own_step(models: Models, attack: SharedAttack) -> str:
    """How far an attack that is as long as the gradient moves the inputs of each model."""
    eps, rows = attack.informative(), models.run.rows
    lengths = {model: float(rows_behind(curve, eps, rows)["size"].mean()) for model, curve in attack.curves.items()}
    return (
        f"Models are not attacked alike by {attack.label}: the mean length of its step, which follows that of the "
        f"gradient, goes {_range(lengths)}."
    )


def _range(values: dict[str, float]) -> str:
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    return f"from {values[low]:.3f} ({low}) to {values[high]:.3f} ({high})"


def _beside_mean(models: Models) -> str:
    """Which models are better than the base at every point, beyond chance, and what they cost."""
    scores, under = models.scores, listed([attack.label for attack in models.attacks])
    better = [model for model, score in scores.items() if score.better == score.of]
    worse = [model for model, score in scores.items() if score.worse == score.of]
    if better:
        names = f"{listed([_costed(models, m) for m in better])} {'is' if len(better) == 1 else 'are'}"
        sentence = f"Beyond chance at every eps under {under}, {names} more robust than {BASE}"
    else:
        nearest = max(scores, key=lambda model: scores[model].better - scores[model].worse)
        score = scores[nearest]
        each = "every" if score.better else "any"
        sentence = f"No model is more robust than {BASE} beyond chance at {each} eps under {under}"
        if score.better:
            sentence += f"; {_costed(models, nearest)} is at {score.better} of {score.of} pairs of attack and eps"
            sentence += f" and less robust at {score.worse}" if score.worse else ""
    losers = f"; {listed(worse)} {'is' if len(worse) == 1 else 'are'} less robust everywhere" if worse else ""
    return f"{sentence}{losers}."


def _costed(models: Models, model: str) -> str:
    ratio = models.relative.get(model)
    return model if ratio is None else f"{model} ({times_text(ratio)} its training time)"
