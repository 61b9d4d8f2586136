"""Several processes at work on one run: on a CPU they use its cores better than the threads of one process."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

MOST = 8  # processes, at most, that are started unasked: each holds the data and the models


def choose_jobs(jobs: int | None, device: torch.device, units: int) -> int:
    """How many processes: as asked, or one for each thread of a CPU, but no more than there are units."""
    if jobs is None:
        return min(torch.get_num_threads(), units, MOST) if device.type == "cpu" else 1
    if jobs < 1:
        raise ValueError(f"jobs must be 1 or more processes; got {jobs}.")
    return jobs


@contextmanager
def alongside(count: int, target: Callable[..., None], *args: Any) -> Iterator[Callable[[], list[str]]]:
    """`count` processes that call target(*args, say) meanwhile; gives a function that returns what they said since.

    They share the threads that torch has with this process, and end with it, however it ends. A script that starts
    processes needs `if __name__ == "__main__":` around what it does.
    """
    if count < 1:
        yield list
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process that has threads may hang
    messages = context.SimpleQueue()
    threads = torch.get_num_threads()
    share = max(1, threads // (count + 1))
    processes = [context.Process(target=_work, args=(target, args, messages, share), daemon=True) for _ in range(count)]
    torch.set_num_threads(share)
    try:
        with _uninterrupted():
            for process in processes:
                process.start()
        yield lambda: [messages.get() for _ in iter(messages.empty, True)]
        for process in processes:
            process.join()
    finally:
        torch.set_num_threads(threads)
        for process in processes:
            process.kill() if process.is_alive() else None


def _work(target: Callable[..., None], args: tuple[Any, ...], messages: Any, threads: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    target(*args, messages.put)


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, even by a signal that it could not catch."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes started meanwhile are not interrupted by Ctrl-C, but ended by the process that starts them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
