"""Results on disk: each file is whole or absent, never overwritten by another result, and noticed when damaged."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor


class Damaged(ValueError):
    """A file that is cut, altered or of another format: to be computed again."""


def digest(config: Any, length: int = 10) -> str:
    """A name for a configuration: the same for equal ones, another for any change."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it: nobody ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    write_whole(path, lambda part: part.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8"))


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Damaged(f"{path} cannot be read as JSON ({error}).") from error


class Held(Exception):
    """Another process holds what was to be claimed."""


@contextmanager
def claimed(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold `path` for this process; another one waits, or is told by `Held`. A killed process lets go by itself."""
    from filelock import FileLock, Timeout

    lock = path.parent / ".locks" / f"{path.name}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    holding = FileLock(lock)
    try:
        holding.acquire(timeout=-1 if wait else 0)
    except Timeout as error:
        raise Held(str(path)) from error
    try:
        yield
    finally:
        holding.release()


def write_rows(path: Path, rows: DataFrame, told: dict[str, Any]) -> None:
    """Rows as parquet with checksums; `told` (costs, the unit) goes into the file's own metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(rows, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"unshaken": json.dumps(told).encode()})
    write_whole(path, lambda part: pq.write_table(table, part, write_page_checksum=True))


def read_rows(path: Path) -> tuple[DataFrame, dict[str, Any]]:
    """(rows, what `write_rows` was told); `Damaged` where a byte of them is not as it was written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, page_checksum_verification=True)
        return table.to_pandas(), json.loads(table.schema.metadata[b"unshaken"])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{path} is damaged ({str(error).splitlines()[0]}).") from error


def write_tensors(path: Path, tensors: dict[str, Tensor], told: dict[str, str]) -> None:
    """Tensors as safetensors, with `told` as the file's metadata."""
    from safetensors.torch import save_file

    kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_whole(path, lambda part: save_file(kept, part, told))


def hash_tensors(tensors: Iterable[Tensor], length: int = 10) -> str:
    """A name for the content of tensors."""
    import torch

    found = hashlib.sha256()
    for tensor in tensors:
        found.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()[:length]


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
