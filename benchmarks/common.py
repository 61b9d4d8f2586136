"""What the benchmarks share: time in turns, peak memory, the machine, tables and the files that they write."""

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
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

OURS = "ours"
SHORTEST = 0.02  # seconds: a quicker call is repeated within a round until it takes this long

Call = Callable[[], object]
Times = dict[str, list[float]]  # contender -> milliseconds of each round


# Time


def seconds(call: Call, times: int, device: str) -> tuple[float, float]:
    """(process, wall) seconds of one call, over `times` calls. On a GPU, until it has finished."""
    gc.collect()
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    wall, process = time.perf_counter(), time.process_time()
    for _ in range(times):
        call()
    wait()
    return (time.process_time() - process) / times, (time.perf_counter() - wall) / times


def interleaved(calls: Mapping[str, Call], rounds: int, device: str, wall: bool) -> Times:
    """Milliseconds of every contender in every round, after a warm-up that also sets the number of calls."""
    times = {}
    for name, call in calls.items():
        call()
        times[name] = max(1, round(SHORTEST / max(seconds(call, 1, device)[1], 1e-6)))
    found: Times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(1000 * seconds(call, times[name], device)[wall])
    return found


def ratio(times: Times, name: str, to: str = OURS) -> float:
    """How many times as long as `to` a contender takes: the median of the ratios within rounds."""
    return statistics.median(a / b for a, b in zip(times[name], times[to], strict=True))


# Memory


def peak(device: str) -> float:
    """The most memory in use so far, MiB: on Linux of this program alone (ru_maxrss begins at that of its parent)."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def in_its_own_process(script: str, task: Sequence[object]) -> float:
    """The number that `script --cell task` prints last."""
    command = [sys.executable, script, "--cell", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return float(done.stdout.split()[-1])


# Report


def spread(ms: Sequence[float]) -> str:
    return f"{statistics.median(ms):.3g} ({min(ms):.3g}-{max(ms):.3g})"


def cell(times: Times, name: str) -> str:
    """`median (least-most) ×ratio`, or why there is none."""
    if name not in times:
        return "not installed"
    return spread(times[name]) + ("" if name == OURS else f" ×{ratio(times, name):.2f}")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def version(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def machine(args: argparse.Namespace, peers: Mapping[str, str]) -> dict[str, Any]:
    """Where, when and with which versions; `peers` are packages by the name to show."""
    cpuinfo = Path("/proc/cpuinfo")
    models = (
        [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if cpuinfo.exists()
        else []
    )
    return {
        "date": date.today().isoformat(),
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": args.threads,
        "gpu": torch.cuda.get_device_name() if args.device == "cuda" else None,
        "clock": "wall" if args.wall else "process CPU time",
        "rounds": args.repeats,
        "torch": torch.__version__,
        "unshaken": version("unshaken"),
        **{name: version(package) or "not installed" for name, package in peers.items()},
    }


def heading(title: str, told: Mapping[str, Any]) -> list[str]:
    return [f"# {title}", "", ", ".join(f"{k} {v}" for k, v in told.items() if v), ""]


def write(args: argparse.Namespace, name: str, found: Mapping[str, Any], text: str) -> None:
    """Print the report, and keep it and the numbers behind it."""
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{name}-{args.device}.md").write_text(text)
    (args.out / f"{name}-{args.device}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(f"\n{text}")


# Arguments


def parser(doc: str | None, quick: str) -> argparse.ArgumentParser:
    """The arguments of every benchmark."""
    options = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    options.add_argument("--quick", action="store_true", help=quick)
    options.add_argument("--repeats", type=int, help="rounds of every row (default 15)")
    options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--wall", action="store_true", help="wall clock instead of process CPU time; always on a GPU")
    options.add_argument("--no-memory", dest="memory", action="store_false", help="leave out the memory")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options.add_argument("--cell", help=argparse.SUPPRESS)
    return options


def parse(options: argparse.ArgumentParser) -> argparse.Namespace:
    args = options.parse_args()
    args.repeats = args.repeats or (5 if args.quick else 15)
    args.wall = args.wall or args.device == "cuda" or args.threads > 1
    return args
