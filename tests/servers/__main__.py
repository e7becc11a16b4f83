"""Start the real servers, run the tests that need them, and stop the servers in any case.

python -m tests.servers                    # what `make test-real` does
python -m tests.servers -- COMMAND ...     # any other command, such as a shell
python -m tests.servers --require          # an absent server fails the run, unless it is named in
                                           # DTM_EXCUSE="rgw: no apt here; terraform: not installed"
python -m tests.servers --write            # writes docs/reference/conformance.md from this run
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias

import msgspec

from tests.servers import install
from tests.servers.dynamodb import dynamodb_local
from tests.servers.install import MissingError
from tests.servers.kube import kube_apiserver
from tests.servers.processes import StartError, run
from tests.servers.real import VARIABLE, Real, Terraform
from tests.servers.rgw import ceph_rgw

SESSIONS: Final = "tests/engine/session/test_session.py::test_session_contract"
CONTRACTS: Final = ["tests/contracts", SESSIONS, "tests/real/test_contracts.py"]
ALL: Final = ["tests/contracts", SESSIONS, "tests/real"]
PLUGIN: Final = ["-p", "tests.conformance", "--ignore=tests/contracts/test_conformance_page.py"]


@contextlib.contextmanager
def _rgw(folder: Path) -> Iterator[Any]:
    install.rgw()
    with ceph_rgw(folder) as found:
        yield found


@contextlib.contextmanager
def _dynamodb(folder: Path) -> Iterator[Any]:
    with dynamodb_local(folder, install.dynamodb()) as found:
        yield found


@contextlib.contextmanager
def _kubernetes(folder: Path) -> Iterator[Any]:
    with kube_apiserver(folder, *install.kubernetes()) as found:
        yield found


@contextlib.contextmanager
def _terraform(folder: Path) -> Iterator[Any]:
    folder.mkdir()
    found = re.search(r"v(\S+)", run([install.terraform(), "version"], folder / "version.log"))
    yield Terraform(
        f"terraform {found.group(1) if found else 'of unknown version'}", str(install.terraform())
    )


Starts: TypeAlias = Mapping[str, Callable[[Path], contextlib.AbstractContextManager[Any]]]
STARTS: Final[Starts] = {
    "rgw": _rgw,
    "dynamodb": _dynamodb,
    "kubernetes": _kubernetes,
    "terraform": _terraform,
}


@contextlib.contextmanager
def start_servers(folder: Path, starts: Starts = STARTS) -> Iterator[Real]:
    """Start all available servers in parallel; `missing` says why others are absent."""
    missing: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        futures: dict[str, Future[Any]] = {}
        with ThreadPoolExecutor(len(starts)) as pool:
            for name, start in starts.items():
                futures[name] = pool.submit(stack.enter_context, start(folder / name))
        for name, future in futures.items():
            if isinstance(problem := future.exception(), MissingError | StartError):
                missing[name] = " ".join(str(problem).split())
        found = {name: future.result() for name, future in futures.items() if name not in missing}
        yield Real(str(folder), missing=missing, **found)


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code, or 1 if a required server is absent."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.servers", description="Run tests with real servers."
    )
    parser.add_argument(
        "--require",
        action="store_true",
        help="an absent server fails the run unless DTM_EXCUSE names it",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="run the contracts, write docs/reference/conformance.md",
    )
    parser.add_argument("command", nargs="*", help="command to run instead of the tests")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    folder, started = Path(tempfile.mkdtemp(prefix="dtm-servers-")), time.monotonic()
    status = 1
    try:
        with start_servers(folder) as real:
            _report(real, time.monotonic() - started)
            status = _run(
                real,
                options.command or _tests(CONTRACTS if options.write else ALL),
                write=options.write,
            )
        status = status or int(
            options.require and not all_excused(real, os.environ.get("DTM_EXCUSE", ""))
        )
    finally:
        _clean_up(folder, kept=status != 0)
    return status


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, as Ctrl-C does, so that every context manager exits."""
    raise KeyboardInterrupt


def _tests(suites: list[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "-n", "2", "--timeout=300", *PLUGIN, *suites]


def _run(real: Real, command: list[str], *, write: bool) -> int:
    path = Path(real.folder) / "servers.json"
    path.write_bytes(msgspec.json.encode(real))
    env = {**os.environ, VARIABLE: str(path), "DTM_CONFORMANCE": "write" if write else "compare"}
    return subprocess.run(command, env=env).returncode


def _report(real: Real, seconds: float) -> None:
    for name in STARTS:
        found = getattr(real, name)
        sys.stderr.write(f"{name}: {found.title if found else f'absent: {real.missing[name]}'}\n")
    sys.stderr.write(f"Up after {seconds:.1f} s; logs in {real.folder}\n")


def all_excused(real: Real, excuses: str) -> bool:
    """Return whether `excuses` ("rgw: no apt here; ...") names every absent server."""
    named = {part.partition(":")[0].strip() for part in excuses.split(";")}
    bare = [name for name in real.missing if name not in named]
    for name in bare:
        sys.stderr.write(f'{name} is absent; excuse it with DTM_EXCUSE="{name}: REASON"\n')
    return not bare


def _clean_up(folder: Path, *, kept: bool) -> None:
    if kept:
        sys.stderr.write(f"The servers' logs are kept in {folder}\n")
    else:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
