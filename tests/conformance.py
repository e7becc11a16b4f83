"""A plugin of the test runner that turns one run of the contract suites into docs/reference/conformance.md.

Run: make conformance
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "conformance.md"
NODE = re.compile(r"::(test_store|test_locker|test_the_session_contract)\[([a-z_]+)-(.*)\]$")
TITLES = {"test_store": "Stores", "test_locker": "Lockers", "test_the_session_contract": "Sessions"}
PLACES = {
    "test_store": ["memory", "appending_memory", "local"],
    "test_locker": ["memory_locker", "local_locker", "local_object_locker"],
    "test_the_session_contract": ["memory", "appending", "local"],
}
HEAD = """\
# Conformance

What every store, locker and session must do, and what became of each case in the run that wrote this page
(`make conformance`). A `C` or `G` number names a case of the project's acceptance list. The `memory` places live in one
process; on `local` the second client of a store or locker is another process, and the server is this machine's file system.
"""

_found: dict[tuple[str, str], dict[str, str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what became of a case."""
    match = NODE.search(report.nodeid)
    if match is None or not (report.when == "call" or report.skipped or report.failed):
        return
    suite, place, case = match.groups()
    verdict = "failed" if report.failed else _reason(report) if report.skipped else "passed"
    _found.setdefault((suite, case), {})[place] = verdict


def _reason(report: pytest.TestReport) -> str:
    text = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
    return f"not tried: {text.removeprefix('Skipped: ')}"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for suite, title in TITLES.items():
        places = PLACES[suite]
        parts += [f"## {title}", "", f"| case | {' | '.join(places)} |", "|---|" + "---|" * len(places)]
        rows = ((case, verdicts) for (name, case), verdicts in _found.items() if name == suite)
        parts += [f"| {case} | {' | '.join(verdicts.get(place, '-') for place in places)} |" for case, verdicts in rows]
        parts.append("")
    return "\n".join(parts)


def pytest_sessionfinish() -> None:
    """Write it."""
    if _found:
        PAGE.write_text(page(), "utf-8")
