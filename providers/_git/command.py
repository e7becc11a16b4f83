"""The git binary, run for a provider call.

The user's ssh, agent, credential helpers and insteadOf work, nothing ever prompts, deadlines hold.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.errors import (
    AuthError,
    CancelledError,
    DtmError,
    NotFoundError,
    OutcomeUnknownError,
    ProviderError,
)
from engine.ports import Call
from providers._process.guard import GuardedProcess, end_process_group

POLL_INTERVAL = 0.2
"""Seconds between looks at deadline and cancellation while git runs."""
LOCATION_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
)
"""Set where dtm runs inside a hook; they would send git to the wrong repository."""
# Background work of git would go on after the command and may leave locks behind.
NO_BACKGROUND_WORK = (
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "core.fsmonitor=false",
)

NOT_A_REPOSITORY = re.compile(
    r"does not appear to be a git repository|^fatal: repository '.*' not found", re.MULTILINE
)
HOST_ANSWERED = re.compile(
    r"^remote: |^ERROR: |access denied or repository not exported", re.MULTILINE
)
"""The host itself answers: hosts say "not found" for what they hide, so that proves nothing."""
ACCESS_DENIED = re.compile(
    r"Authentication failed|could not read (Username|Password)|Permission denied|"
    r"returned error: 40[13]|Host key verification failed|access denied|"
    r"terminal prompts disabled|[Rr]epository not found|don't have permission",
    re.MULTILINE,
)
TRANSIENT = re.compile(
    r"Could not resolve host|[Ff]ailed to connect|[Cc]ouldn't connect|"
    r"[Cc]onnection (refused|reset|timed out|closed)|timed out|returned error: (429|5\d\d)|"
    r"[Nn]etwork is unreachable|Empty reply|hung up unexpectedly|early EOF|RPC failed"
)
ACCESS_HINT = (
    "git itself must have access: check your ssh agent or credential helper, "
    "or set the option token for https"
)


class GitResult(msgspec.Struct, frozen=True):
    """The output of a git that has ended; `err` is English whatever the locale."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Decode standard output, without the last newline."""
        return self.out.decode(errors="surrogateescape").rstrip("\n")


class Git(msgspec.Struct, frozen=True):
    """git, bound to a git directory (None: no repository) and to the call it works for.

    `env` is added to the user's environment; `secrets` are cut out of every message.
    """

    call: Call
    directory: Path | None = None
    env: Mapping[str, str] | None = None
    secrets: tuple[tuple[str, str], ...] = ()

    def __call__(self, *args: str, stdin: bytes = b"") -> GitResult:
        """Run and demand success. Raises as `failure` says."""
        result = self.run(*args, stdin=stdin)
        if result.code:
            raise self.build_error(result)
        return result

    def run(self, *args: str, stdin: bytes = b"", pushes: bool = False) -> GitResult:
        """Run to the end, the deadline or a cancellation.

        Raises ProviderError (no git, no time) or CancelledError; where `sends` and git was cut off,
        OutcomeUnknownError instead.
        """
        # A git that is killed leaves its locks behind, so it is asked to end. The delay does no
        # harm: git moves a branch only from where it saw it, whoever else is at work there.
        with GuardedProcess(terminate_first=True) as guarded, self._start(args, guarded) as process:
            out, err = self._wait(process, stdin, args[0], pushes)
        return GitResult(process.returncode, out, self.redact(err.decode(errors="replace").strip()))

    def _start(self, args: tuple[str, ...], guarded: GuardedProcess) -> subprocess.Popen[bytes]:
        place = () if self.directory is None else (f"--git-dir={self.directory}",)
        try:
            return guarded.start(
                ["git", *NO_BACKGROUND_WORK, *place, *args], env=self._environment()
            )
        except FileNotFoundError as error:
            raise ProviderError(
                "the git program was not found", hint="install git and put it on the PATH"
            ) from error

    def _wait(
        self, process: subprocess.Popen[bytes], stdin: bytes, verb: str, pushes: bool
    ) -> tuple[bytes, bytes]:
        data: bytes | None = stdin
        while True:
            try:
                return process.communicate(data, timeout=POLL_INTERVAL)
            except subprocess.TimeoutExpired:
                data = None  # communicate keeps what is left to send
                late, stopped = time.monotonic() > self.call.deadline, self.call.cancelled()
            except BaseException:
                end_process_group(process)
                raise
            if late or stopped:
                end_process_group(process)
                raise _build_stopped_error(verb, late=late, pushes=pushes)

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in LOCATION_VARIABLES}
        # English whatever the user's locale: the patterns above read git's words.
        return kept | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"} | dict(self.env or {})

    def redact(self, text: str) -> str:
        """Cut credentials out of a text."""
        for secret, shown in self.secrets:
            text = text.replace(secret, shown)
        return text

    def build_error(self, result: GitResult) -> ProviderError:
        """Make the error that git's words stand for.

        NotFoundError only where the other side surely has no such repository.
        """
        words = result.err
        lines = [
            line
            for line in words.splitlines()
            if line.startswith(("fatal:", "error:", "remote:", "ERROR:", "ssh:"))
        ]
        said = "git: " + "; ".join(lines or words.splitlines()[-1:] or [f"exit code {result.code}"])
        if NOT_A_REPOSITORY.search(words) and not HOST_ANSWERED.search(words):
            return NotFoundError(said)
        if ACCESS_DENIED.search(words):
            return AuthError(said, hint=ACCESS_HINT)
        return ProviderError(said, retryable=bool(TRANSIENT.search(words)))


def _build_stopped_error(verb: str, *, late: bool, pushes: bool) -> DtmError:
    why = "took longer than allowed and was stopped" if late else "was cancelled"
    if pushes:
        return OutcomeUnknownError(f"git {verb} {why}: it may or may not have arrived")
    return ProviderError(f"git {verb} {why}") if late else CancelledError(f"git {verb} {why}")
