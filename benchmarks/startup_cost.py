"""What the command line costs before it does anything, beside a Python that does nothing.

    python benchmarks/startup_cost.py                # ten seconds
    python benchmarks/startup_cost.py --quick        # few rounds

Each contender is a new process, so the clock is the wall's. `import torch` is what `--help` must not wait for.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from common import OURS, Benchmark, Target, bullets, ratio, time_table

PROGRAMS = {
    OURS: ["-c", "pass"],
    "import unshaken": ["-c", "import unshaken"],
    "unshaken --help": ["-m", "unshaken", "--help"],
    "import torch": ["-c", "import torch"],
}
MOST = 20.0  # times an empty Python


def main() -> None:
    benchmark = Benchmark(__file__, __doc__, quick="5 rounds")
    benchmark.args.wall = True
    calls = {
        name: partial(subprocess.run, [sys.executable, *program], check=True, capture_output=True)
        for name, program in PROGRAMS.items()
    }
    times = benchmark.time(calls)
    lines = [
        "Milliseconds: median (least-most) over rounds, and ×: how many times as long as `python -c pass`.",
        "",
        time_table({"a new process": times}, PROGRAMS, "python -c pass"),
        "",
        *bullets([Target("unshaken --help / python -c pass", ratio(times, "unshaken --help"), MOST)]),
    ]
    benchmark.write("What it costs to start", lines, {"ms": times})


if __name__ == "__main__":
    main()
