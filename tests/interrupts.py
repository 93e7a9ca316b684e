"""Ctrl-C sent to a program, and what the program still did after it, in processor time: a busy machine does not change that."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 300  # seconds for a busy machine; nothing takes a tenth of it on an idle one


def processor_seconds(pid: int) -> float:
    """Return user and system time of a running process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    """Wait until something is reached; fail if the program ends before."""
    end = time.monotonic() + PATIENCE
    while not reached():
        assert process.poll() is None, "the program ended before it was interrupted"
        assert time.monotonic() < end, "the program never came so far"
        time.sleep(0.02)


def work(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Let the program work for this much processor time."""
    start = processor_seconds(process.pid)
    wait_until(process, lambda: processor_seconds(process.pid) - start >= seconds)


def interrupt(process: subprocess.Popen[bytes]) -> tuple[bytes, float]:
    """Send Ctrl-C; return what the program said on stderr and the processor time it took to end."""
    ended, before = os.times(), processor_seconds(process.pid)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    now = os.times()
    total = now.children_user + now.children_system - ended.children_user - ended.children_system
    return err, total - before
