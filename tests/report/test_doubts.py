"""What training found that must be known before any result, in the verdict and on the page."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

from unshaken.report import report, verdict
from unshaken.report.doubts import doubts, training_doubts
from unshaken.report.stored_run import load_run


def entry(label: str, chains: int = 5, friction: Any = 1.0, **more: Any) -> dict[str, Any]:
    optimizer = {"kind": "sgadald", "friction": friction}
    training = {"optimizer": optimizer, "burn_in": more.pop("burn_in", None)}
    return {"label": label, "model": {"kind": "chain", "chains": chains}, "training": training, **more}


def about(*models: dict[str, Any]) -> dict[str, Any]:
    return {"recipe": {"models": list(models)}}


def epochs(*diverged: str, clamped: float = 0.0) -> list[dict[str, Any]]:
    """Two epochs; `clamped` is the share so far, so the last one counts."""
    return [{"clamped": clamped / 2, "diverged": [*diverged[:1]]}, {"clamped": clamped, "diverged": [*diverged[1:]]}]


def test_a_chain_that_diverged_is_told_with_what_is_left() -> None:
    one = {"BAL": epochs("chain 2 in epoch 1, step 3"), "BNN": epochs()}
    assert training_doubts(about(entry("BAL"), entry("BNN")), one) == [
        "In the training of BAL, chain 2 (epoch 1, step 3) diverged: the model consists of the other four chains."
    ]
    two = {"BAL": epochs("chain 2 in epoch 1, step 3", "chain 3 in epoch 2, step 9")}
    (sentence,) = training_doubts(about(entry("BAL", chains=3, burn_in=10)), two)
    assert "chain 2 (epoch 1, step 3) and chain 3 (epoch 2, step 9) diverged: the model consists of" in sentence
    assert sentence.endswith("the other chain, and of what these chains had stored before.")
    many = {"BAL": epochs(*(f"chain {i} in epoch 1, step {i}" for i in range(1, 8)))}
    (sentence,) = training_doubts({}, many)
    assert sentence.endswith(
        "chain 3 (epoch 1, step 3) and 4 other chains diverged: the model consists of the other chains."
    )


def test_networks_of_a_group_share_a_sentence() -> None:
    models = [entry(f"BAL, seed {seed}", group="BAL", seed=seed) for seed in range(9)]
    lost = {f"BAL, seed {seed}": epochs("chain 2 in epoch 1, step 3", "chain 5 in epoch 2, step 1") for seed in (0, 4)}
    histories = {model["label"]: epochs() for model in models} | lost
    assert training_doubts(about(*models), histories) == [
        "Chains diverged in the training of 2 of the 9 networks of BAL (chain 2 and chain 5 with seed 0 and chain 2 "
        "and chain 5 with seed 4): such a network consists of its other chains."
    ]
    every = dict.fromkeys(histories, epochs("chain 1 in epoch 1, step 1"))
    (sentence,) = training_doubts(about(*models), every)
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
    (sentence,) = training_doubts(about(entry("BAL", friction=friction)), {"BAL": epochs(clamped=share)})
    assert re.search(pattern, sentence)
    assert "the most" not in sentence


def test_of_many_models_without_noise_the_largest_share_is_told() -> None:
    histories = {"a": epochs(clamped=0.1), "b": epochs(clamped=0.3), "c": epochs(), "d": []}
    (sentence,) = training_doubts(about(*map(entry, "abc")), histories)
    assert sentence.startswith(
        "In the training of b, 30 % of the noise variances of its sampler were negative, the most of"
    )
    assert training_doubts(about(entry("c")), {"c": epochs()}) == []


def test_a_run_from_before_has_nothing_to_tell(finished) -> None:
    run = load_run(finished)
    old = [{"loss": 1.0, "accuracy": 0.5, "seconds": 1.0}]
    assert training_doubts(run.about, {"mean_field": old}) == []
    assert doubts(dataclasses.replace(run, histories={"mean_field": old})) == doubts(run) == []


def test_it_stands_before_the_results(run, edit) -> None:
    (path,) = (run / "models").glob("*.json")
    record = json.loads(path.read_text())
    record["history"][0] |= {"diverged": ["chain 2 in epoch 1, step 3"], "clamped": 0.5}
    record["history"][-1] |= {"clamped": 0.25}
    path.write_text(json.dumps(record))
    edit(recipe=json.loads((run / "run.json").read_text())["recipe"] | about(entry("mean_field"))["recipe"])
    sentence = "In the training of mean_field, chain 2 (epoch 1, step 3) diverged: the model consists of the other four"
    source = load_run(run)
    lines = verdict(source)
    places = [next(i for i, line in enumerate(lines) if text in line) for text in (sentence, "25 %", "Under PGD-10")]
    assert places == sorted(places)
    text = " ".join(report(run).read_text().replace("\u00a0", " ").split())
    assert "There are 2 more reasons for caution" in text
    assert sentence in text[: text.index('<section id="curves">')]
