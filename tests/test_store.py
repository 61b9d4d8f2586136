"""Files are whole or absent, and a file with one wrong byte is noticed."""

from pathlib import Path

import pandas as pd
import pytest

from unshaken.store import Damaged, digest, read_rows, write_rows, write_whole


@pytest.fixture
def rows() -> pd.DataFrame:
    return pd.DataFrame({"index": range(5000), "attack": ["fgsm", "none"] * 2500, "correct": [True, False] * 2500})


def test_rows_come_back_as_they_were_with_their_metadata(tmp_path: Path, rows: pd.DataFrame) -> None:
    write_rows(tmp_path / "a.parquet", rows, {"seconds": 1.5})
    stored, metadata = read_rows(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(stored, rows)
    assert metadata == {"seconds": 1.5}
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize("fraction", [0, 0.001, 0.5, 0.99])
def test_a_file_that_was_cut_is_noticed(tmp_path: Path, rows: pd.DataFrame, fraction: float) -> None:
    path = tmp_path / "a.parquet"
    write_rows(path, rows, {})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(Damaged, match=r"a.parquet is damaged \("):
        read_rows(path)


def test_a_wrong_byte_in_the_rows_is_noticed(tmp_path: Path, rows: pd.DataFrame) -> None:
    path = tmp_path / "a.parquet"
    write_rows(path, rows, {})
    whole = bytearray(path.read_bytes())
    for index in range(100, 2000, 200):
        changed = whole.copy()
        changed[index] ^= 0xFF
        path.write_bytes(changed)
        with pytest.raises(Damaged):
            read_rows(path)


def test_other_parquet_files_are_damaged(tmp_path: Path, rows: pd.DataFrame) -> None:
    rows.to_parquet(tmp_path / "other.parquet")
    with pytest.raises(Damaged):
        read_rows(tmp_path / "other.parquet")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "a.json", fail)
    assert (tmp_path / "a.json").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_appears_whole_by_renaming(tmp_path: Path) -> None:
    inodes: list[int] = []

    def write(path: Path) -> None:
        path.write_text("whole")
        inodes.append(path.stat().st_ino)
        assert not (tmp_path / "a").exists()

    write_whole(tmp_path / "a", write)
    assert (tmp_path / "a").stat().st_ino == inodes[0]


def test_the_name_of_a_configuration_depends_on_its_content_alone() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
