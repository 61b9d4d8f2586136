"""Units: which rows an attack has for the checks."""

from __future__ import annotations

from typing import Any

import pytest

from unshaken.models import Deterministic
from unshaken.networks import vae
from unshaken.runs.parts import part
from unshaken.runs.plan import Unit
from unshaken.runs.units import ATTACKS, attack_unit, inference_draws, load_split

DATA = {"name": "digits", "train_limit": None, "test_limit": 4}


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
    data = load_split(DATA, "test", None, "cpu")  # type: ignore[arg-type]
    model = Deterministic(vae((1, 8, 8), 10, latent=2, widths=(4,)))
    config = {"seed": 0, "repeat": 0, "evaluation": {"draws": 1, "rule": "probability", "batch_size": 4}}
    config["attack"] = {**part("attack", ATTACKS, attack), "eps": [0.1]}
    unit = Unit("attack", "an attack", "m", config)
    rows = attack_unit(unit, model, data, inference_draws(unit, model)).rows
    assert rows[rows.role == "check"].groupby("index").eps.apply(list).tolist() == [sizes] * 4 * bool(sizes)
