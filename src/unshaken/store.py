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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(temporary)
        temporary.replace(path)  # atomic, since both are in one folder
    finally:
        temporary.unlink(missing_ok=True)


class Held(Exception):
    """Another process holds what was to be claimed."""


@contextmanager
def claimed(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold `path` for this process; another one waits, or is told by `Held`. A killed process lets go by itself."""
    from filelock import FileLock, Timeout

    # a file of its own: `path` is replaced while it is held, and a lock would stay with the old one
    lock_path = path.parent / ".locks" / f"{path.name}.lock"
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(lock_path).acquire(timeout=-1 if wait else 0)
    except Timeout as error:
        raise Held(str(path)) from error
    with lock:
        yield


def write_rows(path: Path, rows: DataFrame, metadata: dict[str, Any]) -> None:
    """Rows as parquet with checksums; `metadata` (costs, the unit) goes into that of the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(rows, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"unshaken": json.dumps(metadata).encode()})
    write_whole(path, lambda file: pq.write_table(table, file, write_page_checksum=True))


def read_rows(path: Path) -> tuple[DataFrame, dict[str, Any]]:
    """(rows, metadata) of `write_rows`; `Damaged` where a byte of the rows is not as it was written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, page_checksum_verification=True)
        return table.to_pandas(), json.loads(table.schema.metadata[b"unshaken"])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{path} is damaged ({str(error).splitlines()[0]}).") from error


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Tensors and metadata as safetensors."""
    from safetensors.torch import save_file

    # clone: safetensors refuses tensors that share memory
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_whole(path, lambda file: save_file(stored, file, metadata))


def read_tensors(path: str | Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """(metadata, tensors) of a safetensors file; `Damaged` where it is cut or of another format."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        with safe_open(path, framework="pt") as file:
            # clone: the file is mapped into memory, and may be cut or replaced while the tensors live
            return dict(file.metadata() or {}), {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise Damaged(f"{path} is truncated or not a safetensors file ({error}).") from error


def hash_tensors(tensors: Iterable[Tensor], length: int = 10) -> str:
    """A name for the content of tensors."""
    import torch

    content = hashlib.sha256()
    for tensor in tensors:
        content.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
        content.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return content.hexdigest()[:length]


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
