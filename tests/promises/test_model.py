"""Random schedules of real sessions, and proof that they would find a bug."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest

from engine.log.state_store import AUTO, INLINE, SEPARATE
from tests.promises.schedules import Schedule, run_schedule
from tests.promises.seeded_bugs import BUGS, PassThroughStore, schedules_until_found

SCHEDULES = int(os.environ.get("DTM_SCHEDULES", "800"))
"""The number of schedules in all. The seeds are the same each time."""
PARTS = 10


@pytest.fixture(autouse=True)
def one_processor() -> Iterator[None]:
    """Use one processor: threads that take turns are five times faster on it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


KINDS: dict[str, tuple[Sequence[str], bool]] = {
    "swapping": ((SEPARATE,), False),
    "appending": ((SEPARATE,), True),
    "inside": ((INLINE,), False),
    "anywhere": ((SEPARATE, INLINE, AUTO), False),
    "anywhere-appending": ((SEPARATE, INLINE, AUTO), True),
}


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", KINDS)
def test_no_acknowledged_record_is_ever_lost(part: int, kind: str) -> None:
    acknowledged, (logs, appending) = 0, KINDS[kind]
    for seed in range(part, SCHEDULES // len(KINDS), PARTS):
        try:
            acknowledged += run_schedule(
                Schedule(seed, appending=appending, logs=logs)
            ).acknowledged
        except AssertionError as failure:
            raise AssertionError(f"seed {seed}: {failure}") from failure
    assert acknowledged > 0


def test_the_same_seed_gives_the_same_schedule() -> None:
    one, two = run_schedule(Schedule(7)), run_schedule(Schedule(7))
    assert list(one.durable) == list(two.durable) and one.claims == two.claims


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: type[PassThroughStore]) -> None:
    assert schedules_until_found(bug) is not None


def test_a_store_without_a_bug_passes() -> None:
    assert schedules_until_found(PassThroughStore, limit=20) is None
