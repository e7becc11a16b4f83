"""One program run to its end: its output passed on as it comes, its whole process group ended in time."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import msgspec

from providers._tether import Tether

TICK = 0.1
"""Seconds between two looks at whether to stop."""
GRACE = 2.0
"""Seconds between asking a process group to end and killing it."""
LINGER = 0.5
"""Seconds for output still on its way when the program has ended: a daemon it started may hold the pipe for ever."""

Sink: TypeAlias = Callable[[bytes], object]


class Lines(msgspec.Struct):
    """Cuts a stream of bytes into lines of text."""

    emit: Callable[[str], object]
    rest: bytes = b""

    def feed(self, data: bytes) -> None:
        """Emit each line that is complete now."""
        *whole, self.rest = (self.rest + data).split(b"\n")
        for line in whole:
            self.emit(line.decode(errors="replace").rstrip("\r"))

    def close(self) -> None:
        """Emit the unfinished last line."""
        if self.rest:
            self.feed(b"\n")


def run(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: bytes, out: Sink, err: Sink, stop: Callable[[], bool]
) -> int | None:
    """Run a program; its output goes to `out` and `err` in pieces. Returns the exit code, negative for a signal.

    None: `stop` said so first, and the process group was ended. The program dies with dtm, as `Tether` says. Raises OSError
    if the program cannot be started.
    """
    with Tether() as tether:
        process = _start(argv, cwd, env, stdin, tether)
        return _attend(process, out, err, stop, tether)


def _start(argv: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: bytes, tether: Tether) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() as given:  # not a pipe: a program that never reads must not block us
        given.write(stdin)
        given.seek(0)
        return subprocess.Popen(
            argv, cwd=cwd, env=env, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, preexec_fn=tether.tie,
        )  # fmt: skip


def _attend(process: subprocess.Popen[bytes], out: Sink, err: Sink, stop: Callable[[], bool], tether: Tether) -> int | None:
    assert process.stdout is not None and process.stderr is not None
    with process.stdout, process.stderr, selectors.DefaultSelector() as pipes:
        pipes.register(process.stdout, selectors.EVENT_READ, out)
        pipes.register(process.stderr, selectors.EVENT_READ, err)
        try:
            return _follow(process, pipes, stop, tether)
        except BaseException:
            _end(process)
            raise


def _follow(
    process: subprocess.Popen[bytes], pipes: selectors.BaseSelector, stop: Callable[[], bool], tether: Tether
) -> int | None:
    while (code := process.poll()) is None:
        if stop():
            _end(process)
            return None
        if pipes.get_map():
            _pump(pipes, TICK)
        else:
            with suppress(subprocess.TimeoutExpired):
                process.wait(TICK)
    tether.release()  # a daemon that it left behind is there on purpose
    until = time.monotonic() + LINGER
    while pipes.get_map() and (left := until - time.monotonic()) > 0:
        _pump(pipes, left)
    return code


def _pump(pipes: selectors.BaseSelector, timeout: float) -> None:
    """Pass on what comes within that time; a pipe at its end is taken out."""
    for key, _ in pipes.select(timeout):
        data = os.read(key.fd, 1 << 16)
        if data:
            key.data(data)
        else:
            pipes.unregister(key.fileobj)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the group to end, then kill what is left of it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
