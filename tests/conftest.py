"""One thread: tests are many and small."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps prepared sets in a cache: this test has its own, and no data root of the user's."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.delenv("UNSHAKEN_DATA", raising=False)
