"""The page: everything a run found, on one self-contained HTML page that first says how far to believe it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unshaken.evaluation.checks.finding import UNAIMED
from unshaken.report.accuracy import Panel, Point, accuracy_table, grid, panels, point_at
from unshaken.report.doubts import doubts
from unshaken.report.drawing import Inline
from unshaken.report.figures import choose_pictures, drawable_panels
from unshaken.report.groups import groups, pool_networks
from unshaken.report.section import Section, render
from unshaken.report.stored_run import StoredRun
from unshaken.report.tables import ModelSize, cost_summary, cost_table, model_sizes
from unshaken.report.verdict import all_at_chance, check_summary, only_analyses, panel_results, results
from unshaken.report.wording import eps_text
from unshaken.runs.published import Published, PublishedAccuracy
from unshaken.runs.record import RunRecord
from unshaken.runs.settings import as_json

if TYPE_CHECKING:
    from pandas import DataFrame

# entries of a recipe that the page has elsewhere than among those of how the run was made
ELSEWHERE = ("title", "about", "seed", "paper")


def page(
    source: StoredRun, curves: Sequence[Panel], figures: dict[str, Inline], sections: Sequence[Section] = ()
) -> str:
    """report.html of one run."""
    record, sizes = source.record, model_sizes(source.record)
    compared = any(section.position == "first" for section in sections)
    return render(
        "page.html.jinja",
        title=record.recipe.title or record.name,
        record=record,
        results=results(source, curves, sections),
        single=panel_results(source, curves) if compared else [],
        folded=compared or all_at_chance(source, curves),
        measured=only_analyses(source),
        overall=check_summary(source.checks),
        checks=source.checks,
        cautions=doubts(source),
        aside=len(drawable_panels(curves)) < len(curves),
        several=bool(groups(record)),
        terms=terms_to_explain(record, source.rows),
        figures=figures,
        sections={p: [s for s in sections if s.position == p] for p in ("first", "figures", "tables")},
        long=24,  # a table with more rows than this is folded
        tables=[_table(panel, sizes.get(panel.model, ModelSize())) for panel in curves],
        repeats=any(bool(curve.spread.notna().any()) for panel in curves for curve in panel.curves.values()),
        published=_published(record.paper, [*panels(accuracy_table(pool_networks(source))), *curves]),
        pictures=choose_pictures(source, curves),
        costs=cost_summary(cost_table(record.units)).to_dict("records"),
        recipe=[
            (key, _lines(value)) for key, value in as_json(record.recipe).items() if key not in ELSEWHERE and value
        ],
    )


def _table(panel: Panel, size: ModelSize) -> dict[str, Any]:
    """Accuracy of each attack (a row) at each eps (a column), and the lowest of each column."""
    lines = grid(panel)
    sizes = eps_text(next(iter(lines.values())))
    lowest = {eps: min(point.value for points in lines.values() if (point := points[eps])) for eps in sizes}
    return {"title": panel.title, "size": str(size), "sizes": sizes, "lines": lines, "lowest": lowest}


def _published(paper: Published, curves: Sequence[Panel]) -> Sequence[tuple[str, ...]]:
    """Published accuracies beside ours: model, attack, eps, published, ours, whether it is inside our interval."""
    rows, texts = [], eps_text([entry.eps for entry in paper.accuracy])
    for entry in paper.accuracy:
        ours = _ours(entry, curves)
        inside = "" if ours is None else "yes" if ours.low <= entry.value <= ours.high else "no"
        named = (entry.model or "", entry.attack, texts[entry.eps])
        rows.append((*named, f"{entry.value:.3f}", str(ours or ""), inside))
    return rows


def _ours(entry: PublishedAccuracy, curves: Sequence[Panel]) -> Point | None:
    """Our accuracy for a published one: that of the first panel (of its model and norm, if it has one) that has it."""
    for panel in curves:
        if entry.model not in (None, panel.model) or entry.norm not in (None, panel.norm):
            continue
        if entry.attack in ("none", "clean", "no attack"):
            return panel.clean
        if entry.attack in panel.curves:
            curve = panel.curves[entry.attack]
            if near := [eps for eps in curve.eps if math.isclose(eps, entry.eps, rel_tol=1e-4)]:
                return point_at(curve, near[0])
    return None


def _lines(value: Any) -> list[str]:
    """An entry of a recipe, a line for each table of a list of tables; what these have in common is said once."""
    if not isinstance(value, list):
        return [one_line(value)]
    tables = [table.get("settings", {}) | {k: v for k, v in table.items() if k != "settings"} for table in value]
    first, *others = tables
    common = {k: v for k, v in first.items() if others and k != "kind" and all(k in o and o[k] == v for o in others)}
    lines = [one_line({key: setting for key, setting in table.items() if key not in common}) for table in tables]
    return [*lines, f"all: {one_line(common)}"] if common else lines


def one_line(value: Any) -> str:
    """An entry of a recipe in one line: {kind = "mlp", widths = [32]} is "mlp (widths 32)"."""
    if isinstance(value, dict):
        name = ": ".join(str(value[key]) for key in ("label", "kind") if value.get(key))
        settings = {key: item for key, item in value.items() if key not in ("label", "kind") and item is not None}
        rest = ", ".join(f"{key.replace('_', ' ')} {one_line(item)}" for key, item in settings.items())
        return f"{name} ({rest})" if name and rest else name or rest
    if isinstance(value, list):
        return ("; " if any(isinstance(item, dict) for item in value) else ", ").join(map(one_line, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def terms_to_explain(record: RunRecord, rows: DataFrame) -> set[str]:
    """The attacks, norms and kinds of models of a run, which the page explains only where they occur."""
    terms = {*rows.attack.str.split(" (", regex=False).str[0], *rows.norm}
    terms |= {"latent"} if rows.loss.isin(UNAIMED).any() else set()
    for config in record.recipe.models:
        terms |= {config.model.kind, config.model.innermost.kind}  # one may be around another
    return terms
