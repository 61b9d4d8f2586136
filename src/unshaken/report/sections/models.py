"""Models compared: the same attacks on each, what their training took, and which are surely better than MEAN's."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unshaken.evaluation.statistics import differences
from unshaken.report.accuracy import NORMS, SERIES, STEP, Panel, SharedAttack, point_at, rows_behind, shared_attacks
from unshaken.report.drawing import SCHEMES, draw_lines, eps_axis, facet_figure, named_styles, styled
from unshaken.report.groups import grouped_labels
from unshaken.report.section import Section, Table, Wording
from unshaken.report.sections.columns import column_table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import if_known, increase_text, percent, significant_digits, times_text

WORDING = Wording("models")
MANY = 4  # with more models than this the comparison comes first and single models are folded away
MAX_ATTACKS = 4  # the most attacks of which none is left out
BASE = "MEAN"  # the model, by its label, that training times and accuracies are relative to
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
        units = [unit for unit in record.units if unit.kind == "train" and unit.model not in untrained]
        return {unit.model: unit.seconds for unit in units if unit.seconds}

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
        return dict((sums.saturated / sums.inference_draws).items())

    @cached_property
    def scores(self) -> dict[str, Score]:
        """Every model beside the base, paired by input and repeat, at a level shared out over the points of a model."""
        if BASE not in self.labels:
            return {}
        points = self.run.rows[self.run.rows.role == "sweep"].groupby([*SERIES, "eps"], sort=False)
        scores = {}
        for model in self.labels:
            compared = [attack for attack in self.attacks if model != BASE and {model, BASE} <= attack.curves.keys()]
            series = [[(*attack.curves[m].iloc[0][SERIES],) for m in (model, BASE)] for attack in compared]
            pairs = [
                (points.get_group((*ours, eps)), points.get_group((*base, eps)))
                for attack, (ours, base) in zip(compared, series, strict=True)
                for eps in attack.eps()
            ]
            pairs = [(ours, base) for ours, base in pairs if set(ours.repeat) & set(base.repeat)]
            if pairs:
                changes = differences(pairs)
                counts = sum(change.low > 0 for change in changes), sum(change.high < 0 for change in changes)
                scores[model] = Score(*counts, len(pairs))
        return scores


def models_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The same attacks on several models; None where there is one model, no attack in common, or networks of groups
    alone, of which the section on seeds tells."""
    attacks = select_attacks(shared_attacks(panels), panels)
    if not attacks or {panel.model for panel in panels} <= grouped_labels(run.record):
        return None
    models = Models(run, attacks)
    drawn = [attack for attack in attacks if len(attack.eps()) > 1 or attack.apart != STEP]
    drawing = WORDING.drawing("models", lambda narrow: models_figure(drawn, narrow=narrow), models, len(drawn))
    parts = _sentences(models), [drawing] * bool(drawn), [models_table(models)]
    return Section("models", WORDING.title(), *parts, page_position(models.labels))


def page_position(models: Sequence[str]) -> str:
    """Where a comparison of models stands on the page: many of them come first, and single ones are folded away."""
    return "first" if len(models) > MANY else "figures"


def select_attacks(attacks: Sequence[SharedAttack], panels: Sequence[Panel]) -> list[SharedAttack]:
    """All attacks if they are few; otherwise the one that is strongest on most models, MEAN and MOMENTS."""
    if len(attacks) <= MAX_ATTACKS:
        return list(attacks)
    strongest = [panel.strongest() for panel in [p for p in panels if not p.apart] or panels]
    by_mean = sorted(attacks, key=SharedAttack.mean, reverse=True)
    # of attacks of one kind the strongest is the last and stays
    labels = {next(iter(attack.curves.values())).attack.iloc[0]: attack.label for attack in by_mean}
    wanted = {max(strongest, key=strongest.count), *(labels[kind] for kind in SCHEMES if kind in labels)}
    return [attack for attack in attacks if attack.label in wanted] or list(attacks[:1])


def models_table(models: Models) -> Table:
    """Clean accuracy, accuracy under each attack, saturation, and training time, of every model.

    The .csv has every eps; the text has the informative eps of each attack.
    """
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
    saturating = any(models.saturated.get(model, 0) > 0 for model in models.labels)
    for head, values, text, present in (
        ("saturated", models.saturated, percent, saturating),
        ("training, s", models.seconds, significant_digits, models.seconds),
        (f"training time over {BASE}", increases, increase_text, models.relative),
        ("published", models.published, increase_text, models.published),
    ):
        columns += [(head, [if_known(values.get(model, NAN), text) for model in models.labels])] * bool(present)
    if models.scores:
        data[["better_than_mean", "worse_than_mean", "points"]] = [score or (NAN,) * 3 for score in scores]
    return column_table("models", data, columns, note=WORDING.note(models, saturating))


@styled()
def models_figure(attacks: Sequence[SharedAttack], *, narrow: bool = False) -> Figure:
    """Accuracy against eps, the clean one at eps 0; one line for each model, one set of axes for each attack."""
    labels = list(dict.fromkeys(model for attack in attacks for model in attack.curves))
    styles = named_styles(labels)

    def draw(axis: Axes, attack: SharedAttack) -> dict[str, Any]:
        curves = dict(attack.curves)
        for model, clean in attack.clean.items():
            start = pd.DataFrame([{"eps": 0.0, **clean._asdict()}]).rename(columns={"value": "accuracy"})
            curves[model] = pd.concat([start, curves[model][curves[model].eps > 0]])
        eps_axis(axis, sorted({float(eps) for curve in curves.values() for eps in curve.eps}))
        axis.set(title=f"under {attack.label}", xlabel=f"eps ({NORMS.get(attack.norm, attack.norm)} norm)")
        return draw_lines(axis, curves, styles)

    options: dict[str, Any] = {"ylabel": "accuracy", "labels": labels, "below": narrow, "sharey": True}
    return facet_figure(attacks, draw, narrow=narrow, height=(3.7, 3.3, 2.6), **options)


def _sentences(models: Models) -> list[str]:
    """Who is more robust than the network trained against MEAN, at what cost; the range where there are many."""
    sentences, attacks = [], models.attacks
    for attack in (attack for attack in attacks if attack.apart == STEP):
        rows = {model: rows_behind(c, attack.informative(), models.run.rows) for model, c in attack.curves.items()}
        lengths = {model: float(attacked["size"].mean()) for model, attacked in rows.items()}
        sentences.append(WORDING.step_lengths(attack, lengths))
    sentences += [_beside_mean(models)] if models.scores else []
    if len(models.labels) <= MANY:
        return sentences
    clean = {m: point.value for attack in attacks for m, point in attack.clean.items()}
    spans = [WORDING.clean_span(clean)] if clean else []
    for attack in attacks:
        points = {model: point_at(curve, attack.informative()) for model, curve in attack.curves.items()}
        spans.append(WORDING.attacked_span({model: point.value for model, point in points.items()}, attack))
    return [WORDING.spans(models.labels, spans), *sentences]


def _beside_mean(models: Models) -> str:
    """Which models are better than the base at every point, beyond chance, and what they cost."""
    scores = models.scores
    times = {model: f" ({times_text(ratio)} its training time)" for model, ratio in models.relative.items()}
    better = [model + times.get(model, "") for model, score in scores.items() if score.better == score.of]
    worse = [model for model, score in scores.items() if score.worse == score.of]
    nearest, score = max(scores.items(), key=lambda item: item[1].better - item[1].worse)
    attacks = [attack.label for attack in models.attacks]
    return WORDING.beside_mean(attacks, better, worse, nearest + times.get(nearest, ""), score)
