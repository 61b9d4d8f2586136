"""One thread: tests are many and small."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A set has another order in every process, and processes that share the tests must agree on theirs."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        if isinstance(mark.args[1], set | frozenset):
            raise TypeError(f"{metafunc.function.__name__}: expected values in an order, got a set: use a list")


@pytest.fixture
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps prepared sets in a cache: this test has its own, and no data root of the user's."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.delenv("UNSHAKEN_DATA", raising=False)
