"""Accuracy against a setting: copies of noise, its size, dropout, the weight of a term of the loss."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unshaken.evaluation.statistics import Interval, difference
from unshaken.report.accuracy import NORMS, Panel
from unshaken.report.drawing import CLEAN, DASHES, INK, draw_lines, facet_figure, line_styles, styled
from unshaken.report.groups import draw_network_lines, seed_difference
from unshaken.report.section import Drawing, Section, Table, Wording
from unshaken.report.sections.comparison import published_accuracy, shared_level
from unshaken.report.stored_run import StoredRun
from unshaken.report.sweep import Family, Sweep, measure_sweep, swept_setting
from unshaken.report.wording import eps_text
from unshaken.runs.record import RunRecord

WORDING = Wording("settings")
WIDE = 30  # values that span more than this factor are drawn on a log axis


def settings_section(run: StoredRun, panels: Sequence[Panel]) -> Section | None:
    """Accuracy against the setting that orders the models; None where no attacked ones differ in a number alone."""
    setting = swept_setting(run.record)
    swept = None if setting is None else measure_sweep(setting, run, panels)
    if swept is None:
        return None
    sizes = sorted({(attack.norm, swept.eps_text(label)) for label, attack in swept.attacks.items()})
    texts = [f"{size} ({NORMS.get(norm, norm)} norm)" for norm, size in sizes]
    caption = WORDING.caption(swept, texts if len({size for _, size in sizes}) > 1 else [sizes[0][1]])
    drawing = Drawing(
        "settings", lambda narrow: settings_figure(swept, narrow=narrow), WORDING.alt_text(swept.setting), caption
    )
    level = shared_level(sum(len(family.models) - 1 for family in swept.setting.families))
    sentences = [_sentence(swept, family, level) for family in swept.setting.families]
    table = settings_table(swept, run.record)
    return Section("settings", WORDING.title(swept.setting), sentences, [drawing], [table])


def settings_table(swept: Sweep, record: RunRecord) -> Table:
    """A column for each value, a line for each attack, as such tables are published; the .csv has every eps.

    Published accuracies of the same model, attack and eps, from [[paper.accuracy]], are a line below.
    """
    setting, texts, body, source = swept.setting, eps_text(swept.setting.values), [], ""
    titled = len(setting.families) > 1
    for family in setting.families:
        for label in swept.labels:
            models = [family.models.get(value, "") for value in setting.values]
            size = "" if label == CLEAN else swept.eps_text(label)
            body.append([family.name] * titled + [label, size, *(_cell(swept, label, model) for model in models)])
            published = [_published(swept, label, model, record) for model in models]
            if any(published):
                body.append([family.name] * titled + [f"{label}, published", size, *published])
                source = record.paper.source
    head = ["models"] * titled + ["attack", "eps", *(f"{setting.name} {texts[value]}" for value in setting.values)]
    return Table("settings", swept.table(), head, body, note=WORDING.note(swept, source))


@styled()
def settings_figure(swept: Sweep, *, narrow: bool = False) -> Figure:
    """Accuracy against the setting: a line for each attack and one without, one set of axes for each family."""
    families = swept.setting.families
    curves = {label: next(iter(attack.curves.values())) for label, attack in swept.attacks.items()}
    styles = _distinct(line_styles([Panel("", "", "", None, curves)]))
    styles[CLEAN] = {"color": INK, "lw": 1.6, "ls": "-", "marker": "o", "ms": 4.5, "mfc": "none"}

    def draw(axis: Axes, family: Family) -> dict[str, Any]:
        curves = {label: swept.curve(label, family) for label in swept.labels}
        _setting_axis(axis, list(family.models))
        axis.set(title=family.name, xlabel=swept.setting.path)
        if not swept.several:
            return draw_lines(axis, {label: c.rename(columns={"value": "eps"}) for label, c in curves.items()}, styles)
        networks = {
            label: {row.value: swept.network_accuracies(label, row.model) for row in curve.itertuples()}
            for label, curve in curves.items()
        }
        return draw_network_lines(axis, networks, styles)

    below = narrow or len(families) > 1 or len(swept.labels) > 18
    options: dict[str, Any] = {"ylabel": "accuracy", "labels": swept.labels, "below": below, "sharey": True}
    return facet_figure(families, draw, narrow=narrow, height=(3.7, 3.1, 2.4), **options)


def _setting_axis(axis: Axes, values: Sequence[float]) -> None:
    """A tick at every value, on a log axis where they span much; accuracy from 0 to 1."""
    low, high = values[0], values[-1]
    margin, factor = 0.06 * (high - low), (high / low) ** 0.06 if low > 0 else 1
    if low > 0 and high / low > WIDE:
        axis.set(xscale="log", xlim=(low / factor, high * factor))
    else:
        axis.set_xlim(low - margin, high + margin)
    axis.set_xticks(values, list(eps_text(values).values()))
    axis.set_xticks([], minor=True)
    axis.set_ylim(-0.02, 1.02)


def _distinct(styles: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same styles, with other dashes and marks for lines that would look alike, such as PGD of more steps."""
    distinct: dict[str, dict[str, Any]] = {}
    for label, style in styles.items():
        n = sum(styles[earlier] == style for earlier in distinct)
        distinct[label] = style | ({"ls": DASHES[n % len(DASHES)], "marker": "s^Dvo"[n % 5]} if n else {})
    return distinct


def _cell(swept: Sweep, label: str, model: str) -> str:
    """ "0.464 ± 0.080 [0.380, 0.548], best 0.555"; "" where it was not run."""
    if (point := swept.point(label, model)) is None:
        return ""
    return point.in_full() + (f", best {swept.network_accuracies(label, model).max():.3f}" if swept.several else "")


def _published(swept: Sweep, label: str, model: str, record: RunRecord) -> str:
    """The published accuracy of the same model, attack and eps; "" where there is none."""
    eps, norm = (0.0, "") if label == CLEAN else (swept.eps[label], swept.attacks[label].norm)
    accuracy = published_accuracy(record, label, eps, model, norm, unnamed=False)
    return "" if accuracy is None else f"{accuracy:.4g}"


def _sentence(swept: Sweep, family: Family, level: float) -> str:
    """Whether accuracy under the strongest attack grows from each value to the next; accuracy without an attack."""
    curves = {label: swept.curve(label, family) for label in swept.attacks}
    means = {label: curve.accuracy.mean() for label, curve in curves.items() if len(curve) > 1}
    strongest = min(means, key=means.__getitem__)
    name, texts = swept.setting.name, eps_text(swept.setting.values)
    counted = name.endswith("s") and all(float(value).is_integer() for value in swept.setting.values)
    steps, pairs = [], []
    for (before, model), (after, other) in pairwise(curves[strongest][["value", "model"]].itertuples(index=False)):
        change, seeds = _step(swept, strongest, model, other, level)
        steps.append(WORDING.step(change, name, texts[before], texts[after], counted))
        pairs.append(seeds)
    clean = [f"{value:.3f}" for value in swept.curve(CLEAN, family).accuracy]
    return WORDING.sentence(swept, family, strongest, steps, min(pairs), clean)


def _step(swept: Sweep, label: str, before: str, after: str, level: float) -> tuple[Interval, int]:
    """Accuracy of `after` minus that of `before`, and by how many seeds they are paired: 0 where it is by inputs."""
    networks, base = swept.network_accuracies(label, after), swept.network_accuracies(label, before)
    change, seeds = seed_difference(networks, base, level=level)
    if swept.several and change is not None:
        return change, seeds
    if seeds == 0:
        return Interval(networks.mean() - base.mean(), math.nan, math.nan), 0
    return difference(swept.rows_of_point(label, after), swept.rows_of_point(label, before), level=level), 0
