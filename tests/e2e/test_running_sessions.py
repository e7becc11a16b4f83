"""Reading a state while a run works on it: nothing is reported as interrupted or drifted."""

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
    """Start a run and return its process ID in the middle of its only create."""
    config(SLOW)
    process = dtm.start("apply", "-y")
    until = time.monotonic() + 30
    while "command/c" not in dtm.run("state", "list").stdout:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    return process.pid


def test_operation_of_a_running_session_is_in_progress(dtm: Runner, victim: int) -> None:
    output = dtm("plan")
    assert "command/c: Create in progress by " in output
    assert "interrupted" not in output and "--resolve" not in output
    output = dtm("drift")
    assert (
        "command/c: Create in progress by " in output and "Nothing changed outside dtm." in output
    )
    assert "Create in progress by " in dtm("state", "list")
    output = dtm("show", "status", "--json")
    assert '"InProgress":"create by ' in output and "Drifted" not in output


def test_operation_of_a_killed_session_is_interrupted(dtm: Runner, victim: int) -> None:
    os.kill(victim, signal.SIGKILL)
    dtm.started[0].wait()
    output = dtm("plan")
    assert "in progress" not in output and "an earlier run was interrupted" in output
    assert "progress" not in dtm("state", "list")
    assert "its outcome is unknown" in dtm("drift")
