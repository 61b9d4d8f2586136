"""Small recipes, to be resolved or run, and what a run of one leaves behind."""

from pathlib import Path

import pandas as pd

from unshaken.runs.recipe import Recipe, read_recipe
from unshaken.runs.record import RunRecord, read_record
from unshaken.store import read_rows

RESOLVED = """
title = "A test"
[data]
name = "digits"
[network]
kind = "mlp"
widths = [8]
[model]
kind = "mean_field"
[training]
epochs = 2
optimizer = { kind = "adam", lr = 0.01 }
[evaluation]
eps = [0.1, "8/255"]
draws = 7
[[attacks]]
kind = "mean"
[[attacks]]
kind = "pgd"
sweep.draws = [1, 5]
sweep.norm = ["linf", "l2"]
[presets.smoke]
training = { epochs = 1 }
attacks = { steps = 2 }
[presets.sgd]
training = { optimizer = { kind = "sgd", lr = 0.5 } }
"""

RUN = """
title = "A small run"
[data]
name = "digits"
train_limit = 200
test_limit = 40
[network]
kind = "mlp"
widths = [16]
[model]
kind = "mean_field"
[training]
epochs = 3
optimizer = { kind = "adam", lr = 0.01 }
[evaluation]
eps = [0.1, 0.2]
draws = 6
repeats = 2
[[attacks]]
kind = "mean"
[[attacks]]
kind = "fgsm"
sweep.draws = [1, 4]
"""

MLP = 'kind = "mlp"\nwidths = [16]'

CURVES = """
[curves]
every = 3
draws = 2
select = "FGSM-1"
[[curves.attacks]]
kind = "fgsm"
draws = 1
eps = [0.1]
[[curves.attacks]]
kind = "pgd"
draws = 2
steps = 2
eps = [0.2]
"""


def read(path: Path, *settings: str) -> Recipe:
    return read_recipe(str(path), settings=settings)


def read_with_curves(path: Path, *settings: str) -> Recipe:
    path.write_text(RUN + CURVES)
    return read(path, "data.validation=0.2", "training.batch_size=40", *settings)


def record_of(folder: Path) -> RunRecord:
    return read_record(folder / "run.json", RunRecord)


def frames(folder: Path) -> dict[str, pd.DataFrame]:
    """All rows of a run, by unit."""
    return {path.stem: read_rows(path)[0] for path in sorted((folder / "rows").glob("*.parquet"))}


def all_rows(folder: Path) -> pd.DataFrame:
    return pd.concat(frames(folder).values())


def assert_same_rows(a: Path, b: Path) -> None:
    left, right = frames(a), frames(b)
    assert left.keys() == right.keys()
    for name, rows in left.items():
        pd.testing.assert_frame_equal(rows, right[name])


def time_stamps(folder: Path) -> dict[str, int]:
    """When each result was written."""
    results = [*folder.glob("rows/*.parquet"), *folder.glob("models/*")]
    return {path.name: path.stat().st_mtime_ns for path in results}
