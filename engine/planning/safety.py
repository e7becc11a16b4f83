"""Protections and thresholds: which plans are refused, and which need more than a yes."""

from __future__ import annotations

from engine.errors import UnsafePlanError
from engine.plan import Action, Plan, Reason

SHARE = 0.3
LEAST = 10

_ENDING = (Action.DELETE, Action.REPLACE)


def protected(plan: Plan) -> UnsafePlanError | None:
    """Why a plan is refused whatever is forced: a protected tool would be deleted or replaced. None if it is not."""
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
    """How many tools a person must confirm the loss of (`yes, N`), 0 if none.

    Asked if an apply deletes or replaces more than 30 % of at least 10 recorded tools; not for a destroy or delete, which
    say what they do, nor with `force`. Raises what `protected` finds.
    """
    if refused := protected(plan):
        raise refused
    ending = [change for change in plan if change.action in _ENDING]
    recorded = sum(
        not (change.action is Action.CREATE and change.reason is Reason.NEW)
        for change in plan.changes
    )
    asked = not (force or plan.destroy) and recorded >= LEAST and len(ending) > SHARE * recorded
    return len(ending) if asked else 0
