"""Files of small recipes, for tests to read, change and run."""

import shutil
from pathlib import Path

import pytest
from small_recipes import RESOLVED, RUN, read

from unshaken.runs.run import run


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """The path of a recipe to be resolved."""
    path = tmp_path / "mine.toml"
    path.write_text(RESOLVED)
    return str(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a recipe to be run."""
    (tmp_path / "small.toml").write_text(RUN)
    return tmp_path / "small.toml"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of that recipe that must not be changed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "small.toml").write_text(RUN)
    return run(read(folder / "small.toml"), out=folder / "runs")


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run in runs/, which the same recipe continues there."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / finished.name))
