"""The commands as a user types them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from unshaken import __version__ as unshaken_version
from unshaken.cli import app
from unshaken.report import drawing, figures
from unshaken.runs.recipe import recipe_paths


def unshaken(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, words, env={"COLUMNS": "100"})
    return result.exit_code, result.stdout, result.stderr


HEADER = "model,attack,norm,loss,attack_draws,steps,restarts,inference_draws,eps,n,accuracy,low,high,parameters,flops"
AGAIN = ("demo", "mean_gradient_agreement", "sampling_angles")  # with many of the sections


def wide_alone(folder: Path, name: str, make: Callable[[bool], Figure]) -> drawing.Inline:
    """A figure for the page, without its files and without its form for a phone."""
    with drawing.styled(**{"svg.fonttype": "none"}):
        svg = drawing._rendered(drawing._settled(make(False)), "svg")
        return drawing.Inline(drawing._for_page(svg, f"{name}-wide-"), "")


def undrawn(folder: Path, name: str, make: Callable[[bool], Figure]) -> drawing.Inline:
    return drawing.Inline("", "")


RECIPES = recipe_paths()


@pytest.mark.no_cover  # which lines a smoke runs through says nothing of them, and to trace it takes half as long again
@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_every_recipe_runs_at_smoke_and_makes_its_page(recipe: str, tmp_path: Path, monkeypatch) -> None:
    if recipe not in AGAIN:  # to draw is most of the time: each figure once, and not those of a recipe like another
        alike = RECIPES[recipe].read_text().splitlines()[1].startswith("like")
        monkeypatch.setattr(figures, "write_figure", undrawn if alike else wide_alone)
    code, out, err = unshaken("run", recipe, "--preset", "smoke", "--out", str(tmp_path))
    assert code == 0, err
    page = next(tmp_path.glob("*/report.html"))
    assert str(page) in out
    assert "check" in out
    assert (page.parent / "tables" / "accuracy.csv").read_text().startswith(f"{HEADER}\n")
    if recipe in AGAIN:
        before = page.read_text(encoding="utf-8")
        page.unlink()
        code, out, err = unshaken("report", str(page.parent))
        assert code == 0, err
        assert page.read_text(encoding="utf-8") == before


def test_the_package_is_the_command() -> None:
    command = [sys.executable, "-m", "unshaken", "--help"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "python -m unshaken" in out
    assert all(f" {name} " in out for name in ("run", "report", "explain", "list", "show", "schema"))


def test_the_version_is_printed() -> None:
    code, out, _ = unshaken("--version")
    assert code == 0
    assert out.strip() == unshaken_version


def test_an_output_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    code, _, err = unshaken("run", "demo", "--preset", "smoke", "--out", str(tmp_path / "runs"))
    assert code == 2
    assert err.startswith("unshaken: cannot write to ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "start",
    ["from unshaken.cli import main; main()", "import runpy; runpy.run_module('unshaken', run_name='__main__')"],
)
def test_help_imports_nothing_heavy(start: str) -> None:
    code = f"import sys; sys.argv = ['unshaken', '--help']\ntry: {start}\nfinally: "
    code += "print('HEAVY', sorted({'torch', 'pandas', 'matplotlib', 'datasets'} & sys.modules.keys()))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Usage" in out
    assert "HEAVY []" in out


def test_list_has_a_line_for_every_part() -> None:
    code, out, _ = unshaken("list")
    assert code == 0
    for entry in (
        "recipes",
        "demo",
        "datasets",
        "gtsrb",
        "tanganke/gtsrb",
        "mean_field",
        "log_error",
        "linf",
        "PGD-k",
        "ways",
    ):
        assert entry in out
    code, out, _ = unshaken("list", "attacks")
    assert code == 0
    assert "mean" in out
    assert "datasets" not in out


def test_show_lists_settings_and_work() -> None:
    code, out, _ = unshaken("show", "demo", "--set", "evaluation.repeats=2")
    assert code == 0
    for setting in ("MEAN", "FGSM-100", "prior_scale=1.0", "units       17 (1 to train)", "repeats=2"):
        assert setting in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "demmo"], "unshaken: no recipe 'demmo': did you mean 'demo'?"),
        (["run", "demo", "--preset", "smok"], "unknown preset of demo.toml 'smok': did you mean 'smoke'?"),
        (["run", "demo", "--set", "attacks.stpes=2"], "unknown setting 'stpes': did you mean 'steps'?"),
        (["run", "demo", "--device", "gpu"], "unknown device 'gpu': did you mean 'cpu'?"),
        (["run", "mnist_mean_field", "--data-root", "nowhere"], "the data root 'nowhere' is not a folder"),
        (["show", "demmo"], "did you mean 'demo'?"),
        (["list", "atacks"], "unknown kind of part 'atacks': did you mean 'attacks'?"),
        (["report", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_answered_by_one_sentence_and_code_2(words: list[str], message: str) -> None:
    code, _, err = unshaken(*words)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert err.startswith("unshaken: ")
    assert err.count("\n") == 1


def test_a_failed_unit_gives_code_1_and_still_a_page(tmp_path: Path) -> None:
    text = RECIPES["demo"].read_text(encoding="utf-8")
    attack = '[[attacks]]\nkind = "outside:failing_attack"\n\n[presets.smoke]'
    (tmp_path / "mine.toml").write_text(text.replace("[presets.smoke]", attack), encoding="utf-8")
    mine, runs = str(tmp_path / "mine.toml"), str(tmp_path / "runs")
    code, out, err = unshaken("run", mine, "--preset", "smoke", "--out", runs)
    assert code == 1
    assert "no such luck" in err
    assert "report.html" in out
