"""Death at any moment: the next run ends in the same state and world, and makes nothing twice."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.promises.crash.places import Beside
from tests.promises.crash.trials import Trials, moments, report, zygotes

STEP = int(os.environ.get("DTM_CRASH_STEP", "10"))
"""One of so many kill points is tried; `make test-long` tries each, and 100 random moments."""
MOMENTS = int(os.environ.get("DTM_CRASH_MOMENTS", "8"))


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    place = Beside()
    with zygotes(place, 2) as started:
        yield Trials(tmp_path_factory.mktemp("trials"), place, started)


def test_there_are_at_least_a_hundred_kill_points(trials: Trials) -> None:
    print(report(trials.calls))  # noqa: T201
    assert len(trials.points()) >= 100


@pytest.mark.timeout(900)
def test_a_crash_at_any_call_is_repaired_by_the_next_run(trials: Trials) -> None:
    trials.all(trials.points()[::STEP])


@pytest.mark.timeout(900)
def test_a_crash_at_any_moment_is_repaired_by_the_next_run(trials: Trials) -> None:
    died = trials.all(moments(trials.calls, random.Random(7).uniform, MOMENTS))
    assert died > MOMENTS / 2, f"only {died} of {MOMENTS} runs died: the moments miss the run"
