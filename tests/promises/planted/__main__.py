"""Plant five bugs, one at a time, and show that a suite fails for each: exit 1 if one stays hidden.

Run: python -m tests.promises.planted
"""

from __future__ import annotations

import subprocess
import sys

from tests.promises.seeded_bugs import (
    MAX_SCHEDULES,
    DropsDoneRecord,
    IgnoresVersions,
    LosesLastChunk,
    schedules_until_found,
)

MODEL = {
    "drop a done": DropsDoneRecord,
    "ignore expect": IgnoresVersions,
    "lose the last chunk": LosesLastChunk,
}
"""Bugs of a store or a log, and the random schedules that find them."""

SUITES = {
    "wrong reverse order": (
        "tests.promises.planted.reversed_order",
        ["tests/engine/execution/test_steps.py"],
    ),
    "retry a create": (
        "tests.promises.planted.retried_create",
        ["tests/engine/execution/test_executor.py"],
    ),
}
"""Bugs of the executor, planted by a plugin of the test runner, and the suite that must fail."""


def suite_fails(plugin: str, tests: list[str]) -> str:
    """Return the first test that fails with the bug, "" if the suite passes.

    Raises RuntimeError if the suite fails without the bug, too.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "--no-header",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    sound = subprocess.run(command, capture_output=True, text=True, check=False)
    if sound.returncode:
        raise RuntimeError(f"the suite fails without any bug:\n{sound.stdout[-2000:]}")
    planted = subprocess.run([*command, "-p", plugin], capture_output=True, text=True, check=False)
    failed = [
        line.removeprefix("FAILED ")
        for line in planted.stdout.splitlines()
        if line.startswith("FAILED ")
    ]
    return failed[0] if planted.returncode == 1 and failed else ""


def main() -> int:
    """Plant all five bugs; return 1 if one is not found."""
    hidden = 0
    for name, bug in MODEL.items():
        after = schedules_until_found(bug)
        hidden += after is None
        result = (
            f"found after {after} schedules" if after else f"HIDDEN for {MAX_SCHEDULES} schedules"
        )
        print(f"{name}: {result}")  # noqa: T201
    for name, (plugin, tests) in SUITES.items():
        failed = suite_fails(plugin, tests)
        hidden += not failed
        print(f"{name}: {f'found by {failed}' if failed else f'HIDDEN from {tests}'}")  # noqa: T201
    return int(hidden > 0)


if __name__ == "__main__":
    raise SystemExit(main())
