"""A pytest plugin that reports which suite ran on which server, and checks the conformance page.

The page is docs/reference/conformance.md. With DTM_CONFORMANCE=write (`make conformance`) the
plugin writes it; otherwise (`make test-real`) the run fails if its results differ from the page.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from tests.servers.real import real

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "conformance.md"
NODE = re.compile(r"::(test_store|test_locker|test_session_contract)\[(\w+)-(.*)\]$")
TITLES = {"test_store": "Stores", "test_locker": "Lockers", "test_session_contract": "Sessions"}
FAKES = {
    "memory": "in one process",
    "appending": "in one process",
    "inline": "in one process, with an inline log",
    "marking": "in one process, with a delete that ignores the expected version",
    "local": "the file system, with the second client in another process",
    "ministack": "ministack",
    "moto": "moto",
    "fake_kubernetes": "a fake API server in the process of the tests",
}
"""Word in the name of a place -> description of the place, which has no real server."""
HEAD = """\
# Conformance

The rules that every store, locker and session must keep, and the result of each case in the run
that wrote this page. `make conformance` writes the page, and `make test-real` fails if its results
differ from it. A *place* is a store, a lock, or both, of one kind on one server. The `C` and `G`
numbers of the rules are stable. `-` means that the case was not run on this place.

A versioned bucket on Ceph RGW is not listed, since it cannot hold a state: it accepts a second
creation of a key and refuses every conditional replacement, even a correct one. The probe detects
this, and dtm refuses to keep a state or a lock there.
"""


@dataclass
class Run:
    """The result of each case, its server, and the order of the cases."""

    order: list[str] = field(default_factory=list[str])
    verdicts: dict[tuple[str, str, str], str] = field(
        default_factory=dict[tuple[str, str, str], str]
    )
    servers: dict[str, str] = field(default_factory=dict[str, str])
    counts: dict[tuple[str, str], Counter[str]] = field(
        default_factory=dict[tuple[str, str], Counter[str]]
    )

    def note(self, report: pytest.TestReport) -> None:
        verdict = "failed" if report.failed else _reason(report) if report.skipped else "passed"
        server = " and ".join(
            dict.fromkeys(str(value) for name, value in report.user_properties if name == "server")
        )
        match = NODE.search(report.nodeid)
        suite = f"{TITLES[match[1]]} {match[2]}" if match else report.nodeid.partition("::")[0]
        if match:
            self.verdicts[match[1], match[3], match[2]] = verdict
            self.servers[match[2]] = self.servers.get(match[2]) or server or _fake(match[2])
            server = self.servers[match[2]]
        self.counts.setdefault((suite, server), Counter())[verdict.partition(":")[0]] += 1

    def page(self) -> str:
        """Return the text of the page."""
        parts = [HEAD, "## Servers", "", "| place | server |", "|---|---|"]
        parts += [f"| {place} | {self.servers[place]} |" for place in self._places()]
        for suite, title in TITLES.items():
            places = self._places(suite)
            parts += [
                "",
                f"## {title}",
                "",
                f"| case | {' | '.join(places)} |",
                "|---|" + "---|" * len(places),
            ]
            for case in self._cases(suite):
                cells = [self.verdicts.get((suite, case, place), "-") for place in places]
                parts.append(f"| {case} | {' | '.join(cells)} |")
        return "\n".join([*parts, ""])

    def differences(self, text: str) -> Iterator[str]:
        """Yield the differences between the page and this run, except for absent servers."""
        page = dict(_cells(text))
        for (suite, case, place), verdict in self.verdicts.items():
            absent = any(verdict.startswith(f"not tried: {name}: ") for name in real().missing)
            written = page.get((TITLES[suite], case, place))
            if not absent and written != verdict:
                yield f"{TITLES[suite]}, {case}, {place}: {verdict}, but the page has {written}"

    def _matches(self, suite: str | None) -> Iterator[re.Match[str]]:
        matches = (NODE.search(node) for node in self.order)
        return (match for match in matches if match and suite in (None, match[1]))

    def _places(self, suite: str | None = None) -> list[str]:
        return list(dict.fromkeys(match[2] for match in self._matches(suite)))

    def _cases(self, suite: str) -> list[str]:
        return list(dict.fromkeys(match[3] for match in self._matches(suite)))


def _reason(report: pytest.TestReport) -> str:
    text = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
    return f"not tried: {text.removeprefix('Skipped: ')}"


def _fake(place: str) -> str:
    """Describe the server of a place without a real server; "" for a real one, which is absent."""
    found = next((name for name in FAKES if name in place), None)
    if found is None:
        return ""
    try:
        return (
            f"{FAKES[found]} {version(found)}" if found in ("ministack", "moto") else FAKES[found]
        )
    except PackageNotFoundError:
        return FAKES[found]


def _cells(text: str) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Yield each cell of a page: its section, case and place, and its text."""
    title, places = "", list[str]()
    for line in text.splitlines():
        words = [word.strip() for word in line.strip("|").split(" | ")]
        if line.startswith("## "):
            title = line[3:]
        elif line.startswith("| case |"):
            places = words[1:]
        elif line.startswith("| ") and title in TITLES.values():
            yield from (
                ((title, words[0], place), cell)
                for place, cell in zip(places, words[1:], strict=True)
            )


RUN = Run()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Take the order of the tests from a worker; all workers collect the same tests."""
    RUN.order = ids


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take the order of the tests from this process, if there are no workers."""
    RUN.order = RUN.order or [item.nodeid for item in session.items]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record the result of a test: of its call, or of a setup that skips or fails it."""
    if report.when == "call" or (report.when == "setup" and not report.passed):
        RUN.note(report)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print which suite ran on which server."""
    terminalreporter.section("suites and servers")
    for (suite, server), counts in sorted(RUN.counts.items()):
        summary = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
        terminalreporter.line(f"{suite}: {server or 'no server'}: {summary}")
    for name, why in real().missing.items():
        terminalreporter.line(f"{name} was absent: {why}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page, or compare it with this run; not in a worker, which ran only some tests."""
    if hasattr(session.config, "workerinput") or not RUN.verdicts:
        return
    if os.environ.get("DTM_CONFORMANCE") == "write":
        PAGE.write_text(RUN.page(), "utf-8")
    elif differences := list(RUN.differences(PAGE.read_text("utf-8"))):
        reporter: Any = session.config.pluginmanager.getplugin("terminalreporter")
        reporter.line("")
        reporter.line(
            "\n".join(
                [
                    f"{PAGE.name} differs from this run; update it with `make conformance`:",
                    *differences,
                ]
            )
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
