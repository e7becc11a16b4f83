"""Follow a page as a reader would.

Write the files it shows, run its commands, and compare their output with the page.

A fenced block with `title="name"` is a file. A `console` block holds `$ command` lines, each
followed by the output that the reader will see, if any. A line of `...` matches any lines, `…`
inside a line any text. A comment `<!-- exit 2 -->` on the line before a block is the exit code of
its last command (0 if absent).

A page shows the run of one user. Times, durations, IDs of locks, digests of secrets, column widths,
the user (`me@laptop`) and the folder (`/home/me/work`) are not compared.
"""

from __future__ import annotations

import getpass
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"^```(\w+)?(?: title=\"([^\"]+)\")?[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
VARYING = [
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?"), "2026-01-31 12:00:00"),
    (re.compile(r"\b\d+(\.\d+)?s\b"), "1s"),
    (re.compile(r"\b\d+ s ago"), "1 s ago"),
    (re.compile(r"\b\d+\.\d ms\b"), "1.0 ms"),
    (re.compile(r"\bpid=\d+"), "pid=1"),
    (re.compile(r"\b[0-9a-f]{32}\b|(?<=\"digest\": \")[0-9a-f]{64}"), "id"),
    (re.compile(r"(?<=\S) {2,}"), "  "),
]
EXIT = re.compile(r"<!-- exit (\d+) -->\s*$")


@dataclass(frozen=True, slots=True)
class Step:
    """One command, its output on the page, and its exit code."""

    command: str
    expected: str
    code: int
    line: int


@dataclass(frozen=True, slots=True)
class File:
    """One file that the page asks the reader to write."""

    name: str
    content: str


def steps(text: str) -> list[Step | File]:
    """Return everything that a reader does, in order."""
    found: list[Step | File] = []
    for match in FENCE.finditer(text):
        language, title, body = match.groups()
        if title:
            found.append(File(title, body))
        elif language == "console":
            promised = EXIT.search(text, 0, match.start())
            code = int(promised.group(1)) if promised and promised.end() >= match.start() - 1 else 0
            found += _commands(body, code, text.count("\n", 0, match.start()) + 1)
    return found


def _commands(body: str, code: int, line: int) -> list[Step]:
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
    split = [part.partition("\n") for part in parts]
    last = len(split) - 1
    return [
        Step(command, output, code if i == last else 0, line)
        for i, (command, _, output) in enumerate(split)
    ]


def normalized(text: str) -> str:
    """Return the text with fixed values for everything that differs from run to run."""
    for varying, fixed in VARYING:
        text = varying.sub(fixed, text)
    return text


def _as_shown(output: str, folder: Path) -> str:
    me = f"{getpass.getuser()}@{socket.gethostname()}"
    return re.sub(
        r"^\n+|(?<=\n)\n+$",
        "",
        output.replace(me, "me@laptop").replace(str(folder), "/home/me/work"),
    )


def pattern(expected: str) -> re.Pattern[str]:
    """Return the page's output as a regular expression that matches the whole real output."""
    lines = []
    for line in expected.strip("\n").splitlines():
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(re.escape(line.rstrip()).replace("…", ".*") + r"[ ]*\n")
    return re.compile("".join(lines))


def run(step: Step, folder: Path, env: dict[str, str]) -> None:
    """Run one command and compare. Raises AssertionError with both texts."""
    done = subprocess.run(
        ["bash", "-c", step.command],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=120,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    real = done.stdout if done.stdout.endswith("\n") or not done.stdout else done.stdout + "\n"
    real = _as_shown(real, folder)
    printed = (
        f"line {step.line}: $ {step.command}\n"
        f"--- the page says\n{step.expected}\n--- it prints\n{real}"
    )
    assert done.returncode == step.code, (
        f"exit {done.returncode}, the page says {step.code}; {printed}"
    )
    assert pattern(normalized(step.expected)).fullmatch(normalized(real)), printed
