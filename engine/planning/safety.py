"""Protections and thresholds: plans that are refused, and plans that need more than a yes."""

from __future__ import annotations

from engine.errors import UnsafePlanError
from engine.plan import Action, Plan, Reason

MAX_DESTRUCTIVE_SHARE = 0.3
MIN_TOOLS_FOR_CHECK = 10

_ENDING = (Action.DELETE, Action.REPLACE)


def protection_error(plan: Plan) -> UnsafePlanError | None:
    """Give the error of a plan that would delete or replace a protected tool, forced or not.

    None if it would not.
    """
    names = sorted(
        str(change.address) for change in plan if change.protected and change.action in _ENDING
    )
    if not names:
        return None
    return UnsafePlanError(
        f"protected by lifecycle.preventDestroy: {', '.join(names)}",
        hint="set lifecycle.preventDestroy of these tools to false, apply that, and try again",
    )


def check(plan: Plan, *, force: bool = False) -> int:
    """Count the tools whose loss the user must confirm (`yes, N`); 0 if none.

    An apply asks if it deletes or replaces more than 30 % of at least 10 recorded tools, unless
    `force` is given. A destroy or delete does not: it says what it does. Raises the error of
    `protected`.
    """
    if refused := protection_error(plan):
        raise refused
    ending = [change for change in plan if change.action in _ENDING]
    # New tools do not count: they would make a large share of losses look small.
    recorded = sum(
        not (change.action is Action.CREATE and change.reason is Reason.NEW)
        for change in plan.changes
    )
    asked = (
        not (force or plan.destroy)
        # One tool of three is a large share already: small states would ask at every delete.
        and recorded >= MIN_TOOLS_FOR_CHECK
        and len(ending) > MAX_DESTRUCTIVE_SHARE * recorded
    )
    return len(ending) if asked else 0
