"""The git program, run for a provider call, and the mapping of its messages to errors.

git uses the ssh configuration, agent, credential helpers and `insteadOf` of the user. It never
prompts, and it is ended at the deadline of the call.
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
from providers._git.urls import is_path
from providers._process.guard import GuardedProcess, end_process_group

POLL_INTERVAL = 0.2
"""Seconds between two checks of deadline and cancellation while git runs."""
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
"""Variables that git sets for a hook.

If dtm runs inside a hook, they would make git work on the wrong repository.
"""
# git would start this work in the background. It would continue after the command has ended, and
# leave lock files behind if dtm is killed.
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
"""Messages of the host itself.

Hosts report a private repository as not found to users without access. So such a message does not
prove that the repository is absent.
"""
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


class GitResult(msgspec.Struct, frozen=True):
    """The result of a git command. `err` is in English, whatever the locale."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Standard output as text, without the last newline."""
        return self.out.decode(errors="surrogateescape").rstrip("\n")


class Git(msgspec.Struct, frozen=True):
    """The git program for one provider call.

    `directory` is the git directory to work on, None for commands that need none. `env` is added to
    the environment of the user. `secrets` are pairs of a secret and its replacement in messages.
    `location` is the repository as errors name it.

        Git(call, Path("app.git"))("rev-parse", "main").text  # "90a1d60a..."
    """

    call: Call
    directory: Path | None = None
    env: Mapping[str, str] | None = None
    secrets: tuple[tuple[str, str], ...] = ()
    location: str = ""

    def __call__(self, *args: str, stdin: bytes = b"") -> GitResult:
        """Run a command. Raises as `run`; for a nonzero exit code, the error of `build_error`."""
        result = self.run(*args, stdin=stdin)
        if result.code:
            raise self.build_error(result)
        return result

    def run(self, *args: str, stdin: bytes = b"", pushes: bool = False) -> GitResult:
        """Run a command until it ends, the deadline passes or the call is cancelled.

        Raises CancelledError, and ProviderError if git is not installed or the deadline passed.
        With `pushes`, a command that was stopped raises OutcomeUnknownError instead.
        """
        # SIGTERM first: a git that is killed leaves its lock files behind, and every later push
        # fails until they are removed. Waiting for git does no harm to another run: git moves a
        # branch only if it still points to the commit that git saw.
        with GuardedProcess(terminate_first=True) as guarded, self._start(args, guarded) as process:
            out, err = self._wait(process, stdin, args[0], pushes)
        return GitResult(process.returncode, out, self.redact(err.decode(errors="replace").strip()))

    def _start(self, args: tuple[str, ...], guarded: GuardedProcess) -> subprocess.Popen[bytes]:
        directory_option = () if self.directory is None else (f"--git-dir={self.directory}",)
        try:
            return guarded.start(
                ["git", *NO_BACKGROUND_WORK, *directory_option, *args], env=self._environment()
            )
        except FileNotFoundError as error:
            raise ProviderError(
                "git is not installed, or not on the PATH", hint="install git"
            ) from error

    def _wait(
        self, process: subprocess.Popen[bytes], stdin: bytes, verb: str, pushes: bool
    ) -> tuple[bytes, bytes]:
        data: bytes | None = stdin
        while True:
            try:
                return process.communicate(data, timeout=POLL_INTERVAL)
            except subprocess.TimeoutExpired:
                data = None  # communicate has kept the rest of the input
                late, stopped = time.monotonic() > self.call.deadline, self.call.cancelled()
            # BaseException, since Ctrl-C must end git too.
            except BaseException:
                end_process_group(process)
                raise
            if late or stopped:
                end_process_group(process)
                raise self._build_stopped_error(verb, late=late, pushes=pushes)

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in LOCATION_VARIABLES}
        # Without GIT_TERMINAL_PROMPT=0 git would wait at the terminal for a password, unseen.
        # LC_ALL=C: the patterns above match the English messages of git.
        return kept | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"} | dict(self.env or {})

    def redact(self, text: str) -> str:
        """Replace the secrets in a text."""
        for secret, shown in self.secrets:
            text = text.replace(secret, shown)
        return text

    def build_error(self, result: GitResult, *, hint: str = "") -> ProviderError:
        """Return the error for a failed command, by the messages of git.

        It is a NotFoundError only if the repository certainly does not exist. It is an AuthError
        for missing access, else a ProviderError with `hint`, which is retryable for network
        problems.
        """
        words = result.err
        # Progress and advice of git are left out: the user needs the lines that name the problem.
        lines = [
            line
            for line in words.splitlines()
            if line.startswith(("fatal:", "error:", "remote:", "ERROR:", "ssh:"))
        ]
        said = "; ".join(lines or words.splitlines()[-1:] or [f"exit code {result.code}"])
        message = f"{self.location}: git: {said}" if self.location else f"git: {said}"
        # A host reports a hidden repository as not found. That is missing access, not absence: dtm
        # would otherwise plan to create what exists already.
        if NOT_A_REPOSITORY.search(words) and not HOST_ANSWERED.search(words):
            return NotFoundError(message)
        if ACCESS_DENIED.search(words):
            return AuthError(message, hint=self._access_hint())
        return ProviderError(message, hint=hint, retryable=bool(TRANSIENT.search(words)))

    def _access_hint(self) -> str:
        if self.location and is_path(self.location):
            return f"make sure that your user may read and write {self.location}"
        return (
            f"run git ls-remote {self.location or 'URL'} to check the access: git needs an ssh key "
            "or a credential helper, or set the option token for an https URL"
        )

    def _build_stopped_error(self, verb: str, *, late: bool, pushes: bool) -> DtmError:
        where = f"{self.location}: " if self.location else ""
        why = "exceeded its timeout and was stopped" if late else "was cancelled"
        message = f"{where}git {verb} {why}"
        if pushes:
            return OutcomeUnknownError(f"{message}: the commit may or may not have arrived")
        return ProviderError(message) if late else CancelledError(message)
