"""Whatever dies whenever: the next run ends in the same state and the same world, and nothing is made twice."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.victim import Point, Zygote
from tests.crash.world import AFTER, BEFORE, effects, remembered, world, write

APPLY = ["apply", "--auto-approve", "--force", "--parallelism", "4"]
STEP = int(os.environ.get("DTM_CRASH_STEP", "5"))
"""Every how many-th kill point is tried; `make test-long` tries each, and a hundred random moments."""
MOMENTS = int(os.environ.get("DTM_CRASH_MOMENTS", "15"))


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    yield started
    started.close()


@pytest.fixture(scope="module")
def fresh(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes the world before, again and again at the same path, which is the home of its state.

    Twelve addresses are about to be created, updated, replaced, deleted or kept.
    """
    place, saved = tmp_path_factory.mktemp("try") / "world", tmp_path_factory.mktemp("start") / "world"
    (place / "home").mkdir(parents=True)
    write(place, BEFORE)
    code, _ = zygote.run(place, APPLY)
    assert code == 0, (place / "home" / "output.txt").read_text("utf-8")
    write(place, AFTER)
    place.rename(saved)

    def copy() -> Path:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(saved, place, symlinks=True)
        return place

    return copy


class Expected:
    """What an undisturbed run leaves behind, and the calls that it makes."""

    def __init__(self, zygote: Zygote, folder: Path) -> None:
        before = len(effects(folder))
        code, self.calls = zygote.run(folder, APPLY)
        assert code == 0, (folder / "home" / "output.txt").read_text("utf-8")
        self.world, self.remembered = world(folder), remembered(folder)
        self.made = Counter(line.split()[0] for line in effects(folder)[before:])


@pytest.fixture(scope="module")
def expected(zygote: Zygote, fresh: Callable[[], Path]) -> Expected:
    return Expected(zygote, fresh())


def check(zygote: Zygote, folder: Path, expected: Expected, point: Point, before: int) -> None:
    """Run again, undisturbed, and compare."""
    code, _ = zygote.run(folder, APPLY)
    output = (folder / "home" / "output.txt").read_text("utf-8")
    assert code == 0, f"{point}: {output}"
    assert world(folder) == expected.world, point
    assert remembered(folder) == expected.remembered, point
    made = Counter(line.split()[0] for line in effects(folder)[before:])
    assert made["command.fresh"] == 1, f"{point}: made twice: {made}"
    assert zygote.run(folder, ["plan", "--detailed-exitcode"])[0] == 0, point


def test_there_are_at_least_a_hundred_kill_points(expected: Expected) -> None:
    names = Counter(name for name, _ in expected.calls)
    print("\n".join(f"{count:4} x {name}" for name, count in sorted(names.items())))  # noqa: T201 - part of the report
    print(f"{2 * len(expected.calls)} kill points: before and after each of {len(expected.calls)} calls")  # noqa: T201
    assert 2 * len(expected.calls) >= 100


@pytest.mark.timeout(900)
def test_a_death_at_any_call_is_healed_by_the_next_run(zygote: Zygote, fresh: Callable[[], Path], expected: Expected) -> None:
    points = [Point(index, before) for index in range(len(expected.calls)) for before in (True, False)]
    for point in points[::STEP]:
        folder = fresh()
        made = len(effects(folder))
        code, _ = zygote.run(folder, APPLY, point)
        assert code in (0, -9), (folder / "home" / "output.txt").read_text("utf-8")
        check(zygote, folder, expected, point, made)


@pytest.mark.timeout(900)
def test_a_death_at_any_moment_is_healed_by_the_next_run(zygote: Zygote, fresh: Callable[[], Path], expected: Expected) -> None:
    changes = [at for name, at in expected.calls if name.endswith((".create", ".update", ".delete"))]
    span = max(changes) - min(changes)
    rng = random.Random(7)
    died = 0
    for _ in range(MOMENTS):
        point = Point(delay=rng.uniform(0, span))
        folder = fresh()
        made = len(effects(folder))
        code, _ = zygote.run(folder, APPLY, point)
        assert code in (0, -9), (folder / "home" / "output.txt").read_text("utf-8")
        died += code == -9
        check(zygote, folder, expected, point, made)
    assert died > MOMENTS / 2, f"only {died} of {MOMENTS} runs died: the moments miss the run"
