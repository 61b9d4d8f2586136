"""What units compute: which rows an attack has, whatever number of inputs is perturbed at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from small_recipes import RUN, all_rows, frames, read

from unshaken.attacks import ATTACKS
from unshaken.evaluation.checks import CHECKS
from unshaken.models import Deterministic
from unshaken.networks import vae
from unshaken.runs.compute import attack_unit, inference_draws
from unshaken.runs.loading import load_split
from unshaken.runs.parts import resolve_part
from unshaken.runs.run import run
from unshaken.runs.settings import AttackConfig, DataConfig, PredictionConfig
from unshaken.runs.units import AttackUnit, Fingerprint, Subject

DATA = DataConfig("digits", test_limit=4)


@pytest.mark.parametrize(
    ("attack", "sizes"),
    [
        ({"kind": "fgsm", "draws": 1}, [0.0, 1.0]),
        ({"kind": "fgm", "draws": 1}, [0.0, 8.0]),
        ({"kind": "carlini_wagner", "draws": 1, "steps": 1, "search_steps": 1}, [0.0, 8.0]),
        ({"kind": "one_step_cw", "draws": 1}, [0.0]),
        ({"kind": "pgd", "draws": 1, "steps": 1, "update": "gradient"}, [0.0]),
        ({"kind": "pgd", "draws": 1, "steps": 1, "loss": "latent_shift", "start": "near"}, [0.0]),
        ({"kind": "spatial", "draws": 1, "steps": 1}, []),
    ],
    ids=lambda value: str(value.get("loss", value["kind"])) if isinstance(value, dict) else "",
)
def test_the_whole_box_is_given_to_attacks_that_can_fill_it(attack: dict[str, Any], sizes: list[float]) -> None:
    data = load_split(DATA, "test", None, torch.device("cpu"))
    model = Deterministic(vae((1, 8, 8), 10, latent=2, widths=(4,)))
    unit = AttackUnit(
        label="an attack",
        subject=Subject(model="m", source="", seed=0, data=DATA, inputs=Fingerprint()),
        attack=AttackConfig(resolve_part("attack", ATTACKS, attack), "attack", "ATTACK", [0.1]),
        repeat=0,
        prediction=PredictionConfig(draws=1, rule="probability", batch_size=4),
    )
    rows = attack_unit(unit, model, data, inference_draws(unit, model)).rows
    assert rows[rows.role == "check"].groupby("index").eps.apply(list).tolist() == [sizes] * 4 * bool(sizes)


def test_inputs_are_perturbed_some_at_a_time(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(read(path), out=tmp_path / "whole")
    monkeypatch.setattr("unshaken.runs.compute.SLICE", 64 * 4 * 7)  # seven of the forty inputs
    sliced = run(read(path), out=tmp_path / "sliced")
    for name, rows in frames(whole).items():
        keys = ["eps", "index"]
        left, right = (r.sort_values(keys, ignore_index=True) for r in (rows, frames(sliced)[name]))
        pd.testing.assert_frame_equal(left, right)


def test_what_an_attack_from_outside_does_not_tell_is_unknown(path: Path, tmp_path: Path) -> None:
    path.write_text(RUN.replace('kind = "mean"', 'kind = "outside:noise_attack"'))
    rows = all_rows(run(read(path), out=tmp_path / "runs"))
    rows = rows[rows.attack.isin(["none", "outside:noise_attack"])]
    assert CHECKS["zero gradient"](rows).passed is None
    assert CHECKS["disjoint draws"](rows).passed is None


def test_repeats_have_draws_of_their_own_and_attacks_of_a_repeat_share_them(path: Path, tmp_path: Path) -> None:
    rows = all_rows(run(read(path), out=tmp_path / "runs"))
    clean = rows[rows.attack == "none"].set_index(["repeat", "index"]).probability
    assert not clean[0].equals(clean[1])
    null = rows[(rows.attack == "mean") & (rows.eps == 0)].set_index("index").probability
    pd.testing.assert_series_equal(null, clean[0].loc[null.index], rtol=1e-5)
    assert (null - clean[1].loc[null.index]).abs().max() > 1e-3
