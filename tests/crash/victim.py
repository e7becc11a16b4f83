"""Run dtm in a forked child that kills itself at a chosen call: no clean-up, no flush, as when the power fails."""

from __future__ import annotations

import functools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dtm.cli
from backends.local import LocalLocker, LocalStore
from providers.command import CommandTool
from providers.file import File
from providers.git.scaffolding import Scaffolding

WATCHED: list[tuple[type, str]] = [
    *((LocalStore, name) for name in ("read", "write", "append", "delete", "list")),
    *((LocalLocker, name) for name in ("read", "put", "remove")),
    *((kind, name) for kind in (CommandTool, File, Scaffolding) for name in ("read", "create", "update", "delete")),
]
"""The named store calls and provider calls."""


@dataclass(frozen=True, slots=True)
class Point:
    """Die `before` or after the `index`th watched call (from 0); or `delay` seconds after the first provider change."""

    index: int = -1
    before: bool = True
    delay: float | None = None


class Watch:
    """Counts the watched calls of one process and dies where it was told to."""

    def __init__(self, point: Point, report: int) -> None:
        self.point, self.report = point, report
        self.lock, self.count, self.armed = threading.Lock(), 0, False

    def install(self) -> None:
        for kind, name in WATCHED:
            setattr(kind, name, self.wrapped(f"{kind.__name__}.{name}", getattr(kind, name)))

    def wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.lock:
                index, self.count = self.count, self.count + 1
            os.write(self.report, f"{name} {time.monotonic()}\n".encode())
            self.arm(name)
            if index == self.point.index and self.point.before:
                die()
            try:
                return original(*args, **kwargs)
            finally:
                if index == self.point.index and not self.point.before:
                    die()

        return call

    def arm(self, name: str) -> None:
        """Start the clock of a random moment at the first change of the world."""
        if self.point.delay is None or self.armed or not name.endswith((".create", ".update", "Tool.delete", "File.delete")):
            return
        self.armed = True
        timer = threading.Timer(self.point.delay, die)
        timer.daemon = True
        timer.start()


def die() -> None:
    """Leave without a word."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def run(folder: Path, command: list[str], point: Point | None = None) -> tuple[int, list[tuple[str, float]]]:
    """Fork, run the command line in `folder`; exit code (-9 if it died) and the calls that were begun, with their times."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        os.close(reader)
        _child(folder, command, point, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        lines = pipe.read().decode().splitlines()
    _, status = os.waitpid(child, 0)
    calls = [(name, float(at)) for name, at in (line.split() for line in lines)]
    return os.waitstatus_to_exitcode(status), calls


def _child(folder: Path, command: list[str], point: Point | None, report: int) -> None:
    code = 70
    try:
        os.chdir(folder)
        random.seed(os.getpid())
        output = os.open(folder / "home" / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        os.environ["HOME"] = str(folder / "home")
        Watch(point or Point(), report).install()
        code = dtm.cli.root.main(command, standalone_mode=False) or 0
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - the child must never return into the test runner
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)
