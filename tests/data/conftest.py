"""No test shares a cache of prepared sets with another, or reads a data root of the user."""

import pytest


@pytest.fixture(autouse=True)
def _private_cache(private_cache: None) -> None:
    """For every test of this folder."""


@pytest.fixture
def offline(monkeypatch):
    import datasets
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
