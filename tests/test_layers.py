"""Imports follow the pipeline downwards, and no two modules import each other, at whatever distance."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import unshaken

SOURCE = Path(unshaken.__file__).parent
LAYERS = [
    {"types", "errors", "validate", "store"},
    {"networks", "data"},
    {"models"},
    {"evaluation"},
    {"attacks"},
    {"training"},
    {"analysis"},
    {"runs"},
    {"report"},
    {"cli"},
    {"__main__"},
]
DEPTH = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}
FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


def module(path: Path) -> str:
    """The dotted name of a file of the package; a folder is its __init__."""
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, modules: frozenset[str]) -> Iterator[str]:
    """The modules of the package that a file imports, wherever in it; none that only type checkers import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    skipped = {id(node) for block in typing for node in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in skipped:
            names = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            yield from names or {node.module} & modules


GRAPH = {module(path): {*imported(path, frozenset(map(module, FILES)))} for path in FILES}


def room(name: str) -> str:
    """The folder or file at the root of the package in which a module is."""
    return name.split(".")[1]


def test_every_room_has_a_layer() -> None:
    assert {room(name) for name in GRAPH} == DEPTH.keys()


@pytest.mark.parametrize("name", GRAPH)
def test_imports_go_downwards(name: str) -> None:
    upwards = {other for other in GRAPH[name] if DEPTH[room(other)] > DEPTH[room(name)]}
    beside = {other for other in GRAPH[name] if DEPTH[room(other)] == DEPTH[room(name)] and room(other) != room(name)}
    assert not upwards, f"{name} imports {upwards}, which come later"
    assert DEPTH[room(name)] == 0 or not beside, f"{name} imports {beside} of the same layer"


def test_no_module_imports_itself_through_others() -> None:
    def circle(name: str, above: tuple[str, ...]) -> tuple[str, ...]:
        if name in above:
            return (*above[above.index(name) :], name)
        return next(filter(None, (circle(other, (*above, name)) for other in GRAPH[name] - checked)), ()) or done(name)

    def done(name: str) -> tuple[str, ...]:
        checked.add(name)
        return ()

    checked = set[str]()
    assert not [" → ".join(found) for name in GRAPH if (found := circle(name, ()))]


def test_public_names_exist() -> None:
    for name in unshaken.__all__:
        assert callable(getattr(unshaken, name)), name
    with pytest.raises(AttributeError, match="has no attribute 'attck'"):
        unshaken.attck  # noqa: B018
