"""Run a command and measure its costs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall and CPU seconds, peak resident MB; `ended` is False if the limit was exceeded."""

    wall: float
    cpu: float
    memory: float
    ended: bool = True

    def __str__(self) -> str:
        if not self.ended:
            return f"> {self.wall:.0f} s"
        return f"{self.wall:.2f} / {self.cpu:.2f} / {self.memory:.0f}"


def run(command: list[str], cwd: Path, env: dict[str, str], limit: float) -> Cost:
    """Run a command, for at most `limit` seconds.

    Raises RuntimeError with the end of its output if it fails.
    """
    log = cwd / ".bench-output"
    start = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            wall = time.monotonic() - start
            if pid:
                break
            if wall > limit:
                process.send_signal(signal.SIGKILL)
                os.wait4(process.pid, 0)
                process.returncode = -9
                return Cost(limit, 0, 0, ended=False)
            time.sleep(0.002)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(
            f"{' '.join(command)} exited {process.returncode}:\n{log.read_text('utf-8')[-2000:]}"
        )
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def median(command: list[str], cwd: Path, env: dict[str, str], limit: float, times: int) -> Cost:
    """Run a command several times, and return the costs with the median wall time."""
    costs = sorted(
        (run(command, cwd, env, limit) for _ in range(times)), key=lambda cost: cost.wall
    )
    return costs[len(costs) // 2]
