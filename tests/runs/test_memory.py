"""Freed memory stays with the process, in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

LOOP = """
import resource, sys
from unshaken.runs.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(20):
    bytearray(50_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_pages_are_cleared_once() -> None:
    usual, kept = (
        int(subprocess.run([sys.executable, "-c", LOOP, how], capture_output=True, text=True, check=True).stdout)
        for how in ("usual", "keep")
    )
    assert kept < usual / 4
