"""The sentences that people search for.

Where DevStream has one for a case, this is that sentence to the letter.
"""

from __future__ import annotations

import re
from typing import Final

from engine.address import Address
from engine.plan import Action, Change, Plan, Reason

NOTHING_TO_APPLY: Final = "No changes done since last apply. There is nothing to do."
NOTHING_TO_DELETE: Final = "Nothing needs to be deleted. There is nothing to do."
NOTHING_TO_DESTROY: Final = "No tools have been deployed now. There is nothing to do."
CANCELLED: Final = "Cancelled, nothing was changed."
EXECUTING: Final = "Start executing the plan."
ALL_DONE: Final = {
    "apply": "All plugins applied successfully.",
    "delete": "All plugins deleted successfully.",
    "destroy": "All plugins destroyed successfully.",
}
VERIFIED: Final = "Verify succeeded."

DONE: Final = {
    Action.KEEP: "kept",
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.REPLACE: "replaced",
    Action.DELETE: "deleted",
    Action.MOVE: "moved",
    Action.FORGET: "forgotten",
    Action.RECOVER: "recovered",
}
DOING: Final = {
    Action.KEEP: "keeping",
    Action.CREATE: "creating",
    Action.UPDATE: "updating",
    Action.REPLACE: "replacing",
    Action.DELETE: "deleting",
    Action.MOVE: "moving",
    Action.FORGET: "forgetting",
    Action.RECOVER: "recovering",
}

_WHY: Final = {
    Reason.NEW: "found in config but doesn't exist in the state",
    Reason.CHANGED: "config drifted from the state",
    Reason.DRIFTED: "drifted from the state",
    Reason.VANISHED: "state found but it seems the tool isn't created",
    Reason.INTERRUPTED: "was left unfinished by an earlier run",
    Reason.FAILED: "failed in an earlier run",
    Reason.INPUT: "its inputs changed since the last apply",
    Reason.DEPENDENCY: "depends on a tool that changes",
}
_AFTERWORD: Final = {
    Reason.REMOVED: "It is no longer in the config.",
    Reason.REQUESTED: "It was asked for.",
}


COUNTED: Final = {
    Reason.INTERRUPTED: "unfinished",
    Reason.DEPENDENCY: "depending on a change",
    Reason.INPUT: "with changed inputs",
}


def started(command: str) -> str:
    """`Apply started.`."""
    return f"{command.capitalize()} started."


def finished(command: str) -> str:
    """`Apply finished.`."""
    return f"{command.capitalize()} finished."


def failed(command: str, reason: str) -> str:
    """`Apply failed => reason.`; delete has a sentence of its own."""
    stop = "" if reason.endswith((".", "!", "?")) else "."
    return (
        f"{command.capitalize()} {'error:' if command == 'delete' else 'failed =>'} {reason}{stop}"
    )


def interrupted(command: str, reason: str) -> str:
    """`Apply interrupted => reason.`."""
    return f"{command.capitalize()} interrupted => {reason}."


def nothing_to_do(plan: Plan) -> str:
    """Say that an empty plan does nothing."""
    return NOTHING_TO_DESTROY if plan.destroy else NOTHING_TO_APPLY


def in_progress(plan: Plan) -> str:
    """Name the run that works on the state."""
    return f"Another run is at work on this state: {_to_the_second(plan.in_progress)}"


def under_way(action: str, who: str) -> str:
    """Say what another run does to a tool right now; `who` says since when, too."""
    return f"{action.capitalize()} in progress by {_to_the_second(who)}"


def _to_the_second(text: str) -> str:
    return re.sub(r"(:\d\d:\d\d)\.\d+", r"\1", text)


def will_refuse(command: str, reason: str) -> str:
    """Announce a refusal in a plan."""
    return f"{command.capitalize()} will refuse this plan: {reason}"


def large_loss(tools: int) -> tuple[str, str]:
    """Ask about a plan that loses many tools.

    Returns the question, and the one answer that means yes.
    """
    answer = f"yes, {tools}"
    return (
        f"{tools} tools will be deleted or replaced, more than 30 %. To go on, answer: {answer}",
        answer,
    )


def separator(text: str) -> str:
    """The line that sets one step of a log apart from the next."""
    return f"-------------------- [  {text}  ] --------------------"


def processing(address: Address, action: Action) -> str:
    """`Processing: (n/i) -> Create ...`."""
    return f"Processing: ({address}) -> {action.value.capitalize()} ..."


def done(address: Address, action: Action) -> str:
    """`Tool (n/i) Create done.`; DevStream writes delete in lower case."""
    name = "delete" if action is Action.DELETE else action.value.capitalize()
    return f"Tool ({address}) {name} done."


def change_failed(address: Address, action: Action, message: str) -> str:
    """`n/i Create failed with error: ...`."""
    return f"{address} {action.value.capitalize()} failed with error: {message}"


def about(change: Change) -> tuple[str, str]:
    """A planned change in words: what comes after `Tool (n/i) `, and a second sentence or ""."""
    will = _will(change)
    if change.action is Action.KEEP:
        return "stays as it is.", "Only its entry in the state is rewritten."
    if change.action is Action.MOVE:
        was = f"was ({change.previous}) before, " if change.previous else ""
        return f"{was}{will}.", "Nothing is called."
    why = _WHY.get(change.reason)
    if change.action is Action.DELETE and change.reason not in (Reason.INTERRUPTED, Reason.FAILED):
        why = None
    return f"{why}, {will}." if why else f"{will}.", _afterword(change)


def found(change: Change) -> str:
    """Say what a look found of a tool; nothing is going to be done.

    It stands behind `Tool (n/i) `.
    """
    match change.reason:
        case Reason.VANISHED:
            return "is in the state, but it is gone."
        case Reason.REMOVED | Reason.REQUESTED:
            return "is in the state, but not in the config any more."
        case Reason.RENAMED:
            return f"is in the state as ({change.previous})."
        case Reason.UNCHANGED:
            return "is as it should be. Only its entry in the state is outdated."
        case _:
            return f"{_WHY[change.reason]}."


def _will(change: Change) -> str:
    return (
        "will be adopted and compared"
        if change.action is Action.RECOVER
        else f"will be {DONE[change.action]}"
    )


def _afterword(change: Change) -> str:
    if change.action is Action.REPLACE:
        return _forced(change)
    if change.action is Action.FORGET:
        return "Nothing is called, only its entry leaves the state."
    return _AFTERWORD.get(change.reason, "")


def _forced(change: Change) -> str:
    fields = [".".join(map(str, field.path)) for field in change.fields if field.replaces]
    if not fields:
        return _AFTERWORD.get(change.reason, "")
    names = fields[0] if len(fields) == 1 else f"{', '.join(fields[:-1])} and {fields[-1]}"
    return f"{names} cannot be changed in place."
