"""Run dtm in a process that kills itself at a chosen call, without cleanup and flush."""

from __future__ import annotations

import functools
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import dtm.cli.main
from backends.aws.dynamodb import DynamoLocker
from backends.aws.s3 import S3Store
from backends.kubernetes.store import KubernetesStore
from backends.local.store import LocalLocker, LocalStore
from providers.command import CommandProvider
from providers.file import FileProvider
from providers.scaffolding.provider import Scaffolding

WATCHED: list[tuple[type, str]] = [
    (LocalStore, "append"),
    *(
        (kind, name)
        for kind in (LocalStore, S3Store, KubernetesStore)
        for name in ("read", "write", "delete", "list")
    ),
    *((kind, name) for kind in (LocalLocker, DynamoLocker) for name in ("read", "put", "remove")),
    *(
        (kind, name)
        for kind in (CommandProvider, FileProvider, Scaffolding)
        for name in ("read", "create", "update", "delete")
    ),
]
"""The store calls, locker calls and provider calls that are kill points."""

LIMIT = 60
"""Seconds after which a run counts as hung, and ends by SIGALRM."""


@dataclass(frozen=True, slots=True)
class KillPoint:
    """The moment to kill the process.

    That is `before` or after the watched call number `index` (from 0), or `delay` seconds after the
    first change by a provider.
    """

    index: int = -1
    before: bool = True
    delay: float | None = None


class KillSwitch:
    """The counter of watched calls, which kills the process at the kill point."""

    def __init__(self, point: KillPoint, report: int) -> None:
        self.point, self.report = point, report
        self.lock, self.count, self.timer_started = threading.Lock(), 0, False

    def install(self) -> None:
        for kind, name in WATCHED:
            setattr(kind, name, self.wrapped(f"{kind.__name__}.{name}", getattr(kind, name)))

    def wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.lock:
                index, self.count = self.count, self.count + 1
            os.write(self.report, f"{name} {time.monotonic()}\n".encode())
            self.start_timer(name)
            if index == self.point.index and self.point.before:
                die()
            try:
                return original(*args, **kwargs)
            finally:
                if index == self.point.index and not self.point.before:
                    die()

        return call

    def start_timer(self, name: str) -> None:
        """Start the timer of a random moment at the first change by a provider."""
        if (
            self.point.delay is None
            or self.timer_started
            or not name.endswith((".create", ".update", "Provider.delete"))
        ):
            return
        self.timer_started = True
        timer = threading.Timer(self.point.delay, die)
        timer.daemon = True
        timer.start()


def die() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class ForkServer:
    """A process without threads that forks the processes to kill.

    Forking the test runner, which has threads, could deadlock. `modules` are imported before the
    fork, since they are slow to import.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.promises.crash.victim", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> None:
        """Wait until all modules are imported. Call it once."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def run(
        self,
        folder: Path,
        command: list[str],
        point: KillPoint | None = None,
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, list[tuple[str, float]]]:
        """Run a command in `folder`; return its exit code and the started calls with their times.

        The exit code is -9 if the process was killed.
        """
        asked = point or KillPoint()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = [str(folder), command, asked.index, asked.before, asked.delay, dict(env)]
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        code, calls = json.loads(self.process.stdout.readline())
        return code, [(name, at) for name, at in calls]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve() -> None:
    """Answer requests from stdin, one JSON line each, on stdout."""
    for module in sys.argv[1:]:
        importlib.import_module(module)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        folder, command, index, before, delay, env = json.loads(line)
        sys.stdout.write(
            json.dumps(_fork(Path(folder), command, KillPoint(index, before, delay), env)) + "\n"
        )
        sys.stdout.flush()


def _fork(
    folder: Path, command: list[str], point: KillPoint, env: dict[str, str]
) -> tuple[int, list[tuple[str, float]]]:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        os.environ.update(env)
        signal.alarm(LIMIT)
        _child(folder, command, point, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        lines = pipe.read().decode().splitlines()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), [
        (name, float(at)) for name, at in (line.split() for line in lines)
    ]


def _child(folder: Path, command: list[str], point: KillPoint, report: int) -> None:
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
        KillSwitch(point, report).install()
        code = dtm.cli.main.root.main(command, standalone_mode=False) or 0
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - the child must never return into the test runner
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()
