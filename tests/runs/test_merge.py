"""Tables of settings are written over one another, level by level."""

import pytest

from oracles import raises_sentence
from unshaken.runs.merge import fractions, merge
from unshaken.runs.recipe import read_recipe


def test_an_empty_list_removes_a_sweep(recipe: str) -> None:
    swept = ['sweep."network.widths"=[[4], [8]]']
    assert len(read_recipe(recipe, settings=swept).config.models) == 2
    assert len(read_recipe(recipe, settings=[*swept, 'sweep."network.widths"=[]']).config.models) == 1


def test_a_sweep_may_be_set_too(recipe: str) -> None:
    config = read_recipe(recipe, settings=["attacks.sweep.draws=[2, 3, 4]", "attacks.norm=linf"]).config
    assert [attack.label for attack in config.attacks] == ["MEAN", "PGD-2", "PGD-3", "PGD-4"]


def test_a_part_of_another_kind_replaces_the_old_one(recipe: str) -> None:
    optimizer = read_recipe(recipe, preset="sgd").config.models[0].training.optimizer
    assert optimizer.kind == "sgd"
    assert optimizer.get("lr") == 0.5
    assert "betas" not in optimizer.arguments


def test_a_removed_sweep_stays_so_unless_it_is_revived() -> None:
    for revive, expected in ((False, []), (True, {"wide": 1})):
        settings = {"prior": []}
        merge(settings, {"prior": {"wide": 1}}, "[sweep]", revive=revive)
        assert settings == {"prior": expected}


def test_fractions_are_divided_out_wherever_they_are() -> None:
    assert fractions({"a": ["8/255", {"b": "1/4"}], "c": "a/b", "d": "1/2/3"}) == {
        "a": [8 / 255, {"b": 0.25}],
        "c": "a/b",
        "d": "1/2/3",
    }


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("attacks.stpes=3", "unknown setting 'stpes': did you mean 'steps'?"),
        ("attacks.sweep=5", "sweep: expected a table of settings, got 5"),
        ("evaluation.eps=['1/0']", "the fraction '1/0' divides by zero"),
        ("evaluation.eps={a=1}", "eps must be a list in which each entry is a finite number, 0 or more; got {'a': 1}"),
    ],
)
def test_settings_that_fit_nowhere_are_answered_in_one_sentence(recipe: str, setting: str, message: str) -> None:
    with raises_sentence(message):
        read_recipe(recipe, settings=[setting])
