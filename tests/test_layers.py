"""Imports follow the pipeline downwards: a stage never imports a later one."""

import ast
from pathlib import Path

import pytest

import unshaken

SOURCE = Path(unshaken.__file__).parent
LAYERS = [
    {"types", "errors", "validate", "store", "memory", "jobs"},
    {"autoencoder", "data", "networks", "models"},
    {"predict"},
    {"attacks"},
    {"training"},
    {"analysis", "evaluate", "statistics", "checks"},
    {"parts"},
    {"merge"},
    {"resolve"},
    {"recipe"},
    {"plan"},
    {"units"},
    {"rehearse"},
    {"experiment", "catalogue", "report"},
    {"explain"},
    {"cli"},
]
DEPTH = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}


def stage(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


FILES = [
    path for path in sorted(SOURCE.rglob("*.py")) if path.parent != SOURCE or path.stem not in ("__init__", "__main__")
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_downwards(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    stages = {module.split(".")[1] for module in modules if module.startswith("unshaken.")} - {stage(path)}
    upwards = {other for other in stages if DEPTH[other] > DEPTH[stage(path)]}
    assert not upwards, f"{stage(path)} imports {upwards}, which come later"


def test_public_names_exist() -> None:
    for name in unshaken.__all__:
        assert callable(getattr(unshaken, name)), name
    with pytest.raises(AttributeError, match="has no attribute 'attck'"):
        unshaken.attck  # noqa: B018
