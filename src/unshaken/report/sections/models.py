"""Models compared: the same attacks on each, what their training took, and which are surely better than MEAN's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.evaluation.statistics import difference
from unshaken.report.accuracy import LATENT, NORMS, SERIES, STEP, Panel, Point, apart, point_at, rows_behind
from unshaken.report.drawing import (
    SCHEMES,
    draw_lines,
    empty_figure,
    eps_axis,
    legend,
    legend_height,
    named_styles,
    styled,
)
from unshaken.report.groups import groups
from unshaken.report.section import Drawing, Section, Table
from unshaken.report.stored_run import StoredRun
from unshaken.report.wording import eps_text, increase_text, listed, percent, significant_digits, times_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MANY = 4
"""With more models than this the comparison comes first and single models are folded away."""

SHOWN = 4
"""The most attacks that are all shown."""

BASE = "MEAN"
"""The model, by its label, that training times and accuracies are relative to."""


class Shared(NamedTuple):
    """One attack on several models: `curves` by model, rows of `accuracy_table` by eps; `clean` by model."""

    label: str
    norm: str
    curves: dict[str, DataFrame]
    clean: dict[str, Point]

    @property
    def apart(self) -> str:
        """As of a `Panel`."""
        return str(apart(next(iter(self.curves.values()))).iloc[0])

    def eps(self) -> list[float]:
        """The sizes that the attack was run with on every model."""
        return sorted(set.intersection(*({float(eps) for eps in curve.eps} for curve in self.curves.values())))

    def mean(self) -> float:
        """Accuracy under the attack, on average over models and sizes."""
        return sum(float(curve.accuracy.mean()) for curve in self.curves.values()) / len(self.curves)

    def informative(self) -> float:
        """The smallest eps at which the attack at least halves the mean accuracy of the models, or the largest."""
        start = sum(point.value for point in self.clean.values()) / max(len(self.clean), 1)
        means = {e: sum(point_at(c, e).value for c in self.curves.values()) / len(self.curves) for e in self.eps()}
        halved = [eps for eps, mean in means.items() if eps > 0 and self.clean and mean <= start / 2]
        return min(halved) if halved else max(means)


class Score(NamedTuple):
    """At how many points, an attack at an eps, a model is surely better and surely worse than the base; of how many."""

    better: int
    worse: int
    of: int


class Models:
    """The models of a run side by side."""

    def __init__(self, source: StoredRun, attacks: Sequence[Shared]) -> None:
        self.source, self.attacks = source, attacks
        self.labels = list(dict.fromkeys(model for attack in attacks for model in attack.curves))

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Training time of each model that was trained."""
        units = self.source.about.get("units", [])
        trained = {entry["label"] for entry in self._entries() if entry.get("training")} if self._entries() else None
        return {
            unit["model"]: unit["seconds"]
            for unit in units
            if unit["kind"] == "train" and unit.get("seconds") and (trained is None or unit["model"] in trained)
        }

    @cached_property
    def relative(self) -> dict[str, float]:
        """Training time divided by that of the base; empty where there is no base."""
        base = self.seconds.get(BASE)
        return {model: seconds / base for model, seconds in self.seconds.items()} if base else {}

    @cached_property
    def published(self) -> dict[str, float]:
        """The published increase of the training time over that of the base, for this data set."""
        about = self.source.about
        told = (about.get("paper") or {}).get("training", {}).get((about.get("data") or {}).get("name", ""), {})
        return {model: told[model] for model in self.labels if model in told}

    @cached_property
    def saturated(self) -> dict[str, float]:
        """Share of the clean predictions of single draws whose softmax is exactly one."""
        clean = self.source.rows[self.source.rows.attack == "none"]
        sums = clean.groupby("model")[["saturated", "inference_draws"]].sum()
        return {str(model): part.saturated / part.inference_draws for model, part in sums.iterrows()}

    @property
    def saturating(self) -> bool:
        """Whether any model has saturated predictions."""
        return any(self.saturated.get(model, 0) > 0 for model in self.labels)

    @cached_property
    def scores(self) -> dict[str, Score]:
        """Every model beside the base, paired by input and repeat, at a level shared out over the points of a model."""
        if BASE not in self.labels:
            return {}
        rows = self.source.rows
        groups = rows[rows.role == "sweep"].groupby([*SERIES, "eps"], sort=False)

        def behind(curve: DataFrame, eps: float) -> DataFrame:
            return groups.get_group((*(curve.iloc[0][column] for column in SERIES), eps))

        found = {}
        for model in self.labels:
            pairs = [
                (behind(attack.curves[model], eps), behind(attack.curves[BASE], eps))
                for attack in self.attacks
                if model != BASE and {model, BASE} <= attack.curves.keys()
                for eps in attack.eps()
            ]
            pairs = [(ours, base) for ours, base in pairs if set(ours.repeat) & set(base.repeat)]
            changes = [difference(ours, base, level=1 - 0.05 / len(pairs)) for ours, base in pairs]
            better, worse = sum(change.low > 0 for change in changes), sum(change.high < 0 for change in changes)
            if pairs:
                found[model] = Score(better, worse, len(pairs))
        return found

    def _entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.source.about.get("recipe", {}).get("models", [])
        return entries


def models_section(source: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """The same attacks on several models; None where there is one model, no attack in common, or networks of groups
    alone, of which the section on seeds tells."""
    attacks = shown(shared(panels), panels)
    grouped = {label for members in groups(source.about).values() for label in members.values()}
    if not attacks or {panel.model for panel in panels} <= grouped:
        return None
    models = Models(source, attacks)
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
    place = place_of(models.labels)
    return Section(
        "models", "The models compared", _sentences(models), [drawing] * bool(drawn), [models_table(models)], place
    )


def place_of(models: Sequence[str]) -> str:
    """Where a comparison of models stands on the page: many of them come first, and single ones are folded away."""
    return "first" if len(models) > MANY else "figures"


def shared(panels: Sequence[Panel]) -> list[Shared]:
    """The attacks that were run on two models or more."""
    found: dict[tuple[Any, ...], Shared] = {}
    for panel in panels:
        for label, curve in panel.curves.items():
            key = tuple(curve.iloc[0][column] for column in SERIES if column != "model")
            part = found.setdefault(key, Shared(label, panel.norm, {}, {}))
            part.curves[panel.model] = curve
            if panel.clean is not None:
                part.clean[panel.model] = panel.clean
    several = {key: part for key, part in found.items() if len(part.curves) > 1 and part.eps()}
    norms, draws = {part.norm for part in several.values()}, {key[-1] for key in several}
    return [
        part._replace(
            label=", ".join(
                [part.label]
                + [f"{NORMS.get(part.norm, part.norm)} norm"] * (len(norms) > 1)
                + [f"{key[-1]} inference draws"] * (len(draws) > 1)
                + [part.apart] * (part.apart == LATENT)
            )
        )
        for key, part in several.items()
    ]


def shown(attacks: Sequence[Shared], panels: Sequence[Panel]) -> list[Shared]:
    """All attacks if they are few; otherwise the one that is strongest on most models, MEAN and MOMENTS."""
    if len(attacks) <= SHOWN:
        return list(attacks)
    strongest = [panel.strongest() for panel in [p for p in panels if not p.apart] or panels]
    cheap: dict[str, Shared] = {}
    for attack in sorted(attacks, key=Shared.mean, reverse=True):
        cheap[next(iter(attack.curves.values())).attack.iloc[0]] = attack  # the strongest loss is the last
    wanted = {max(strongest, key=strongest.count), *(cheap[kind].label for kind in SCHEMES if kind in cheap)}
    return [attack for attack in attacks if attack.label in wanted] or list(attacks[:1])


def models_table(models: Models) -> Table:
    """Clean accuracy, accuracy under each attack, saturation, and training time, of every model.

    The .csv has every eps; the text has the informative eps of each attack.
    """
    import pandas as pd

    data, body = [], []
    for model in models.labels:
        numbers, cells = _accuracies(models, model)
        score, relative = models.scores.get(model), models.relative.get(model, float("nan"))
        published = models.published.get(model, float("nan"))
        saturated, seconds = models.saturated.get(model, float("nan")), models.seconds.get(model, float("nan"))
        numbers |= {"saturated": saturated, "training_seconds": seconds, "training_to_mean": relative}
        numbers |= {"published_increase": published}
        if models.scores:
            better, worse, points = score or (float("nan"),) * 3
            numbers |= {"better_than_mean": better, "worse_than_mean": worse, "points": points}
            cells += ["" if score is None else f"{score.better} / {score.worse} of {score.of}"]
        cells += [percent(saturated) if saturated == saturated else ""] * models.saturating
        cells += [significant_digits(seconds) if seconds == seconds else ""] * bool(models.seconds)
        cells += [increase_text(relative - 1) if relative == relative and model != BASE else ""] * bool(models.relative)
        cells += [increase_text(published) if published == published else ""] * bool(models.published)
        data.append({"model": model, **numbers})
        body.append([model, *cells])
    return Table("models", pd.DataFrame(data), _head(models), body, note=_note(models))


@styled()
def models_figure(attacks: Sequence[Shared], *, narrow: bool = False) -> Figure:
    """Accuracy against eps, the clean one at eps 0; one line for each model, one set of axes for each attack."""
    import pandas as pd

    labels = list(dict.fromkeys(model for attack in attacks for model in attack.curves))
    columns = 1 if narrow else min(len(attacks), 2)
    rows = -(-len(attacks) // columns)
    width, height = (3.7, 2.6) if narrow else (7.6, 3.3 if columns > 1 else 3.7)
    figure = empty_figure(width, height * rows + legend_height(width, labels) * narrow)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    styles, handles = named_styles(labels), dict[str, Any]()
    for place, attack in enumerate(attacks):
        start = {model: pd.DataFrame([{"eps": 0.0, **point._asdict()}]) for model, point in attack.clean.items()}
        curves = {
            model: pd.concat([start[model].rename(columns={"value": "accuracy"}), curve[curve.eps > 0]])
            if model in start
            else curve
            for model, curve in attack.curves.items()
        }
        handles |= draw_lines(axes[place], curves, styles)
        eps_axis(axes[place], sorted({float(eps) for curve in curves.values() for eps in curve.eps}))
        axes[place].set(title=f"under {attack.label}", xlabel=f"eps ({NORMS.get(attack.norm, attack.norm)} norm)")
        axes[place].set_ylabel("accuracy" if place % columns == 0 else "")
    for empty in axes[len(attacks) :]:
        empty.set_visible(False)
    legend(figure, {label: handles[label] for label in labels}, below=narrow)
    return figure


def _accuracies(models: Models, model: str) -> tuple[dict[str, float], list[str]]:
    """Clean and attacked accuracy of a model: columns of the .csv, and cells of the text."""
    clean = next((attack.clean[model] for attack in models.attacks if model in attack.clean), None)
    numbers = dict(zip(("clean", "clean_low", "clean_high"), clean or (float("nan"),) * 3, strict=False))
    cells = [str(clean or "")]
    for attack in models.attacks:
        curve = attack.curves.get(model)
        for eps in attack.eps():
            told = float("nan") if curve is None else point_at(curve, eps).value
            numbers[f"{attack.label}, eps {eps_text(attack.eps())[eps]}"] = told
        cells.append("" if curve is None else point_at(curve, attack.informative()).in_full())
    return numbers, cells


def _head(models: Models) -> list[str]:
    sizes = [eps_text(attack.eps())[attack.informative()] for attack in models.attacks]
    attacked = [f"{attack.label}, eps {size}" for attack, size in zip(models.attacks, sizes, strict=True)]
    head = ["model", "no attack", *attacked]
    head += [f"better / worse than {BASE}"] * bool(models.scores)
    head += ["saturated"] * models.saturating
    head += ["training, s"] * bool(models.seconds) + [f"training time over {BASE}"] * bool(models.relative)
    return head + ["published"] * bool(models.published)


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
    source = (models.source.about.get("paper") or {}).get("source", "")
    return note + (f" Published in {source}." if models.published and source else "")


def _sentences(models: Models) -> list[str]:
    """Who is more robust than the network trained against MEAN, at what cost; the range where there are many."""
    said = [_beside_mean(models)] if models.scores else []
    said = [_own_step(models, attack) for attack in models.attacks if attack.apart == STEP] + said
    if len(models.labels) <= MANY:
        return said
    clean = {m: p for attack in models.attacks for m, p in attack.clean.items()}
    ranges = [f"{_range({m: p.value for m, p in clean.items()})} without an attack"] if clean else []
    for attack in models.attacks:
        eps = attack.informative()
        told = _range({model: point_at(curve, eps).value for model, curve in attack.curves.items()})
        ranges.append(f"{told} under {attack.label} at eps {eps_text(attack.eps())[eps]}")
    return [f"The accuracy of the {len(models.labels)} models goes {listed(ranges)}.", *said]


def _own_step(models: Models, attack: Shared) -> str:
    """How far an attack that is as long as the gradient moves the inputs of each model."""
    eps, rows = attack.informative(), models.source.rows
    moved = {model: float(rows_behind(curve, eps, rows)["size"].mean()) for model, curve in attack.curves.items()}
    return (
        f"Models are not attacked alike by {attack.label}: the mean length of its step, which follows that of the "
        f"gradient, goes {_range(moved)}."
    )


def _range(values: dict[str, float]) -> str:
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    return f"from {values[low]:.3f} ({low}) to {values[high]:.3f} ({high})"


def _beside_mean(models: Models) -> str:
    """Which models are better than the base at every point, beyond chance, and what they cost."""
    scores, under = models.scores, listed([attack.label for attack in models.attacks])
    better = [model for model, score in scores.items() if score.better == score.of]
    worse = [model for model, score in scores.items() if score.worse == score.of]
    where = f"at every eps under {under}"
    if better:
        verb = "is" if len(better) == 1 else "are"
        told = f"Beyond chance {where}, {listed([_costed(models, m) for m in better])} {verb} more robust than {BASE}"
    else:
        most = max(scores, key=lambda model: scores[model].better - scores[model].worse)
        better_at, worse_at, points = scores[most]
        where = where if better_at else where.replace("every", "any")
        told = f"No model is more robust than {BASE} beyond chance {where}"
        if better_at:
            told += f"; {_costed(models, most)} is at {better_at} of {points} pairs of attack and eps"
            told += f" and less robust at {worse_at}" if worse_at else ""
    return told + (f"; {listed(worse)} {'is' if len(worse) == 1 else 'are'} less robust everywhere." if worse else ".")


def _costed(models: Models, model: str) -> str:
    ratio = models.relative.get(model)
    return model if ratio is None else f"{model} ({times_text(ratio)} its training time)"
