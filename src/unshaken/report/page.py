"""The page: everything a run found, on one self-contained HTML page that first says how far to believe it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from unshaken.evaluation.checks import Finding
from unshaken.report.accuracy import Panel, Point, accuracy_table, grid, grid_eps, panels, point_at
from unshaken.report.doubts import doubts
from unshaken.report.drawing import CLEAN, Inline
from unshaken.report.figures import drawable_panels
from unshaken.report.glossary import glossary_entries
from unshaken.report.groups import groups
from unshaken.report.model_sizes import ModelSize, model_sizes
from unshaken.report.pictures import choose_pictures
from unshaken.report.section import Section, split_number, textual
from unshaken.report.sections.networks import pool_networks
from unshaken.report.stored_run import StoredRun
from unshaken.report.tables import COSTS, cost_summary, cost_table
from unshaken.report.verdict import all_at_chance, check_summary, findings, only_analyses, panel_results, results
from unshaken.report.wording import eps_text

if TYPE_CHECKING:
    from pandas import DataFrame

TOLD = ("title", "about", "name", "seed", "paper", "presets")
"""Entries of a recipe that the page shows elsewhere."""

LONG = 24
"""A table with more rows than this is folded."""

WIDE = 32
"""A cell of text with more characters than this wraps."""

STATUS = {True: "pass", False: "doubt", None: "not tested"}


def page(
    source: StoredRun, curves: Sequence[Panel], figures: dict[str, Inline], sections: Sequence[Section] = ()
) -> str:
    """report.html of one run."""
    run, found, known = source.about, findings(source.rows), model_sizes(source.about)
    cautions = doubts(source)
    many = any(section.position == "first" for section in sections)
    folded = many or all_at_chance(source, curves)
    return render(
        "page.html.jinja",
        title=run.get("title") or run.get("name", source.folder.name),
        about=run.get("about", ""),
        results=results(source, curves, sections),
        single=panel_results(source, curves) if many else [],
        folded=folded,
        measured=only_analyses(source),
        overall=check_summary(found),
        doubtful=any(f.passed is False for f in found),
        reasons=_reasons(found, cautions),
        cautions=len(cautions),
        aside=len(drawable_panels(curves)) < len(curves),
        several=bool(groups(run)),
        words=glossary_entries(run, source.rows),
        figures=figures,
        sections={
            position: [s for s in sections if s.position == position] for position in ("first", "figures", "tables")
        },
        long=LONG,
        tables=[_table(panel, known.get(panel.model, ModelSize())) for panel in curves],
        repeats=_repeats(curves),
        paper=_paper(run.get("paper") or {}, [*panels(accuracy_table(pool_networks(source))), *curves]),
        pictures=choose_pictures(source, curves),
        cost=_cost(cost_summary(cost_table(source.units))),
        made=_made(run),
        command=run.get("command", ""),
    )


def render(template: str, **told: Any) -> str:
    """A template of this folder, with the style that all pages share."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(typeset=typeset, parts=split_number, classed=classed)
    folder = files("unshaken.report")
    text, style = (folder.joinpath(name).read_text(encoding="utf-8") for name in (template, "page.css"))
    return environment.from_string(text).render(style=style, **told)


def classed(line: list[str], head: list[str], body: list[list[str]]) -> list[tuple[str, str]]:
    """(class, cell) for each cell of a line: "text" stands to the left, and "long text" wraps."""
    return [
        (f"{'long ' * (len(cell) > WIDE)}text" if text else "", cell)
        for text, cell in zip(textual(head, body), line, strict=True)
    ]


def _reasons(found: list[Finding], cautions: list[str]) -> list[tuple[str, str]]:
    """(status, sentence): checks that failed, cautions, then the other checks."""
    told = [(STATUS[finding.passed], finding.sentence) for finding in found]
    failed = [reason for reason in told if reason[0] == STATUS[False]]
    return [*failed, *(("caution", sentence) for sentence in cautions), *told[len(failed) :]]


def typeset(sentence: str) -> str:
    """Real minus signs, and no line break inside "eps 0.1", "95 %" or an interval."""
    sentence = re.sub(r"(?:^|(?<=[\s\[(]))-(?=\d)", "−", sentence)
    return re.sub(r"(?<=\beps) (?=\d)|(?<=\d) (?=%)|(?<=\d,) (?=[-−+]?[\d.]+\])", "\u00a0", sentence)


def _table(panel: Panel, size: ModelSize) -> dict[str, Any]:
    """The compact table for the template; a cell is (value, spread and interval, whether it is the lowest)."""
    rows = list(grid(panel))
    lowest = [
        min((cell.value for cell in column if cell), default=0.0) for column in zip(*(c for _, c in rows), strict=True)
    ]
    return {
        "title": panel.title,
        "size": str(size),
        "eps": list(eps_text(grid_eps(panel)).values()),
        "rows": [
            (
                label,
                [
                    cell and (f"{cell.value:.3f}", _small(cell), place > 0 and cell.value == low)
                    for cell, low in zip(cells, lowest, strict=True)
                ],
            )
            for place, (label, cells) in enumerate(rows)
        ],
    }


def _small(cell: Point) -> list[str]:
    """What stands below an accuracy: its standard deviation over repeats, its interval."""
    spread = [f"± {cell.spread:.3f}"] if cell.spread == cell.spread else []
    return [*spread, f"{cell.low:.3f} – {cell.high:.3f}"]


def _repeats(curves: Sequence[Panel]) -> bool:
    """Whether any accuracy has a standard deviation over repeats."""
    return any(bool(curve.spread.notna().any()) for panel in curves for curve in panel.curves.values())


def _paper(paper: dict[str, Any], curves: Sequence[Panel]) -> dict[str, Any] | None:
    """Published accuracies beside ours; None where there are none."""
    if not paper.get("accuracy"):
        return None
    rows, texts = [], eps_text([entry["eps"] for entry in paper["accuracy"]])
    for entry in paper["accuracy"]:
        ours = _ours(entry, curves)
        inside = "" if ours is None else "yes" if ours.low <= entry["value"] <= ours.high else "no"
        numbers = (texts[entry["eps"]], f"{entry['value']:.3f}", str(ours or ""), inside)
        rows.append((entry.get("model", ""), entry["attack"], *numbers))
    models = any(model for model, *_ in rows)
    rows = rows if models else [tuple(rest) for _, *rest in rows]
    return {"source": paper.get("source", ""), "rows": rows, "models": models}


def _ours(entry: dict[str, Any], curves: Sequence[Panel]) -> Any:
    """Our accuracy for a published one: the first panel (of its model and norm, where it names them) that has it."""
    for panel in curves:
        if entry.get("model", panel.model) != panel.model or entry.get("norm", panel.norm) != panel.norm:
            continue
        if entry["attack"] in ("none", "clean", "no attack"):
            return panel.clean
        curve = panel.curves.get(entry["attack"])
        near = [] if curve is None else [e for e in curve.eps if math.isclose(e, entry["eps"], rel_tol=1e-4)]
        if near:
            return point_at(curve, near[0])
    return None


def _cost(summary: DataFrame) -> dict[str, Any]:
    """Parts of the run as rows of text: name, what is missing, seconds, passes, gradients, and their ratios to MEAN."""
    several = summary.model.nunique() > 1
    rows = []
    for part in summary.to_dict("records"):
        name = "training" if part["kind"] == "train" else {"clean": CLEAN}.get(part["label"], part["label"])
        missing = "" if part["done"] == part["count"] else f"{part['done']} of {part['count']} done"
        numbers = [_number(part[key], digits) for key, digits in zip(COSTS, (2, 0, 0), strict=True)]
        ratios = [_number(part[f"{key}_to_mean"], 1) for key in COSTS]
        rows.append((f"{name}, {part['model']}" if several else name, missing, numbers + ratios))
    return {"rows": rows, "ratios": bool(summary.seconds_to_mean.notna().any())}


def _number(value: Any, digits: int) -> str:
    return "" if value is None or value != value else f"{value:,.{digits}f}"


def _made(run: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """How the run was made, as (what, lines)."""
    entries = {key: value for key, value in run.get("recipe", {}).items() if key not in TOLD}
    lines = [
        ("data set", [_data(run["data"])] if run.get("data") else []),
        *((key.replace("_", " "), _lines(value)) for key, value in entries.items()),
        ("preset", [run.get("preset") or ""]),
        ("seed", [str(run.get("seed", ""))]),
        ("versions", [", ".join(f"{name} {version}" for name, version in run.get("versions", {}).items())]),
        ("machine", [", ".join(_machine(run.get("machine", {})))]),
        ("run", [f"{run.get('name', '')}-{run.get('hash', '')}"]),
    ]
    return [(what, how) for what, how in lines if any(how)]


def _data(data: dict[str, Any]) -> str:
    told = {"train": "to train on", "test": "to attack"}
    split = [f"{data[part]:,} images {use}" for part, use in told.items() if part in data]
    return ", ".join([f"{data['name']}, {data['classes']} classes", *split])


def _machine(machine: dict[str, Any]) -> list[str]:
    told = [str(machine[key]) for key in ("device", "cpu", "platform") if machine.get(key)]
    return [*told, f"{machine['cores']} cores"] if machine.get("cores") else told


def _lines(value: Any) -> list[str]:
    """A part of a recipe, a line for each entry of a list of parts; what these have in common is said once."""
    if not (isinstance(value, list) and len(value) > 1 and all(isinstance(part, dict) for part in value)):
        return [described(value)]
    common = {key: told for key, told in value[0].items() if all(key in p and p[key] == told for p in value)}
    common.pop("kind", None)
    own = [described({key: told for key, told in part.items() if key not in common}) for part in value]
    return [*own, f"all: {described(common)}"] if common else own


def described(value: Any) -> str:
    """A part of a recipe in one line: {kind = "mlp", widths = [32]} is "mlp (widths 32)"."""
    if isinstance(value, dict):
        name = ": ".join(str(value[key]) for key in ("label", "kind") if value.get(key))
        entries = {key: part for key, part in value.items() if key not in ("label", "kind") and part is not None}
        rest = ", ".join(f"{key.replace('_', ' ')} {described(part)}" for key, part in entries.items())
        return f"{name} ({rest})" if name and rest else name or rest
    if isinstance(value, list):
        return ("; " if any(isinstance(part, dict) for part in value) else ", ").join(map(described, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
