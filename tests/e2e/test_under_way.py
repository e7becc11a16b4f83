"""A look at a state while a run is at work on it: nothing is interrupted, nothing is drift."""

import os
import signal
import time

import pytest

from tests.e2e.conftest import Runner, Write

SLOW = """
tools:
- {name: command, instanceID: c, options: {create: [sleep, "60"], read: "true"}}
"""


@pytest.fixture
def victim(dtm: Runner, config: Write) -> int:
    """A run in the middle of its only create."""
    config(SLOW)
    process = dtm.start("apply", "-y")
    until = time.monotonic() + 30
    while "command/c" not in dtm.run("state", "list").stdout:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    return process.pid


def test_what_a_run_is_doing_is_in_progress(dtm: Runner, victim: int) -> None:
    told = dtm("plan")
    assert "command/c: Create in progress by " in told
    assert "interrupted" not in told and "--resolve" not in told
    told = dtm("drift")
    assert "command/c: Create in progress by " in told and "Nothing changed outside dtm." in told
    assert "Create in progress by " in dtm("state", "list")
    told = dtm("show", "status", "--json")
    assert '"InProgress":"create by ' in told and "Drifted" not in told


def test_once_that_run_is_dead_it_is_interrupted(dtm: Runner, victim: int) -> None:
    os.kill(victim, signal.SIGKILL)
    dtm.started[0].wait()
    told = dtm("plan")
    assert "in progress" not in told and "an earlier run was interrupted" in told
    assert "progress" not in dtm("state", "list")
    assert "how it ended is not known" in dtm("drift")
