"""A crash at any moment: the next run ends with the same state and the same live resources."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.promises.crash.locations import LocalState
from tests.promises.crash.trials import (
    Trials,
    describe_kill_points,
    fork_servers,
    random_kill_points,
)

STEP = int(os.environ.get("DTM_CRASH_STEP", "10"))
"""Every STEP-th kill point is tried; `make test-long` tries all, and 100 random moments."""
MOMENTS = int(os.environ.get("DTM_CRASH_MOMENTS", "8"))


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    location = LocalState()
    with fork_servers(location, 2) as started:
        yield Trials(tmp_path_factory.mktemp("trials"), location, started)


def test_there_are_at_least_a_hundred_kill_points(trials: Trials) -> None:
    print(describe_kill_points(trials.calls))  # noqa: T201
    assert len(trials.kill_points()) >= 100


@pytest.mark.timeout(900)
def test_a_crash_at_any_call_is_repaired_by_the_next_run(trials: Trials) -> None:
    trials.run_all(trials.kill_points()[::STEP])


@pytest.mark.timeout(900)
def test_a_crash_at_any_moment_is_repaired_by_the_next_run(trials: Trials) -> None:
    died = trials.run_all(random_kill_points(trials.calls, random.Random(7).uniform, MOMENTS))
    assert died > MOMENTS / 2, f"only {died} of {MOMENTS} runs died: the moments miss the run"
