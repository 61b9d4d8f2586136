"""The report of a run: tables, figures and one self-contained page, all computed from stored rows."""

from pathlib import Path


def report(*runs: str | Path) -> Path:
    """Write tables/, figures/ and report.html into each run folder; returns the page of the first.

    Raises `FileNotFoundError` for a folder that is not a run and `ValueError` for a file that cannot be read.
    """
    from unshaken.report.accuracy import accuracy_table, panels
    from unshaken.report.figures import write_figures
    from unshaken.report.page import page
    from unshaken.report.sections import sections
    from unshaken.report.stored_run import load_run, write
    from unshaken.report.tables import write_tables

    if not runs:
        raise ValueError("report needs at least one run folder, got none.")
    pages = []
    for source in [load_run(folder) for folder in runs]:
        table = accuracy_table(source.rows)
        curves = panels(table)
        more = sections(source, curves)
        write_tables(source, table, more)
        figures = write_figures(source, curves, more)
        pages.append(write(source.folder / "report.html", page(source, curves, figures, more)))
    return pages[0]
