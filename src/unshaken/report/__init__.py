"""The report of a run: tables, figures and one self-contained page, all computed from stored rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unshaken.report.stored_run import StoredRun


def report(*runs: str | Path) -> Path:
    """Write tables/, figures/ and report.html into each run folder; returns the page of the first.

    Raises `FileNotFoundError` for a folder that is not a run and `ValueError` for a file that cannot be read.
    """
    from unshaken.report.stored_run import load_run

    if not runs:
        raise ValueError("report needs at least one run folder, got none.")
    pages = [write_report(run)[0] for run in [load_run(folder) for folder in runs]]
    return pages[0]


def write_report(run: StoredRun) -> tuple[Path, list[str]]:
    """Write the report of one run; returns its page, and the verdict as sentences for a terminal."""
    from unshaken.report.accuracy import accuracy_table, panels
    from unshaken.report.figures import write_figures
    from unshaken.report.page import page
    from unshaken.report.sections import sections
    from unshaken.report.stored_run import write
    from unshaken.report.tables import write_tables
    from unshaken.report.verdict import verdict

    table = accuracy_table(run.rows)
    curves = panels(table)
    written = sections(run, curves)
    write_tables(run, table, written)
    figures = write_figures(run, curves, written)
    path = write(run.folder / "report.html", page(run, curves, figures, written))
    return path, verdict(run, curves, written)
