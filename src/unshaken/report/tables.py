"""Tables: accuracy with its interval for every attack and size, and what each unit cost."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from unshaken.checks import attack_name
from unshaken.report.source import Source, write
from unshaken.statistics import Interval, accuracy

if TYPE_CHECKING:
    from pandas import DataFrame

SERIES = ["model", "attack", "norm", "loss", "attack_draws", "steps", "inference_draws"]
"""The columns that name one curve: one attack on one model, predicted in one way."""

COSTS = ["seconds", "forwards", "gradients"]
NORMS = {"linf": "L∞", "l2": "L2"}


class Panel(NamedTuple):
    """The curves that can be compared: one model, one norm, one number of inference draws.

    `title` says what tells the panel from the others ("" where it is the only one); `clean` is None where the clean
    inputs were not evaluated; `curves` maps a label (FGSM-10, MEAN) to rows of `accuracy_table`, by eps.
    """

    title: str
    model: str
    norm: str
    clean: Interval | None
    curves: dict[str, DataFrame]

    def eps(self) -> list[float]:
        """Every size that an attack of the panel was run with."""
        return sorted({float(eps) for curve in self.curves.values() for eps in curve.eps})

    def strongest(self) -> str:
        """The attack that comes nearest to the lowest accuracy, on average over the sizes it was run with."""
        lowest = {e: min(at(c, e).value for c in self.curves.values() if e in c.eps.to_numpy()) for e in self.eps()}

        def excess(label: str) -> float:
            curve = self.curves[label]
            return sum(at(curve, e).value - lowest[e] for e in curve.eps) / len(curve)

        return min(self.curves, key=excess)


def accuracy_table(rows: DataFrame) -> DataFrame:
    """Accuracy of every curve at every eps, with its 95 % interval and the number of inputs n; sweep rows only."""
    import pandas as pd

    values = []
    for key, group in rows[rows.role == "sweep"].groupby([*SERIES, "eps"], sort=False):
        found = accuracy(group)
        values.append((*key, group["index"].nunique(), *found))
    table = pd.DataFrame(values, columns=[*SERIES, "eps", "n", "accuracy", "low", "high"])
    return table.sort_values(["model", "norm", "inference_draws", "attack", "loss", "steps", "eps"], kind="stable")


def at(curve: DataFrame, eps: float) -> Interval:
    """The accuracy of a curve at one of its sizes."""
    row = curve[curve.eps == eps].iloc[0]
    return Interval(float(row.accuracy), float(row.low), float(row.high))


def panels(table: DataFrame) -> list[Panel]:
    """`accuracy_table` in groups that can be compared."""
    keys = ["model", "norm", "inference_draws"]
    attacked = table[table.attack != "none"]
    found = []
    for (model, norm, draws), part in attacked.groupby(keys, sort=False):
        named = {"model": model, "norm": f"{NORMS.get(norm, norm)} norm", "inference_draws": f"{draws} inference draws"}
        title = ", ".join(named[key] for key in keys if attacked[key].nunique() > 1)
        clean = table[(table.attack == "none") & (table.model == model) & (table.inference_draws == draws)]
        found.append(Panel(title, model, norm, at(clean, 0.0) if len(clean) else None, _curves(part)))
    return found


def eps_text(sizes: Iterable[float]) -> dict[float, str]:
    """How to write sizes: as n/255 where all are that and decimals would be long, otherwise as decimals."""
    sizes = list(sizes)
    pixels = all(math.isclose(e * 255, round(e * 255), abs_tol=1e-4) for e in sizes)
    short = all(math.isclose(e * 1000, round(e * 1000), abs_tol=1e-6) for e in sizes)
    if pixels and not short:
        return {e: f"{round(e * 255)}/255" if e else "0" for e in sizes}
    return {e: f"{e:.4g}" for e in sizes}


def cost_table(units: list[dict[str, Any]]) -> DataFrame:
    """Wall seconds, forward passes and gradients of every unit, and their ratio to MEAN's mean on the same model."""
    import pandas as pd

    names = ["name", "kind", "label", "model", "status", *COSTS, "attack_seconds"]
    table = pd.DataFrame([[unit.get(name) for name in names] for unit in units], columns=names)
    table["label"] = [part_label(unit) for unit in units]
    table[names[5:]] = table[names[5:]].apply(pd.to_numeric)
    done = table[(table.kind == "attack") & (table.status == "done") & (table.label != "clean")]
    compared = done.assign(seconds=done.attack_seconds.fillna(done.seconds))  # the attacks, not the predictions
    mean = compared[compared.label == "MEAN"].groupby("model")[COSTS].mean()
    for column in COSTS:
        base = compared.model.map(mean[column]).astype(float)
        table[f"{column}_to_mean"] = compared[column] / base.where(base > 0)
    return table.rename(columns={"name": "unit"})


def part_label(unit: dict[str, Any]) -> str:
    """FGSM-10 for the unit "mean_field FGSM-10 r0": its label without the model and the number of the repeat."""
    return re.sub(r" r\d+$", "", unit["label"]).removeprefix(f"{unit['model']} ")


def cost_summary(cost: DataFrame) -> DataFrame:
    """`cost_table` by part of the run: the repeats of an attack together, `count` units of which `done` are done."""
    grouped = cost.groupby(["kind", "label", "model"], sort=False)
    ratios = [f"{column}_to_mean" for column in COSTS]
    sums, means = grouped[COSTS].sum(min_count=1), grouped[ratios].mean()
    counts = grouped.status.agg(count="size", done=lambda status: int((status == "done").sum()))
    return counts.join(sums).join(means).reset_index()


def write_tables(source: Source, table: DataFrame) -> None:
    """tables/accuracy.csv, .md, .tex and tables/cost.csv, .md."""
    folder = source.folder / "tables"
    cost = cost_table(source.about.get("units", []))
    summary = cost_summary(cost)
    write(folder / "accuracy.csv", table.to_csv(index=False))
    write(folder / "accuracy.md", "\n".join(_markdown_panel(panel) for panel in panels(table)))
    write(folder / "accuracy.tex", "\n".join(_latex_panel(panel) for panel in panels(table)))
    write(folder / "cost.csv", cost.to_csv(index=False))
    write(
        folder / "cost.md", _markdown(list(summary.columns), [[_plain(v) for v in row] for row in summary.to_numpy()])
    )


def grid(panel: Panel) -> Iterator[tuple[str, list[Interval | None]]]:
    """The compact table: (label, accuracy at each of `columns(panel)`), clean first; None where it was not run."""
    sizes = columns(panel)
    if panel.clean is not None:
        yield "no attack", [panel.clean if eps == 0 else None for eps in sizes]
    for label, curve in panel.curves.items():
        run = set(curve.eps)
        yield label, [at(curve, eps) if eps in run else None for eps in sizes]


def columns(panel: Panel) -> list[float]:
    """The sizes of the compact table: 0 for clean inputs, then every eps."""
    return sorted({*panel.eps(), *([] if panel.clean is None else [0.0])})


def _curves(part: DataFrame) -> dict[str, DataFrame]:
    """Label -> rows by eps, in the order kind, draws; loss and steps are named where the attack alone is not enough."""
    curves: dict[str, DataFrame] = {}
    grouped = list(part.groupby(["attack", "attack_draws", "loss", "steps"], sort=False))
    names = [attack_name(attack, draws) for (attack, draws, _, steps), _ in grouped]
    for name, (key, curve) in zip(names, grouped, strict=True):
        same = [other for label, (other, _) in zip(names, grouped, strict=True) if label == name]
        extra = [key[2]] if len({other[2] for other in same}) > 1 else []
        extra += [f"{key[3]} steps"] if len({other[3] for other in same}) > 1 else []
        curves[f"{name} ({', '.join(extra)})" if extra else name] = curve.sort_values("eps")
    return dict(sorted(curves.items(), key=lambda item: _order(item[1])))


def _order(curve: DataFrame) -> tuple[bool, str, int, str, str, int]:
    """MEAN last; then by attack, number of draws, loss, steps."""
    first = curve.iloc[0]
    draws = str(first.attack_draws)
    k = int(draws) if draws.isdigit() else 0
    return first.attack == "mean", first.attack, k, draws, first.loss, int(first.steps)


def _markdown_panel(panel: Panel) -> str:
    head = ["attack", *(f"eps {text}" for text in eps_text(columns(panel)).values())]
    body = [[label, *("" if cell is None else str(cell) for cell in cells)] for label, cells in grid(panel)]
    return (f"**{panel.title}**\n\n" if panel.title else "") + _markdown(head, body)


def _markdown(head: list[str], body: Iterable[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _plain(value: Any) -> str:
    """A cell of a text table: three significant digits, nothing for a missing number."""
    if value is None or value != value:
        return ""
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


def _latex_panel(panel: Panel) -> str:
    r"""One tabular of booktabs; accuracy with its interval in small type."""
    sizes = list(eps_text(columns(panel)).values())
    lines = [
        *([f"% {panel.title}"] if panel.title else []),
        rf"\begin{{tabular}}{{l{'r' * len(sizes)}}}",
        r"\toprule",
        " & ".join(["attack", *(rf"$\varepsilon = {size}$" for size in sizes)]) + r" \\",
        r"\midrule",
        *(" & ".join([_latex(label), *map(_latex_cell, cells)]) + r" \\" for label, cells in grid(panel)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _latex_cell(cell: Interval | None) -> str:
    return "" if cell is None else rf"{cell.value:.3f} {{\footnotesize [{cell.low:.3f}, {cell.high:.3f}]}}"


def _latex(text: str) -> str:
    return "".join(f"\\{c}" if c in "_%&#$" else c for c in text)
