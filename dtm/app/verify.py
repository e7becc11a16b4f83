"""The comparison of config, plugins, state and live resources."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dtm.app.invocation import RunOptions
from dtm.app.run import Run
from dtm.app.workspace import Workspace
from engine.errors import DtmError, LockError, UsageError
from engine.plan import Plan


class Verification(msgspec.Struct, frozen=True):
    """The plan that shows the differences, or the error that prevented the comparison."""

    plan: Plan | None = None
    error: DtmError | None = None

    @property
    def in_sync(self) -> bool:
        """True if nothing differs."""
        return self.plan is not None and self.plan.is_empty


def verify(open_workspace: Callable[[], Workspace], options: RunOptions) -> Verification:
    """Compare config, plugins, state and live resources.

    Raises LockError and UsageError; every other error is part of the result.
    """
    try:
        return Verification(Run(open_workspace(), options).plan())
    # A held lock or a wrong argument says nothing about config and state, so it is not a result.
    except (LockError, UsageError):
        raise
    except DtmError as error:
        return Verification(error=error)
