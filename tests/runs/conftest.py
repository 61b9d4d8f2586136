"""Files of small recipes, for tests to read, change and run."""

from pathlib import Path

import pytest
from small_recipes import RESOLVED, RUN


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
