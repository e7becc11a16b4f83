"""Copies of one world: a run dies in it, the next run heals it, and then the promises hold."""

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
from tests.promises.crash.places import FIRST, Place
from tests.promises.crash.victim import Point, Zygote
from tests.promises.crash.world import AFTER, BEFORE, effects, world, write

APPLY = ["apply", "--auto-approve", "--force", "--parallelism", "4"]
PATIENT = [*APPLY, "--lock-timeout", "20s"]
"""Waits for the lock: the next run starts so soon that the lock of the dead one looks fresh."""


class Trials:
    """Worlds in which twelve tools are about to be created, updated, replaced, deleted or kept.

    `calls` are those of an undisturbed run, with their times.
    """

    def __init__(self, root: Path, place: Place, zygotes: list[Zygote]) -> None:
        self._root, self._place, self._idle = root, place, SimpleQueue[Zygote]()
        for zygote in zygotes:
            self._idle.put(zygote)
        self._workers, self._numbers = len(zygotes), count(1)
        self._prepare(root / FIRST)
        folder = self.fresh()
        before = len(effects(folder))
        code, self.calls = self.run(folder, APPLY)
        assert code == 0, said(folder)
        self._world, self._remembered = world(folder), self.remembered(folder)
        self._made = Counter(line.split()[0] for line in effects(folder)[before:])
        assert self._made["command.fresh"] == 1

    def _prepare(self, folder: Path) -> None:
        (folder / "home").mkdir(parents=True)
        write(folder, BEFORE, self._place.settings(folder.name))
        code, _ = self.run(folder, APPLY)
        assert code == 0, said(folder)
        write(folder, AFTER, self._place.settings(folder.name))

    def run(
        self, folder: Path, command: list[str], point: Point | None = None
    ) -> tuple[int, list[tuple[str, float]]]:
        """Exit code (-9 if it died) and calls of one run."""
        zygote = self._idle.get()
        try:
            return zygote.run(folder, command, point)
        finally:
            self._idle.put(zygote)

    def fresh(self) -> Path:
        """The world before."""
        folder = self._root / f"t{next(self._numbers):03}"
        shutil.copytree(self._root / FIRST, folder, symlinks=True)
        write(folder, AFTER, self._place.settings(folder.name))
        self._place.copy(folder)
        return folder

    def remembered(self, folder: Path) -> bytes:
        """Return `tools` and `outputs` as bytes, as a reader sees them.

        The bytes of the files may differ: an empty plan leaves the log of a dead session.
        """
        store, locker, key = self._place.open(folder)
        document = json.loads(encode(read_state(StateStore(store, key), locker).state))
        return (
            json.dumps([document["tools"], document["outputs"]], sort_keys=True)
            .replace(folder.name, FIRST)
            .encode()
        )

    def points(self) -> list[Point]:
        """Before and after each call."""
        return [
            Point(index, before) for index in range(len(self.calls)) for before in (True, False)
        ]

    def all(self, points: Iterable[Point]) -> int:
        """Try each point in a world of its own, several side by side; how many of the runs died."""
        with ThreadPoolExecutor(self._workers) as pool:
            return sum(pool.map(self._trial, points))

    def _trial(self, point: Point) -> bool:
        folder = self.fresh()
        made = len(effects(folder))
        died, _ = self.run(folder, APPLY, point)
        assert died in (0, -9), said(folder)
        code, _ = self.run(folder, PATIENT)
        assert code == 0, f"{point}: {said(folder)}"
        assert world(folder) == self._world, point
        assert self.remembered(folder) == self._remembered, point
        effect = Counter(line.split()[0] for line in effects(folder)[made:])
        assert effect["command.fresh"] == 1, f"{point}: made twice: {effect}"
        assert self.run(folder, ["plan", "--detailed-exitcode"])[0] == 0, point
        shutil.rmtree(folder)  # a world that failed stays to be looked at
        return died == -9


def said(folder: Path) -> str:
    """Return the output of the last run there."""
    return (folder / "home" / "output.txt").read_text("utf-8")


def report(calls: list[tuple[str, float]]) -> str:
    """The kill points, counted by name."""
    names = Counter(name for name, _ in calls)
    lines = [f"{number:4} x {name}" for name, number in sorted(names.items())]
    return "\n".join(
        [*lines, f"{2 * len(calls)} kill points: before and after each of {len(calls)} calls"]
    )


@contextmanager
def zygotes(place: Place, number: int) -> Iterator[list[Zygote]]:
    """Processes to run in, ended on leaving."""
    started = [Zygote(place.modules) for _ in range(number)]
    try:
        for zygote in started:
            zygote.ready()
        yield started
    finally:
        for zygote in started:
            zygote.close()


def moments(
    calls: list[tuple[str, float]], draw: Callable[[float, float], float], number: int
) -> list[Point]:
    """Random times between the first and the last change of the world."""
    changes = [at for name, at in calls if name.endswith((".create", ".update", ".delete"))]
    return [Point(delay=draw(0, max(changes) - min(changes))) for _ in range(number)]
