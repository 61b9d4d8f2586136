"""The code in the README and the docs runs, and what they name exists."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from unshaken.cli import app
from unshaken.evaluation.checks import CHECKS
from unshaken.runs.recipe import read_recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> str:
    """All code of one language on a page, in order."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_on_a_page_runs(page: Path) -> None:
    """It fails by what the code raises."""
    exec(compile(blocks(page, "python"), str(page), "exec"), {})


def test_the_recipe_of_the_docs_resolves(tmp_path: Path) -> None:
    text = blocks(ROOT / "docs" / "recipes.md", "toml")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    config = read_recipe(str(tmp_path / "mine.toml"), preset="smoke").config
    assert len(config.models) == 2 * 3 * 2
    assert config.models[-1].label == "mean_field, prior_scale 1.0, PGD-5, wide"
    assert [attack.label for attack in config.attacks] == ["MEAN", "FGSM-1", "FGSM-10"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_a_page_are_understood(page: Path) -> None:
    for line in re.findall(r"^unshaken .*?(?=\s*#|$)", page.read_text(encoding="utf-8"), re.MULTILINE):
        words = shlex.split(line)[1:]
        if words[0] == "run":  # what it would compute, in place of computing it
            words = ["show", *words[1:]]
            words = words[: words.index("--data-root")] if "--data-root" in words else words
        if words[0] in ("show", "list"):
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, f"{line}: {result.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_a_gap(page: Path) -> None:
    assert not re.findall(
        r"\b(?:TODO|TBD|XXX|[A-Z]+_[A-Z]+_?TABLE|BENCHMARK_TABLE|ZEROSHARE)\b", page.read_text(encoding="utf-8")
    )


def test_every_check_is_explained() -> None:
    text = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in CHECKS)


def test_the_two_commands_are_at_the_top() -> None:
    top = (ROOT / "README.md").read_text(encoding="utf-8")[:700]
    assert "make demo" in top
    assert "make test" in top
