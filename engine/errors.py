"""All errors that dtm reports to a user, as one tree.

A message states what is wrong, `where` states the place, and the hint is the next step. "It failed"
and "the outcome is unknown" are different types, since a retry is safe only after the first.

    DtmError
    ├─ UsageError                   the command line contradicts itself or asks for the impossible
    ├─ ConfigError                  the configuration is wrong; all its problems
    ├─ PlanError                    config, state and live resources allow no plan; all its problems
    ├─ CycleError                   tools depend on each other in a cycle (engine.graph)
    ├─ PluginError                  a plugin is unknown, ambiguous, or violated its contract
    ├─ StateError                   the state is unreadable, too new, a copy or not the expected one
    │  └─ StalePlanError            the state changed after the plan was made
    ├─ StoreError                   a store refused a request or failed
    │  ├─ ConflictError             another version is stored than expected; nothing was written
    │  ├─ StoreAccessError          access denied, or bucket, table or namespace missing; no retry
    │  └─ StoreUnavailableError     the request certainly had no effect; a retry is safe
    │     └─ ConditionRefusedError  the store refused a condition that was true
    ├─ OutcomeUnknownError          no answer came: the request may have had its effect
    ├─ LockError                    the lock cannot be acquired or released
    │  └─ LockHeldError             another lock holder has the lock
    ├─ SupersededError              another session took over this state; start nothing more
    ├─ UnsafePlanError              the plan would delete a tool that is protected or still needed
    ├─ ProviderError                a provider reports that an operation failed
    │  ├─ AuthError                 credentials are missing or not sufficient
    │  └─ NotFoundError             the system does not have what was asked for
    └─ CancelledError               the user declined or interrupted the run

UnknownValueError (engine.values) is not in this tree: no user sees it, since the engine catches it.
"""

from __future__ import annotations

import msgspec

from engine.lock import LockRecord


class DtmError(Exception):
    """Base class of the errors of dtm.

    `where` is `file:line:column` or an address, "" if there is no place.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message, self.hint, self.where = message, hint, where


class UsageError(DtmError):
    """The command line contradicts itself or asks for the impossible."""


class Problem(msgspec.Struct, frozen=True, order=True):
    """One problem of a configuration or a plan; `where` is `file:line:column` or an address."""

    where: str
    message: str
    hint: str = ""


class ConfigError(DtmError):
    """The configuration is wrong. `problems` has every problem, in file order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        lines = [f"{p.where}: {p.message}" if p.where else p.message for p in problems]
        super().__init__("\n".join(lines))
        self.problems = problems


class PlanError(DtmError):
    """Config, state and live resources allow no plan. `where` of each problem is an address."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        # Only one hint fits: the first problem is the one that the user repairs first.
        super().__init__(
            "\n".join(f"{p.where}: {p.message}" for p in problems), hint=problems[0].hint
        )
        self.problems = problems


class PluginError(DtmError):
    """A plugin is unknown, ambiguous, or violated its contract."""


class StateError(DtmError):
    """The state is unreadable, of a newer format, a copy, or not the expected one."""


class StalePlanError(StateError):
    """The state changed after the plan was made."""


class StoreError(DtmError):
    """A store refused a request or failed."""


class ConflictError(StoreError):
    """The stored version is not the expected one; nothing was written.

    An `expected` or `actual` version of None means that the key is absent.

    `outcome_unknown`: an earlier try got no answer, so its write may have been stored and then
    replaced by another client.
    """

    def __init__(
        self, key: str, expected: str | None, actual: str | None, *, outcome_unknown: bool = False
    ) -> None:
        super().__init__(
            f"{key} was changed by another client "
            f"(expected version {expected or 'none'}, found {actual or 'none'})"
        )
        self.key, self.expected, self.actual, self.outcome_unknown = (
            key,
            expected,
            actual,
            outcome_unknown,
        )


class StoreAccessError(StoreError):
    """Access is denied, or the bucket, table or namespace is missing. Never retried.

    The message names the identity that was used.
    """


class StoreUnavailableError(StoreError):
    """The request certainly had no effect, so that a retry is safe."""


class ConditionRefusedError(StoreUnavailableError):
    """A store refused to replace a version although that version is the stored one.

    Either the write came too soon after the one before, or this server refuses all conditional
    writes.
    """


class OutcomeUnknownError(DtmError):
    """A request was sent and got no answer: it may or may not have had its effect."""


class LockError(DtmError):
    """The lock cannot be acquired or released."""

    exit_code = 3  # lets a pipeline tell "locked, try later" from a failure


class LockHeldError(LockError):
    """Another lock holder has the lock; `record` is the stored lock record."""

    def __init__(self, record: LockRecord, *, message: str = "", hint: str = "") -> None:
        super().__init__(message or f"the state is locked by {record.holder}", hint=hint)
        self.record = record


class SupersededError(DtmError):
    """Another session took over this state: this session must start nothing more.

    `outcome_unknown` is copied from the ConflictError that this error replaces.
    """

    outcome_unknown = False


class UnsafePlanError(DtmError):
    """The plan would delete or replace a protected tool, or delete one that another tool needs."""


class ProviderError(DtmError):
    """A provider reports that an operation failed.

    `retryable`: another try may succeed. `retry_after`: seconds to wait before it, as the system
    asked, for example with a Retry-After header.

        raise ProviderError("the API is busy", retryable=True, retry_after=30)
    """

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
    """Credentials are missing or not sufficient.

    The message names the variable or option, and the scope that is needed.
    """


class NotFoundError(ProviderError):
    """The system does not have what was asked for, such as a repository."""


class CancelledError(DtmError):
    """The user declined or interrupted the run."""

    exit_code = 130  # 128 + SIGINT, as shells report an interrupted command
