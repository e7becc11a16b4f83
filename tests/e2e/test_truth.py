"""What a plan says of the past is what happened."""

import json
from typing import Any

from tests.e2e.conftest import Runner, Write

FAILING = """
tools:
- name: command
  instanceID: a
  options:
    create: "echo no luck >&2; exit 7"
    read: cat a.json 2> /dev/null || true
- name: command
  instanceID: b
  timeouts: {create: 0.3s}
  options:
    create: sleep 30
    read: cat b.json 2> /dev/null || true
"""


def changes(dtm: Runner, *words: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in dtm(*words, "--json").splitlines()]
    return {line["address"]: line for line in lines if line["type"] == "planned_change"}


def test_what_failed_or_took_too_long_is_not_called_interrupted(dtm: Runner, config: Write) -> None:
    config(FAILING)
    dtm("apply", "-y", code=1)
    told = dtm("plan")
    assert "Tool (command/a) failed in an earlier run, will be created." in told
    assert "its creation failed: create ended with exit code 7:\n      no luck\n" in told
    assert "Tool (command/b) failed in an earlier run, will be created." in told
    assert "its creation failed: create was stopped because its time was over" in told
    found = changes(dtm, "plan")
    assert {line["reason"] for line in found.values()} == {"failed"}
    assert found["command/a"]["note"] == "its creation failed: create ended with exit code 7:\nno luck"
    assert "failed in an earlier run, will be forgotten" in dtm("plan", "--destroy")
