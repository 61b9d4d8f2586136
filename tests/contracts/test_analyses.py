"""What every analysis promises: rows that follow from the seed, and a line of documentation."""

from __future__ import annotations

import pytest

from oracles import small_coder, small_inputs, small_model
from unshaken.analysis import ANALYSES
from unshaken.attacks import ATTACKS
from unshaken.models import MeanField
from unshaken.runs.catalogue import first_line

X, Y = small_inputs()
MEAN = {"MEAN": ATTACKS["mean"]}
SETTINGS = {
    "attack_time": {"attacks": MEAN, "rounds": 2, "batch": 3, "shortest": 1e-6},
    "conditions": {"attacks": MEAN, "eps": [0.1], "draws": 3, "smoothness": 1.0},
    "flatness": {"size": 0.1, "copies": 2, "draws": 5},
    "latent_shift": {"attacks": MEAN, "eps": [0.1, 0.2], "draws": 3},
    "prediction_variance": {"draws": 5},
}


@pytest.mark.parametrize("name", ANALYSES)
def test_an_analysis_gives_rows_of_a_model(name):
    net = MeanField(small_coder()) if name == "latent_shift" else small_model("mean_field")
    one, other = (ANALYSES[name](net, X, Y, seed=1, **SETTINGS.get(name, {})) for _ in range(2))
    assert len(one) > 0
    assert one.notna().all(axis=None)
    assert one.drop(columns="seconds", errors="ignore").equals(other.drop(columns="seconds", errors="ignore"))
    assert first_line(ANALYSES[name]).endswith(".")
