"""Whatever dies whenever: the next run ends in the same state and the same world, and nothing is made twice."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.crash.places import Beside
from tests.crash.trials import Trials, moments, zygotes
from tests.crash.victim import Point

STEP = int(os.environ.get("DTM_CRASH_STEP", "5"))
"""Every how many-th kill point is tried; `make test-long` tries each, and a hundred random moments."""
MOMENTS = int(os.environ.get("DTM_CRASH_MOMENTS", "15"))


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    with zygotes(2) as started:
        yield Trials(tmp_path_factory.mktemp("trials"), Beside(), started)


def test_there_are_at_least_a_hundred_kill_points(trials: Trials) -> None:
    names = Counter(name for name, _ in trials.calls)
    print("\n".join(f"{count:4} x {name}" for name, count in sorted(names.items())))  # noqa: T201 - part of the report
    print(f"{2 * len(trials.calls)} kill points: before and after each of {len(trials.calls)} calls")  # noqa: T201
    assert 2 * len(trials.calls) >= 100


@pytest.mark.timeout(900)
def test_a_death_at_any_call_is_healed_by_the_next_run(trials: Trials) -> None:
    points = [Point(index, before) for index in range(len(trials.calls)) for before in (True, False)]
    trials.all(points[::STEP])


@pytest.mark.timeout(900)
def test_a_death_at_any_moment_is_healed_by_the_next_run(trials: Trials) -> None:
    died = trials.all(moments(trials.calls, random.Random(7).uniform, MOMENTS))
    assert died > MOMENTS / 2, f"only {died} of {MOMENTS} runs died: the moments miss the run"
