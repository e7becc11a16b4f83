"""Trials: a run is killed in a copy of a folder, the next run repairs it, and all is compared."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from queue import SimpleQueue

from engine.log.state_store import StateStore
from engine.session.reading import read_state
from engine.stored.state_file import encode
from tests.promises.crash.locations import TEMPLATE, StateLocation
from tests.promises.crash.tools import AFTER, BEFORE, effects, live_resources, write_config
from tests.promises.crash.victim import ForkServer, KillPoint

APPLY = ["apply", "--auto-approve", "--force", "--parallelism", "4"]
PATIENT = [*APPLY, "--lock-timeout", "20s"]
"""The next run waits for the lock, since the lock of the killed run still looks fresh."""


class Trials:
    """Trial folders in which twelve tools are to be created, updated, replaced, deleted or kept.

    `calls` are those of a run without a crash, with their times.
    """

    def __init__(self, root: Path, location: StateLocation, fork_servers: list[ForkServer]) -> None:
        self._root, self._location, self._idle = root, location, SimpleQueue[ForkServer]()
        for server in fork_servers:
            self._idle.put(server)
        self._workers, self._numbers = len(fork_servers), count(1)
        self._prepare(root / TEMPLATE)
        folder = self.new_folder()
        before = len(effects(folder))
        code, self.calls = self.run(folder, APPLY)
        assert code == 0, last_output(folder)
        self._expected_live, self._expected_state = (
            live_resources(folder),
            self.recorded_state(folder),
        )
        self._expected_effects = Counter(line.split()[0] for line in effects(folder)[before:])
        assert self._expected_effects["command.fresh"] == 1

    def _prepare(self, folder: Path) -> None:
        (folder / "home").mkdir(parents=True)
        write_config(folder, BEFORE, self._location.settings(folder.name))
        code, _ = self.run(folder, APPLY)
        assert code == 0, last_output(folder)
        write_config(folder, AFTER, self._location.settings(folder.name))

    def run(
        self, folder: Path, command: list[str], point: KillPoint | None = None
    ) -> tuple[int, list[tuple[str, float]]]:
        """Run dtm; return its exit code (-9 if it was killed) and its calls."""
        server = self._idle.get()
        try:
            return server.run(folder, command, point)
        finally:
            self._idle.put(server)

    def new_folder(self) -> Path:
        """Return a new copy of the template folder."""
        folder = self._root / f"t{next(self._numbers):03}"
        shutil.copytree(self._root / TEMPLATE, folder, symlinks=True)
        write_config(folder, AFTER, self._location.settings(folder.name))
        self._location.copy(folder)
        return folder

    def recorded_state(self, folder: Path) -> bytes:
        """Return `tools` and `outputs` of the state as bytes."""
        # Not the bytes of the state file: an empty plan leaves the log of a killed session.
        store, locker, key = self._location.open(folder)
        document = json.loads(encode(read_state(StateStore(store, key), locker).state))
        return (
            json.dumps([document["tools"], document["outputs"]], sort_keys=True)
            .replace(folder.name, TEMPLATE)
            .encode()
        )

    def kill_points(self) -> list[KillPoint]:
        """Return the kill points before and after each call."""
        return [
            KillPoint(index, before) for index in range(len(self.calls)) for before in (True, False)
        ]

    def run_all(self, kill_points: Iterable[KillPoint]) -> int:
        """Try each kill point in a folder of its own; return how many runs were killed."""
        with ThreadPoolExecutor(self._workers) as pool:
            return sum(pool.map(self._trial, kill_points))

    def _trial(self, point: KillPoint) -> bool:
        folder = self.new_folder()
        made = len(effects(folder))
        died, _ = self.run(folder, APPLY, point)
        assert died in (0, -9), last_output(folder)
        code, _ = self.run(folder, PATIENT)
        assert code == 0, f"{point}: {last_output(folder)}"
        assert live_resources(folder) == self._expected_live, point
        assert self.recorded_state(folder) == self._expected_state, point
        effect = Counter(line.split()[0] for line in effects(folder)[made:])
        assert effect["command.fresh"] == 1, f"{point}: made twice: {effect}"
        assert self.run(folder, ["plan", "--detailed-exitcode"])[0] == 0, point
        shutil.rmtree(folder)  # the folder of a failed trial stays for inspection
        return died == -9


def last_output(folder: Path) -> str:
    """Return the output of the last run there."""
    return (folder / "home" / "output.txt").read_text("utf-8")


def describe_kill_points(calls: list[tuple[str, float]]) -> str:
    """Return a text with the number of kill points of each call."""
    names = Counter(name for name, _ in calls)
    lines = [f"{number:4} x {name}" for name, number in sorted(names.items())]
    return "\n".join(
        [*lines, f"{2 * len(calls)} kill points: before and after each of {len(calls)} calls"]
    )


@contextmanager
def fork_servers(location: StateLocation, number: int) -> Iterator[list[ForkServer]]:
    """Start fork servers, yield them, and end them."""
    started = [ForkServer(location.modules) for _ in range(number)]
    try:
        for server in started:
            server.ready()
        yield started
    finally:
        for server in started:
            server.close()


def random_kill_points(
    calls: list[tuple[str, float]], draw: Callable[[float, float], float], number: int
) -> list[KillPoint]:
    """Return random moments between the first and the last change by a provider."""
    changes = [at for name, at in calls if name.endswith((".create", ".update", ".delete"))]
    return [KillPoint(delay=draw(0, max(changes) - min(changes))) for _ in range(number)]
