"""Every error that a user can meet.

A message says what is wrong and where; the hint is the next step.

DtmError
├─ UsageError                  the command line asks for something that makes no sense
├─ ConfigError                 the configuration is wrong; holds every problem at once
├─ PlanError                   config, state and live resources allow no plan; holds every problem
├─ PluginError                 a plugin is unknown, clashes or broke its contract
├─ StateError                  the state is unreadable, newer, a copy, moved or not the expected one
│  └─ StalePlanError           the state moved since the plan was made
├─ StoreError                  a store refused or failed
│  ├─ ConflictError            the stored version is not the expected one; nothing was written
│  ├─ StoreAccessError         denied, or the bucket, table or namespace is missing; never retried
│  └─ StoreUnavailableError    this try surely had no effect; may be tried again
│     └─ ConditionRefusedError a condition was refused although it holds
├─ OutcomeUnknownError         a request got no answer: it may or may not have had its effect
├─ LockError                   the lock could not be acquired or is not the expected one
│  └─ LockHeldError            another lock holder has it; carries the record
├─ SupersededError             another session took over this state; nothing more may be started
├─ UnsafePlanError             protections or thresholds refuse the plan
├─ ProviderError               a provider says it failed
│  ├─ AuthError                missing or insufficient credentials
│  └─ NotFoundError            the thing asked for does not exist
└─ CancelledError              the user said no, or interrupted
"""

from __future__ import annotations

import msgspec

from engine.lock import LockRecord


class DtmError(Exception):
    """Root of the tree. `where` is file:line:column or an address, "" if there is none."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message, self.hint, self.where = message, hint, where


class UsageError(DtmError):
    """The command line asks for something that makes no sense."""


class Problem(msgspec.Struct, frozen=True, order=True):
    """One thing wrong with a configuration; `where` is file:line:column."""

    where: str
    message: str
    hint: str = ""


class ConfigError(DtmError):
    """Every problem of a configuration at once, in file order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        lines = [f"{p.where}: {p.message}" if p.where else p.message for p in problems]
        super().__init__("\n".join(lines))
        self.problems = problems


class PlanError(DtmError):
    """Config, state and live resources allow no plan; every problem, `where` is an address."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(
            "\n".join(f"{p.where}: {p.message}" for p in problems), hint=problems[0].hint
        )
        self.problems = problems


class PluginError(DtmError):
    """A plugin is unknown, clashes or broke its contract."""


class StateError(DtmError):
    """The state is unreadable, newer, a copy, moved, or not the expected one."""


class StalePlanError(StateError):
    """The state moved since the plan was made."""


class StoreError(DtmError):
    """A store refused or failed."""


class ConflictError(StoreError):
    """The stored version is not the expected one; nothing was written. None means "absent".

    `outcome_unknown`: an earlier try got no answer, so its write may have been stored and then
    replaced by another client.
    """

    def __init__(
        self, key: str, expected: str | None, actual: str | None, *, outcome_unknown: bool = False
    ) -> None:
        super().__init__(
            f"{key} was changed by somebody else "
            f"(expected version {expected or 'none'}, found {actual or 'none'})"
        )
        self.key, self.expected, self.actual, self.outcome_unknown = (
            key,
            expected,
            actual,
            outcome_unknown,
        )


class StoreAccessError(StoreError):
    """Denied, or the bucket, table or namespace is missing; never retried.

    The message names the identity used.
    """


class StoreUnavailableError(StoreError):
    """This try surely had no effect; may be tried again."""


class ConditionRefusedError(StoreUnavailableError):
    """A store refused to replace a version although that version is the one stored.

    The replacement came too early, or this server refuses every one.
    """


class OutcomeUnknownError(DtmError):
    """A request was sent and no answer came: it may or may not have had its effect."""


class LockError(DtmError):
    """The lock could not be acquired or is not the expected one."""

    exit_code = 3


class LockHeldError(LockError):
    """Another lock holder has the lock; `record` says who."""

    def __init__(self, record: LockRecord, *, message: str = "", hint: str = "") -> None:
        super().__init__(message or f"the state is locked by {record.holder}", hint=hint)
        self.record = record


class SupersededError(DtmError):
    """Another session took over this state; nothing more may be started.

    `outcome_unknown` is that of the ConflictError behind it.
    """

    outcome_unknown = False


class UnsafePlanError(DtmError):
    """Protections or thresholds refuse the plan."""


class ProviderError(DtmError):
    """A provider says it failed. `after` is the pause in seconds it asks for before a retry."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        where: str = "",
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, where=where)
        self.retryable, self.retry_after = retryable, retry_after


class AuthError(ProviderError):
    """Missing or insufficient credentials.

    The message names the variable or option and the scope needed.
    """


class NotFoundError(ProviderError):
    """The thing asked for does not exist."""


class CancelledError(DtmError):
    """The user said no, or interrupted."""

    exit_code = 130
