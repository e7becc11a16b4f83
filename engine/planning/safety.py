"""Safety checks: plans that are refused, and plans that need an explicit confirmation."""

from __future__ import annotations

from engine.errors import UnsafePlanError
from engine.plan import Action, Plan, Reason

MAX_DESTRUCTIVE_SHARE = 0.3
"""The share of recorded tools that an apply may delete or replace without a confirmation."""

MIN_TOOLS_FOR_CHECK = 10
"""The share is checked only if at least this many tools are recorded."""

_DESTRUCTIVE = (Action.DELETE, Action.REPLACE)


def protection_error(plan: Plan) -> UnsafePlanError | None:
    """Return the error for a plan that would delete or replace a protected tool, or None.

    `--force` does not override a protection.
    """
    names = sorted(
        str(change.address) for change in plan if change.protected and change.action in _DESTRUCTIVE
    )
    if not names:
        return None
    return UnsafePlanError(
        f"protected by lifecycle.preventDestroy: {', '.join(names)}",
        hint="set lifecycle.preventDestroy of these tools to false, run dtm apply, and try again",
    )


def check(plan: Plan, *, force: bool = False) -> int:
    """Return the number N that the user must confirm by typing `yes, N`; 0 for no confirmation.

    N counts the deletions and replacements. An apply needs a confirmation if they are more than
    30 % of at least 10 recorded tools, unless `force` is given. A destroy or delete needs none:
    deleting is its purpose. Raises UnsafePlanError if the plan would delete or replace a protected
    tool.
    """
    if refused := protection_error(plan):
        raise refused
    destructive = [change for change in plan if change.action in _DESTRUCTIVE]
    # New tools are not counted: with many of them, the share of deletions would look small.
    recorded = sum(
        not (change.action is Action.CREATE and change.reason is Reason.NEW)
        for change in plan.changes
    )
    asked = (
        not (force or plan.destroy)
        # In a small state, even a few deletions exceed the share.
        and recorded >= MIN_TOOLS_FOR_CHECK
        and len(destructive) > MAX_DESTRUCTIVE_SHARE * recorded
    )
    return len(destructive) if asked else 0
