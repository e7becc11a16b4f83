"""Programs that a test run starts and always stops, on free ports and with a log each."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"
PATIENCE = 30.0
TETHER = 'exec 3<&0 </dev/null; (cat <&3 >/dev/null; kill -9 $$) & exec "$@" 3<&-'
"""A shell script that runs a program and kills it when the test run ends.

The pipe on descriptor 3 closes when the test run ends, even by SIGKILL.
"""


class StartError(Exception):
    """A server did not start; the message has its name, its log, and the last lines of the log."""


def free_ports(count: int) -> list[int]:
    """Return different free ports of this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


class Program:
    """One started program; its output goes to `log`."""

    def __init__(
        self,
        log: Path,
        *command: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                ["sh", "-c", TETHER, "sh", *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, **(env or {})},
                cwd=cwd,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def until(self, ready: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait for `ready`. Raises StartError if the program ends, or after `patience` seconds."""
        deadline = time.monotonic() + patience
        while not ready():
            if not self.alive():
                raise StartError(
                    f"{self.log.stem} ended at once with status "
                    f"{self._process.returncode}: {self.tail()}"
                )
            if time.monotonic() > deadline:
                raise StartError(
                    f"{self.log.stem} does not answer after {patience:g} s: {self.tail()}"
                )
            time.sleep(0.02)

    def tail(self) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return f"log {self.log}: " + " / ".join(lines[-3:])

    def kill(self) -> None:
        """Kill the program and its children. Its data is not needed, so no clean stop."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


@contextlib.contextmanager
def started(
    log: Path, *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Program]:
    program = Program(log, *command, env=env, cwd=cwd)
    try:
        yield program
    finally:
        program.kill()


def run(command: Sequence[str | Path], log: Path, timeout: float = 60.0) -> str:
    """Run a program to its end and return what it prints; `log` gets it too. Raises StartError."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StartError(f"{command[0]} does not end within {timeout:g} s") from error
    with log.open("a") as out:
        out.write(f"$ {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    if done.returncode:
        raise StartError(
            f"{command[0]} failed with status {done.returncode}, log {log}: "
            f"{done.stderr.strip()[-300:]}"
        )
    return done.stdout


def answers(
    url: str, headers: Mapping[str, str] | None = None, *, errors_too: bool = False
) -> bool:
    """Return whether a GET succeeds, with `errors_too` whether there is any answer.

    The certificate of the server is not checked.
    """
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=5, context=ssl._create_unverified_context()):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return errors_too
    except OSError:
        return False
