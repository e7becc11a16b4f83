"""The debug log: one line for each request, provider call and decision, switched on by `DTM_LOG`.

    log = open_log({"DTM_LOG": "debug", "DTM_LOG_PATH": "dtm.log"}, Path.cwd(), redactor)
    store = logged_store(opened.store, log)  # dtm.app.logged_ports
    log.plan(plan)

Import this module only where the log is on: importing `logging` takes 15 ms.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from dtm import __version__
from engine.address import Address
from engine.errors import (
    CancelledError,
    ConflictError,
    LockHeldError,
    StoreUnavailableError,
    UsageError,
)
from engine.events import Event, Notice, Retrying
from engine.plan import Action, Change, Plan
from engine.ports import Emit
from engine.secrets.redaction import Redactor
from engine.values import UnknownValueError, Value

T = TypeVar("T")
LoggedCall: TypeAlias = tuple[str, str, str]
"""The called object, the method and its subject: `("store", "read", "devstream.state")`."""

LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
CREDENTIAL: Final = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|KEY$", re.IGNORECASE)
"""Names of environment variables whose values never appear in the log.

An SDK reads such variables itself, so no option tells dtm that they are secrets.
"""
CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127)} | {10: "\\n"}
"""Escapes that keep a record on one line, whatever a key or an error message contains."""


class DebugLog:
    """The log of one workspace. Safe to use from several threads.

    It writes keys, versions, sizes, durations, names of fields and error messages. It never writes
    the value of an option or output.
    """

    def __init__(self, level: int, write: Callable[[str], object], redactor: Redactor) -> None:
        self._redactor, self._credentials = redactor, Redactor()
        # Not from `getLogger`: a logger of the process would keep the handlers of all workspaces,
        # and pass records on to handlers that redact nothing.
        self._logger = logging.Logger("dtm", level)
        self._logger.addHandler(_LineHandler(write, self._clean))
        self._failures: dict[LoggedCall, int] = {}

    def learn(self, value: Value) -> None:
        """Redact this value from now on: a credential that no option of a tool holds."""
        self._credentials.add(value)

    def start(self, location: str, source: str) -> None:
        """Log the versions, the state and the source that chose it."""
        self._logger.info(
            "start dtm=%s python=%s system=%s state=%s chosen-by=%s",
            __version__,
            platform.python_version(),
            sys.platform,
            location,
            source or "default",
        )

    def timed(
        self,
        operation: LoggedCall,
        call: Callable[[], T],
        outcome: Callable[[T], str],
        level: int = logging.DEBUG,
    ) -> T:
        """Return the call's result, and log its duration and its outcome. Raises what it raises."""
        started = time.perf_counter()
        try:
            result = call()
        except BaseException as error:
            self._ended(_level_of(error), operation, started, partial(_failure, error))
            raise
        self._ended(level, operation, started, lambda: outcome(result))
        return result

    def observe(self, address: Address, method: str, call: Callable[[], T]) -> T:
        """Return the result of a provider's method, and log the call."""
        level = logging.DEBUG if method == "read" else logging.INFO
        return self.timed(("provider", method, address.dotted), call, _presence, level)

    def plan(self, plan: Plan) -> None:
        """Log every decision of a finished plan, with the names of the fields that differ."""
        for change in plan.changes:
            level = logging.DEBUG if change.action is Action.KEEP else logging.INFO
            # A plan may have 10,000 unchanged tools: their lines are formatted only if written.
            if self._logger.isEnabledFor(level):
                self._logger.log(level, "plan %s", _decision(change))

    def listen(self, emit: Emit) -> Emit:
        """Return an `emit` that also logs retries and notices."""

        def listening(event: Event) -> None:
            self._event(event)
            emit(event)

        return listening

    def _event(self, event: Event) -> None:
        if isinstance(event, Retrying):
            self._logger.warning(
                "retry %s %s try=%d in %.1f s: %s",
                event.action.value,
                event.address.dotted,
                event.attempt + 1,
                event.delay,
                event.message,
            )
        elif isinstance(event, Notice):
            text = f"{event.where}: {event.message}" if event.where else event.message
            self._logger.log(LEVELS.get(event.level, logging.INFO), "notice %s", text)

    def _ended(
        self, level: int, operation: LoggedCall, started: float, outcome: Callable[[], str]
    ) -> None:
        elapsed = (time.perf_counter() - started) * 1000
        failures = self._failures.pop(operation, 0)
        if level == logging.WARNING:
            self._failures[operation] = failures + 1
        if self._logger.isEnabledFor(level):
            # The call before this one failed in a way that is retried: this one is the next try.
            tried = f" try={failures + 1}" if failures else ""
            self._logger.log(level, "%s %s %s %.1f ms %s", *operation, elapsed, outcome() + tried)

    def _clean(self, text: str) -> str:
        return self._redactor.redact(self._credentials.redact(text))


class _LineHandler(logging.Handler):
    """Writes each record as one line: time, level, message, process ID."""

    def __init__(self, write: Callable[[str], object], clean: Callable[[str], str]) -> None:
        super().__init__()
        self._write, self._clean, self._broken = write, clean, False

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, redacted."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        # Redacted before control characters are escaped: a secret may have several lines.
        text = self._clean(record.getMessage()).translate(CONTROL)
        # Several processes may append to one file.
        return f"{at.removesuffix('+00:00')}Z {record.levelname} {text} pid={record.process}"

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line; the first one that cannot be written ends the log, not the command."""
        if self._broken:
            return
        try:
            self._write(self.format(record) + "\n")
        except (OSError, ValueError) as error:
            self._broken = True
            if self._write is not _write_to_stderr:
                reason = getattr(error, "strerror", None) or str(error)
                _write_to_stderr(f"dtm: cannot write to DTM_LOG_PATH, the log ends: {reason}\n")


def open_log(env: Mapping[str, str], cwd: Path, redactor: Redactor) -> DebugLog:
    """Open the log that `DTM_LOG` and `DTM_LOG_PATH` ask for.

    The file is created with mode 0600; lines are added to one that exists. Raises UsageError if the
    level is unknown or the file cannot be opened.
    """
    name = env["DTM_LOG"]
    level = LEVELS.get(name.lower())
    if level is None:
        raise UsageError(
            f'DTM_LOG: "{name}" is not a level: expected {", ".join(LEVELS)}',
            hint="set DTM_LOG=debug, or unset it to turn the log off",
        )
    path = env.get("DTM_LOG_PATH")
    write = _file_writer(cwd / Path(path).expanduser()) if path else _write_to_stderr
    log = DebugLog(level, write, redactor)
    for variable, value in env.items():
        if CREDENTIAL.search(variable):
            log.learn(value)
    return log


def _file_writer(path: Path) -> Callable[[str], object]:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(
            f"DTM_LOG_PATH: cannot write {path}: {error.strerror}",
            hint="set DTM_LOG_PATH to a file in a directory that exists and that you may write to, "
            "or unset it to log to standard error",
        ) from error
    # One `write` for each line: in append mode the lines of two processes do not mix.
    return lambda line: os.write(descriptor, line.encode("utf-8", "backslashreplace"))


def _write_to_stderr(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()


def _level_of(error: BaseException) -> int:
    """Return the level of a failed call: WARNING if it is retried, DEBUG if it is expected."""
    if isinstance(error, StoreUnavailableError) or getattr(error, "retryable", False):
        return logging.WARNING
    if isinstance(error, ConflictError | LockHeldError | UnknownValueError):
        return logging.DEBUG
    if isinstance(error, CancelledError | KeyboardInterrupt):
        return logging.INFO
    return logging.ERROR


def _failure(error: BaseException) -> str:
    if isinstance(error, ConflictError):
        return f"conflict expected={error.expected} found={error.actual}"
    if isinstance(error, LockHeldError):
        return f"held by={error.record.holder} version={error.record.version}"
    return f"{type(error).__name__}: {error}"


def _presence(result: object) -> str:
    return "absent" if result is None else "ok"


def _decision(change: Change) -> str:
    words = [change.action.value, change.address.dotted, f"reason={change.reason.value}"]
    if change.previous:
        words.append(f"previous={change.previous.dotted}")
    if fields := dict.fromkeys(".".join(map(str, field.path)) for field in change.fields):
        words.append(f"fields={','.join(fields)}")
    if change.rewrite:
        words.append("rewrite")
    return " ".join(words)
