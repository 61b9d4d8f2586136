"""The command line: run a recipe, report on runs, list what there is, show a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

if TYPE_CHECKING:
    from unshaken.runs.run import Progress, Say


class Commands(typer.core.TyperGroup):
    """What a user can cause is answered by one sentence and exit code 2, not by a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, OSError) as error:
            typer.echo(f"unshaken: {error}", err=True)
            raise typer.Exit(2) from error
        except KeyboardInterrupt:
            typer.echo("\nunshaken: stopped; the same command goes on from here.", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Commands,
    help="How robust is a classifier whose prediction is random?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipeName = Annotated[str, typer.Argument(help="A recipe: a name from `unshaken list recipes`, or a TOML file.")]
Preset = Annotated[
    str | None, typer.Option(help="Override settings as the recipe's preset says: smoke, laptop, paper.")
]
DataRoot = Annotated[
    Path | None, typer.Option(help="Folder of image sets: <name>/train.parquet and so on.", envvar="UNSHAKEN_DATA")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override one setting, such as attacks.steps=20.")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("unshaken"))
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """How robust is a classifier whose prediction is random?"""


@app.command()
def run(
    recipe: RecipeName,
    preset: Preset = None,
    set_: Settings = None,
    data_root: DataRoot = None,
    out: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
    device: Device = "auto",
    jobs: Annotated[
        int | None, typer.Option(help="Processes that share the work; one for each thread of a CPU if left out.")
    ] = None,
) -> None:
    """Train, attack, evaluate and report as a recipe says; continues a run that was cut off."""
    from unshaken.report import write_report
    from unshaken.report.stored_run import load_run
    from unshaken.runs import run as runs
    from unshaken.runs.memory import keep_freed_memory
    from unshaken.runs.recipe import read_recipe

    plan = read_recipe(recipe, preset=preset, settings=set_ or ())
    keep_freed_memory()
    with bar() as (progress, say):
        folder = runs.run(plan, out=out, data_root=data_root, device=device, jobs=jobs, progress=progress, say=say)
    failed = runs.failed_units(folder)
    page, verdict = write_report(load_run(folder))
    typer.echo("\n".join(verdict))
    typer.echo(f"\nThe page: {page}")
    for unit in failed:
        typer.echo(f"{unit.label}: {unit.status}: {unit.error}", err=True)
    if failed:
        raise typer.Exit(1)


@app.command("report")
def report_command(runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")]) -> None:
    """Make tables, figures and the page of finished runs again, from their rows."""
    from unshaken.report import report

    for folder in runs:
        typer.echo(report(folder))


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    input_: Annotated[
        list[int] | None, typer.Option("--input", help="The place of a test image; as often as wanted.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model of the run; its first if left out.")] = None,
    attack: Annotated[str | None, typer.Option(help="An attack of the run; the strongest if left out.")] = None,
    eps: Annotated[
        str | None, typer.Option(help="A size of the attack, such as 1.5 or 8/255; where it begins to win if left out.")
    ] = None,
    data_root: DataRoot = None,
    device: Device = "auto",
) -> None:
    """Why the labels of some inputs of a run fell under an attack, or did not: a page with the conditions per class."""
    from unshaken.report.explain import explain
    from unshaken.runs.merge import number

    page = explain(
        run,
        inputs=input_ or (),
        model=model,
        attack=attack,
        eps=None if eps is None else number(eps),
        data_root=data_root,
        device=device,
        say=typer.echo,
    )
    typer.echo(f"\nThe page: {page}")


@app.command("list")
def list_command(
    what: Annotated[str | None, typer.Argument(help="One kind of part; all kinds if left out.")] = None,
) -> None:
    """What there is: recipes, datasets, networks, models, attacks, losses, norms, ..."""
    from rich.console import Console
    from rich.table import Table

    from unshaken.errors import lookup
    from unshaken.runs.catalogue import catalogue

    tables = catalogue()
    table = Table(box=None, show_header=False, pad_edge=False)
    for kind, entries in ({what: lookup("kind of part", what, tables)} if what else tables).items():
        table.add_row(f"[bold]{kind}[/bold]", "")
        for name, description in entries.items():
            table.add_row(f"  {name}", description)
        table.add_row("", "")
    Console().print(table)


@app.command()
def show(recipe: RecipeName, preset: Preset = None, set_: Settings = None) -> None:
    """A recipe with every setting, also the ones it leaves at their defaults, and what it would compute."""
    from unshaken.runs.catalogue import describe
    from unshaken.runs.recipe import read_recipe

    typer.echo(describe(read_recipe(recipe, preset=preset, settings=set_ or ())))


@app.command()
def schema() -> None:
    """The JSON Schema of a recipe: kinds, settings, defaults and ranges, for editors that complete and check TOML."""
    import json

    from unshaken.runs.schema import schema

    typer.echo(json.dumps(schema(), indent=1, ensure_ascii=False))


@contextmanager
def bar() -> Iterator[tuple[Progress, Say]]:
    """One progress bar on a terminal, nothing elsewhere; and a way to print above it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns: list[Any] = [BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn()]
    with Progress(
        *columns, TextColumn("{task.description}"), console=console, disable=not console.is_terminal
    ) as display:
        task = display.add_task("", total=None)

        def progress(done: float, total: float, note: str) -> None:
            display.update(task, completed=done, total=total, description=note)

        yield progress, lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    app()
