"""The page: doubts before results, self-contained, complete also for a run that is not; and its errors."""

from __future__ import annotations

import html
import json
import re

import pandas as pd
import pytest

from oracles import raises_sentence
from unshaken.evaluation.checks import CHECKS
from unshaken.report import report
from unshaken.report.accuracy import accuracy_table, panels
from unshaken.report.page import one_line, page
from unshaken.report.section import Section, Table, typeset
from unshaken.report.stored_run import load_run
from unshaken.store import write_rows


def words(text: str) -> str:
    """What a reader reads: no tags, entities resolved, plain spaces and minus signs."""
    text = re.sub(r"<style>.*?</style>", " ", text, flags=re.S)
    text = html.unescape(re.sub(r"</?(small|div|td|th|tr|p|li|dt|dd)\b[^>]*>|<[^>]+>", " ", text))
    return " ".join(text.replace("\u00a0", " ").replace("−", "-").split())


def text_of(folder) -> str:
    """The page of a run without its figures."""
    source = load_run(folder)
    return page(source, panels(accuracy_table(source.rows)), {})


def test_every_check_is_said_before_the_first_result(reported):
    text = (reported / "report.html").read_text()
    before = words(text[: text.index('<section id="curves">')])
    checks = load_run(reported).checks
    assert len(checks) == len(CHECKS)
    for finding in checks:
        assert finding.sentence in before
    assert "All seven checks that could be made pass; not made: black box, gradient free, more steps." in before


def test_sections_are_in_order(reported):
    text = (reported / "report.html").read_text()
    order = re.findall(r'<section id="(\w+)">', text)
    assert order == ["checks", "curves", "accuracy", "strongest", "pictures", "training", "cost", "made", "words"]
    assert text.index('class="verdict"') < text.index('<section id="checks">')


def test_the_page_needs_nothing_else(reported):
    text = (reported / "report.html").read_text()
    assert "http" not in text
    assert not re.search(r"<(script|link|iframe|img|object)\b|@import|\bsrc=", text)
    assert all(ref.startswith("#") or ref.startswith("data:") for ref in re.findall(r'href="([^"]*)"', text))
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<svg") == 6


def test_every_table_scrolls_in_its_own_box(reported):
    text = (reported / "report.html").read_text()
    assert text.count("<table") == text.count('<div class="box" tabindex="0"><table') == 3


def test_the_table_shows_every_number_and_marks_the_lowest(reported):
    text = (reported / "report.html").read_text()
    (panel,) = panels(accuracy_table(load_run(reported).rows))
    for curve in panel.curves.values():
        for row in curve.itertuples():
            assert (
                f">{row.accuracy:.3f}<small>± {row.spread:.3f}</small><small>{row.low:.3f} – {row.high:.3f}</small>"
                in text
            )
    accuracies = pd.DataFrame({label: curve.set_index("eps").accuracy for label, curve in panel.curves.items()})
    lowest = accuracies.eq(accuracies.min(axis=1), axis=0)
    assert text.count('<td class="lowest">') == lowest.to_numpy().sum()
    assert f'<td class="lowest">{accuracies["PGD-10"][0.2]:.3f}<small>' in text


def test_titles_and_labels_are_escaped(run, edit):
    edit(title="<b>A & B</b>", about="<script>alert(1)</script>", command='unshaken run "<x>"')
    text = text_of(run)
    assert "&lt;b&gt;A &amp; B&lt;/b&gt;" in text
    assert "<script" not in text
    assert "&lt;x&gt;" in text


def test_a_failed_unit_is_shown(run, edit):
    about = json.loads((run / "run.json").read_text())
    (unit,) = (unit for unit in about["units"] if unit["label"] == "PGD-10")
    unit |= {"status": "failed", "error": "RuntimeError: <out> of memory", "seconds": None, "forwards": None}
    edit(units=about["units"])
    (run / f"rows/{unit['name']}.parquet").unlink()
    text = words(text_of(run))
    assert "There is one more reason for caution." in text
    assert "PGD-10 on mean_field failed: RuntimeError: <out> of memory." in text
    assert "PGD-10 0 of 1 done" in text


def test_a_single_repeat_is_a_doubt(run):
    source = load_run(run)
    rows = source.rows[source.rows.repeat == 0]
    text = words(page(source.__class__(run, source.record, rows, {}, {}, {}), panels(accuracy_table(rows)), {}))
    assert "(one repeat), so the intervals cover the choice of inputs" in text


def test_a_failed_check_warns_at_the_top(run):
    source = load_run(run)
    rows = source.rows.assign(shared_draws=2)
    text = page(source.__class__(run, source.record, rows, {}, {}, {}), panels(accuracy_table(rows)), {})
    top = words(text[: text.index('<section id="checks">')])
    assert "1 of 7 checks raises a doubt: disjoint draws. Read the next section" in top
    assert text.index('<li class="doubt">') < text.index('<li class="pass">')


def test_published_values_stand_beside_ours(run, edit):
    (panel,) = panels(accuracy_table(load_run(run).rows))
    ours = panel.curves["FGSM-10"].set_index("eps").accuracy[0.1]
    published = [
        {"attack": "FGSM-10", "eps": 0.1, "value": ours},
        {"attack": "MEAN", "eps": 0.1, "value": 0.999},
        {"attack": "clean", "eps": 0, "value": 0.5},
        {"attack": "FGSM-99", "eps": 0.1, "value": 0.25},
    ]
    edit(paper={"source": "A & B (2020)", "accuracy": published})
    text = words(text_of(run))
    assert f"FGSM-10 0.1 {ours:.3f} {ours:.3f} [" in text
    assert re.search(r"MEAN 0.1 0.999 0\.\d+ \[[^]]*\] no", text)
    assert re.search(rf"clean 0 0.500 {panel.clean.value:.3f} \[[^]]*\] no", text)
    assert "FGSM-99 0.1 0.250 " in text
    assert "Published in A & B (2020)." in text
    edit(paper={"accuracy": [entry | {"model": "some model"} for entry in published[:1]]})
    assert "model attack eps published this run" in words(text_of(run))
    assert f"some model FGSM-10 0.1 {ours:.3f}" in words(text_of(run))
    edit(paper={})
    assert "Published" not in text_of(run)


def test_a_run_that_has_only_begun_has_a_page(run):
    for path in [*run.glob("rows/*"), *run.glob("models/*"), *run.glob("examples/*")]:
        path.unlink()
    text = report(run).read_text()
    assert "No attack has finished yet" in text
    assert 'id="curves"' not in text
    assert (run / "tables/accuracy.csv").read_text().startswith("model,attack,norm")


def test_a_run_of_analyses_alone_speaks_of_no_attack(run, edit):
    for path in [*run.glob("rows/*"), *run.glob("examples/*")]:
        if not path.name.startswith("clean"):
            path.unlink()
    units = [unit for unit in json.loads((run / "run.json").read_text())["units"] if unit["kind"] != "attack"]
    unit = {
        "kind": "analysis",
        "label": "mean_field gradient agreement",
        "name": "gradient-agreement-1",
        "seconds": 3.0,
    }
    edit(units=[*units, units[0] | unit])
    rows = pd.DataFrame({"index": range(40), "draws": "mean", "repeat": 0, "agreement": 0.75}).assign(
        model="mean_field"
    )
    (run / "analyses").mkdir()
    rows = pd.concat([rows.assign(draws="10", agreement=0.5), rows]).assign(analysis="gradient agreement")
    write_rows(run / "analyses/gradient-agreement-1.parquet", rows, {"analysis": "gradient_agreement"})
    text = report(run).read_text()
    text_of_page = words(text)
    assert "Without an attack, accuracy on 200 test inputs of digits is 0.9" in text_of_page
    assert "MEAN agrees with the gradient of many draws in 0.75 of the entries, 10 draws in 0.50" in text_of_page
    assert re.findall(r'<section id="(\w+)">', text) == ["agreement", "training", "cost", "made", "words"]
    assert "gradient agreement 3.00" in text_of_page
    assert not re.search("No attack|believed|checks?\\b|fewer", text_of_page)
    written = sorted(path.name for path in (run / "figures").glob("*.png"))
    assert written == ["gradient_agreement.png", "training.png"]
    data = pd.read_csv(run / "tables/gradient_agreement.csv", dtype={"draws": str})
    assert data.agreement.tolist() == [0.5, 0.75]
    assert "| MEAN | 0.750 [0.750, 0.750] |" in (run / "tables/gradient_agreement.md").read_text()
    assert "MEAN & 0.750 {\\footnotesize [0.750, 0.750]} &" in (run / "tables/gradient_agreement.tex").read_text()


def test_analyses_that_have_not_finished_are_said_so(run, edit):
    for path in run.glob("rows/*"):
        path.unlink()
    unit = {"kind": "analysis", "label": "m attack time", "model": "m", "name": "a", "status": "failed", "error": "no."}
    edit(units=[unit])
    visible = words(text_of(run))
    assert "No analysis has finished yet." in visible
    assert "attack time on m failed: no." in visible
    assert "Reasons for caution" in visible


def test_clean_rows_alone_make_a_page(run):
    for path in run.glob("rows/*"):
        if not path.name.startswith("clean"):
            path.unlink()
    assert "No attack has finished yet" in text_of(run)


def test_a_run_json_without_a_recipe_is_answered_in_one_sentence(run):
    (run / "run.json").write_text("{}")
    with raises_sentence("run.json is damaged or of another version"):
        load_run(run)


def test_clean_rows_that_several_units_stored_count_once(run):
    (clean,) = run.glob("rows/clean*")
    (run / "rows/again.parquet").write_bytes(clean.read_bytes())
    assert len(load_run(run).rows) == len(load_run(run).rows.drop_duplicates())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"kind": "mlp", "widths": [32, 16]}, "mlp (widths 32, 16)"),
        ({"label": "FGSM-1", "kind": "fgsm", "step_size": None, "redraw": False}, "FGSM-1: fgsm (redraw no)"),
        ([{"kind": "fgsm"}, {"kind": "mean"}], "fgsm; mean"),
        ({"epochs": 3, "objective": {"kind": "elbo"}}, "epochs 3, objective elbo"),
    ],
)
def test_a_recipe_is_told_in_one_line(value, text):
    assert one_line(value) == text


def test_signs_and_spaces_are_set():
    sentence = typeset("PGD-10 at eps 0.1: -0.010 [-0.020, +0.001], 95 %")
    assert sentence == "PGD-10 at eps\u00a00.1: −0.010 [−0.020,\u00a0+0.001], 95\u00a0%"


# Errors


def test_a_folder_that_is_not_a_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a run: looked for .*run\.json\.$"):
        report(tmp_path)
    with pytest.raises(ValueError, match="at least one run folder"):
        report()


@pytest.mark.parametrize("broken", ["rows/mean.", "examples/mean.", "models/mean_field-", "run."])
def test_a_truncated_file_is_named(run, broken):
    (path,) = run.glob(f"{broken}*")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=re.escape(path.name)) as error:
        report(run)
    assert "\n" not in str(error.value)
    assert not (run / "report.html").exists()


def test_rows_without_a_column_are_named(run):
    from unshaken.store import read_rows, write_rows

    (path,) = run.glob("rows/mean.*")
    write_rows(path, read_rows(path)[0].drop(columns=["correct", "votes"]), {})
    with pytest.raises(ValueError, match=rf"{re.escape(path.name)}, .*it has no column correct, votes"):
        load_run(run)


def test_text_stands_to_the_left_and_long_text_wraps(reported):
    run, long = load_run(reported), "PGD-1 (naive_cross_entropy, 20 steps, 5 restarts)"
    table = Table("told", pd.DataFrame(), ["model", "attacks", "accuracy"], [["m", long, "0.5"], [long, "MEAN", "1"]])
    text = page(run, [], {}, [Section("told", "Told", [], [], [table])])
    for cell in (
        '<th class="text">attacks</th>',
        "<th>accuracy</th>",
        '<th scope="row">m</th>',
        f'<td class="long text">{long}</td>',
        f'<th scope="row" class="long">{long}</th>',
        '<td class="text">MEAN</td>',
        "<td>0.5</td>",
    ):
        assert cell in text
    assert "td.text { text-align: left; }" in text
    assert "td.long { white-space: normal;" in text
