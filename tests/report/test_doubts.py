"""What training found that must be known before any result, in the verdict and on the page."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from synthetic import run_record

from unshaken.report import report
from unshaken.report.accuracy import accuracy_table, panels
from unshaken.report.doubts import training_doubts
from unshaken.report.stored_run import load_run
from unshaken.report.verdict import verdict
from unshaken.runs.record import RunRecord
from unshaken.training import Epoch


def entry(label: str, chains: int = 5, friction: Any = 1.0, **more: Any) -> dict[str, Any]:
    optimizer = {"kind": "sgadald", "friction": friction}
    training = {"optimizer": optimizer, "burn_in": more.pop("burn_in", None)}
    return {"label": label, "model": {"kind": "chain", "chains": chains}, "training": training, **more}


def record(*models: dict[str, Any]) -> RunRecord:
    return run_record(recipe={"models": list(models)})


def epochs(*diverged: str, clamped: float = 0.0) -> list[Epoch]:
    """Two epochs; `clamped` is the share so far, so the last one counts."""
    first = Epoch(1.0, 0.5, 1.0, clamped=clamped / 2, diverged=[*diverged[:1]])
    return [first, Epoch(0.5, 0.5, 1.0, clamped=clamped, diverged=[*diverged[1:]])]


def test_a_chain_that_diverged_is_told_with_what_is_left() -> None:
    one = {"BAL": epochs("chain 2 in epoch 1, step 3"), "BNN": epochs()}
    assert training_doubts(record(entry("BAL"), entry("BNN")), one) == [
        "In the training of BAL, chain 2 (epoch 1, step 3) diverged: the model consists of the other four chains."
    ]
    two = {"BAL": epochs("chain 2 in epoch 1, step 3", "chain 3 in epoch 2, step 9")}
    (sentence,) = training_doubts(record(entry("BAL", chains=3, burn_in=10)), two)
    assert "chain 2 (epoch 1, step 3) and chain 3 (epoch 2, step 9) diverged: the model consists of" in sentence
    assert sentence.endswith("the other chain, and of what these chains had stored before.")
    many = {"BAL": epochs(*(f"chain {i} in epoch 1, step {i}" for i in range(1, 8)))}
    (sentence,) = training_doubts(record(entry("BAL", chains=9)), many)
    assert sentence.endswith(
        "chain 3 (epoch 1, step 3) and 4 other chains diverged: the model consists of the other two chains."
    )


def test_networks_of_a_group_share_a_sentence() -> None:
    models = [entry(f"BAL, seed {seed}", group="BAL", seed=seed) for seed in range(9)]
    lost = {f"BAL, seed {seed}": epochs("chain 2 in epoch 1, step 3", "chain 5 in epoch 2, step 1") for seed in (0, 4)}
    histories = {model["label"]: epochs() for model in models} | lost
    assert training_doubts(record(*models), histories) == [
        "Chains diverged in the training of 2 of the 9 networks of BAL (chain 2 and chain 5 with seed 0 and chain 2 "
        "and chain 5 with seed 4): such a network consists of its other chains."
    ]
    every = dict.fromkeys(histories, epochs("chain 1 in epoch 1, step 1"))
    (sentence,) = training_doubts(record(*models), every)
    assert (
        "9 of the 9 networks of BAL (chain 1 with seed 0, chain 1 with seed 1, chain 1 with seed 2 and 6 other "
        in sentence
    )


@pytest.mark.parametrize(
    ("share", "friction", "pattern"),
    [
        (0.25, 1.0, '25 % of the noise variances of its sampler .*a lower learning rate or friction "matched" is the'),
        (0.25, "matched", "no noise in those steps; a lower learning rate is the usual cure"),
        (0.0001, 1.0, "BAL, less than 0.1 % of"),
    ],
)
def test_weights_without_noise_are_told_with_a_cure(share: float, friction: Any, pattern: str) -> None:
    (sentence,) = training_doubts(record(entry("BAL", friction=friction)), {"BAL": epochs(clamped=share)})
    assert re.search(pattern, sentence)
    assert "the most" not in sentence


def test_of_many_models_without_noise_the_largest_share_is_told() -> None:
    histories = {"a": epochs(clamped=0.1), "b": epochs(clamped=0.3), "c": epochs(), "d": []}
    (sentence,) = training_doubts(record(*map(entry, "abc")), histories)
    assert sentence.startswith(
        "In the training of b, 30 % of the noise variances of its sampler were negative, the most of"
    )
    assert training_doubts(record(entry("c")), {"c": epochs()}) == []


def test_it_stands_before_the_results(run, edit) -> None:
    (path,) = (run / "models").glob("*.json")
    content = json.loads(path.read_text())
    content["history"][0] |= {"diverged": ["chain 2 in epoch 1, step 3"], "clamped": 0.5}
    content["history"][-1] |= {"clamped": 0.25}
    path.write_text(json.dumps(content))
    edit(models=record(entry("mean_field")).model_dump(mode="json")["recipe"]["models"])
    sentence = "In the training of mean_field, chain 2 (epoch 1, step 3) diverged: the model consists of the other four"
    source = load_run(run)
    curves = panels(accuracy_table(source.rows))
    lines = verdict(source, curves, [])
    places = [next(i for i, line in enumerate(lines) if text in line) for text in (sentence, "25 %", "Under PGD-10")]
    assert places == sorted(places)
    text = " ".join(report(run).read_text().replace("\u00a0", " ").split())
    assert "There are 2 more reasons for caution" in text
    assert sentence in text[: text.index('<section id="curves">')]
