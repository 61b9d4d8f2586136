"""What the benchmarks share: arguments, time in turns, peak memory, the machine, tables and files of results."""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

OURS = "ours"  # the contender that ratios are to, under this name in the stored numbers
SHORTEST = 0.02  # seconds: a quicker call is repeated within a round until it takes this long

Call = Callable[[], object]
Times = dict[str, list[float]]  # contender -> milliseconds of each round


class Benchmark:
    """One run of a script: its arguments, the clock that they choose, and the files that it writes.

    A script that is started with --task, by `in_own_process`, prints the number that `task` gives and ends.
    """

    def __init__(
        self,
        script: str,
        doc: str | None,
        *,
        quick: str,
        task: Callable[..., float] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """`quick` is what --quick leaves, `options` are the arguments of this script alone, as argparse takes them."""
        self.script = Path(script)
        parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
        parser.add_argument("--quick", action="store_true", help=quick)
        parser.add_argument("--repeats", type=int, help="rounds of every row (default 15)")
        parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
        parser.add_argument("--threads", type=int, default=1)
        parser.add_argument(
            "--wall", action="store_true", help="wall clock instead of process CPU time; always on a GPU"
        )
        parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out the memory")
        parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
        parser.add_argument("--task", help=argparse.SUPPRESS)
        for flag, settings in (options or {}).items():
            parser.add_argument(flag, **settings)
        self.args = args = parser.parse_args()
        args.repeats = args.repeats or (5 if args.quick else 15)
        args.wall = args.wall or args.device == "cuda" or args.threads > 1
        torch.set_num_threads(args.threads)
        if args.task and task is not None:
            print(task(*json.loads(args.task)))
            raise SystemExit

    def time(self, calls: Mapping[str, Call]) -> Times:
        return interleaved(calls, self.args.repeats, self.args.device, self.args.wall)

    def in_own_process(self, *task: object) -> float:
        """The number that the script gives for `task`, in a process of which nothing else has used memory."""
        command = [sys.executable, str(self.script), "--threads", str(self.args.threads), "--task", json.dumps(task)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr}")
        return float(result.stdout.split()[-1])

    def write(
        self, title: str, lines: Iterable[str], numbers: Mapping[str, Any], peers: Mapping[str, str] | None = None
    ) -> None:
        """Print the report, and keep it and the numbers behind it; `peers` are packages by the name to show."""
        environment = machine(self.args, peers or {})
        summary = ", ".join(f"{name} {value}" for name, value in environment.items() if value)
        text = "\n".join([f"# {title}", "", summary, "", *lines]) + "\n"
        path = self.args.out / f"{self.script.stem}-{self.args.device}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".md").write_text(text)
        path.with_suffix(".json").write_text(json.dumps({"machine": environment, **numbers}, indent=1) + "\n")
        print(f"\n{text}")


# Time


def seconds(call: Call, count: int, device: str) -> tuple[float, float]:
    """(process, wall) seconds of one call, over `count` calls. On a GPU, until it has finished."""
    gc.collect()
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    wall, process = time.perf_counter(), time.process_time()
    for _ in range(count):
        call()
    wait()
    return (time.process_time() - process) / count, (time.perf_counter() - wall) / count


def interleaved(calls: Mapping[str, Call], rounds: int, device: str, wall: bool) -> Times:
    """Milliseconds of every contender in every round, after a warm-up that also sets the number of calls."""
    counts = {}
    for name, call in calls.items():
        call()
        counts[name] = max(1, round(SHORTEST / max(seconds(call, 1, device)[1], 1e-6)))
    times: Times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(1000 * seconds(call, counts[name], device)[wall])
    return times


def ratio(times: Times, name: str, to: str = OURS) -> float:
    """How many times as long as `to` a contender takes: the median of the ratios within rounds."""
    return statistics.median(a / b for a, b in zip(times[name], times[to], strict=True))


class Target(NamedTuple):
    """A number to reach."""

    title: str
    value: float | None  # None: not measured
    limit: float

    @property
    def line(self) -> str:
        if self.value is None:
            return f"not measured: {self.title}"
        verdict = "reached" if self.value <= self.limit else "NOT REACHED"
        return f"{verdict}: {self.title}: {self.value:.2f} (at most {self.limit:g})"


def bullets(targets: Iterable[Target]) -> list[str]:
    return [f"* {target.line}" for target in targets]


# Memory


def peak(device: str) -> float:
    """The most memory in use so far, MiB: on Linux of this program alone (ru_maxrss begins at that of its parent)."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def peak_growth(warm_up: Call, call: Call, device: str) -> float:
    """MiB that `call` adds to the peak of this process, after something small of the same kind."""
    warm_up()
    before = peak(device)
    call()
    return peak(device) - before


# Inputs and contenders


def random_images(count: int, shape: Sequence[int], device: str = "cpu") -> tuple[Tensor, Tensor]:
    """(x, y) of ten classes, equal values in every process."""
    rng = torch.Generator().manual_seed(0)
    return torch.rand(count, *shape, generator=rng).to(device), torch.randint(10, (count,), generator=rng).to(device)


def version(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def installed(contenders: Iterable[str], peers: Mapping[str, str]) -> list[str]:
    """The contenders that need no package of `peers`, or one that is here."""
    return [name for name in contenders if name not in peers or version(peers[name])]


# Report


def spread(ms: Sequence[float]) -> str:
    return f"{statistics.median(ms):.3g} ({min(ms):.3g}-{max(ms):.3g})"


def time_cell(times: Times, name: str) -> str:
    """`median (least-most) ×ratio`, or why there is none."""
    if name not in times:
        return "not installed"
    return spread(times[name]) + ("" if name == OURS else f" ×{ratio(times, name):.2f}")


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def time_table(rows: Mapping[str, Times], names: Collection[str], baseline: str = OURS) -> str:
    """Times of the contenders `names`, one row for each of `rows`; the one that ratios are to is called `baseline`."""
    header = ["", *(baseline if name == OURS else name for name in names)]
    return markdown(header, [[row, *(time_cell(times, name) for name in names)] for row, times in rows.items()])


def time_and_memory_table(title: str, times: Times, memory: Mapping[str, float], names: Collection[str]) -> str:
    """One row for each of the contenders `names`."""
    mib = {name: f"{memory[name]:.1f}" if name in memory else "-" for name in names}
    return markdown(["", f"{title}, ms", "memory, MiB"], [[name, time_cell(times, name), mib[name]] for name in names])


def machine(args: argparse.Namespace, peers: Mapping[str, str]) -> dict[str, Any]:
    """The hardware, the date and all versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    processors = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "date": date.today().isoformat(),
        "cpu": processors[0] if processors else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": args.threads,
        "gpu": torch.cuda.get_device_name() if args.device == "cuda" else None,
        "clock": "wall" if args.wall else "process CPU time",
        "rounds": args.repeats,
        "torch": torch.__version__,
        "unshaken": version("unshaken"),
        **{name: version(package) or "not installed" for name, package in peers.items()},
    }
