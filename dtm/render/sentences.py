"""The sentences of plans and runs, in one place so that every output uses the same words.

Scripts search logs for DevStream's sentences. Those that are still used are the same to the letter.
"""

from __future__ import annotations

import re
from typing import Final

from engine.address import Address
from engine.plan import Action, Change, ChangeSource, Plan, Reason

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
    Reason.VANISHED: "it is gone",
    Reason.REMOVED: "no longer in the config",
    Reason.INTERRUPTED: "an earlier run was interrupted",
    Reason.FAILED: "the last attempt failed",
    Reason.INPUT: "its inputs changed",
    Reason.DEPENDENCY: "it depends on a tool that changes",
}
"""The reasons that a plan names. The others, such as `NEW`, follow from the action."""
_FOUND: Final = {
    Reason.NEW: "is in the config, but not in the state",
    Reason.DRIFTED: "changed outside dtm",
    Reason.VANISHED: "is gone, but still in the state",
    Reason.REMOVED: "is in the state, but no longer in the config",
    Reason.REQUESTED: "is in the state, but no longer in the config",
    Reason.INTERRUPTED: "was interrupted in an earlier run",
    Reason.FAILED: "failed in an earlier run",
    Reason.INPUT: "its inputs changed since the last apply",
    Reason.DEPENDENCY: "depends on a tool that changed",
    Reason.UNCHANGED: "is unchanged, only its entry in the state is outdated",
}


COUNTED: Final = {
    Reason.INTERRUPTED: "unfinished",
    Reason.DEPENDENCY: "depending on a change",
    Reason.INPUT: "with changed inputs",
}
"""The words after the number of changes with a reason, unless the name of the reason fits."""


def started(command: str) -> str:
    """Return `Apply started.`."""
    return f"{command.capitalize()} started."


def finished(command: str) -> str:
    """Return `Apply finished.`."""
    return f"{command.capitalize()} finished."


def using(backend: str, location: str) -> str:
    """Return `Using s3 backend. State: s3://bucket/devstream.state`."""
    return f"Using {backend} backend. State: {location}"


def failed(command: str, reason: str) -> str:
    """Return `Apply failed => reason.`, or `Delete error: reason.` as DevStream says."""
    stop = "" if reason.endswith((".", "!", "?")) else "."
    return (
        f"{command.capitalize()} {'error:' if command == 'delete' else 'failed =>'} {reason}{stop}"
    )


def interrupted(command: str, reason: str) -> str:
    """Return `Apply interrupted => reason.`."""
    return f"{command.capitalize()} interrupted => {reason}."


def nothing_to_do(plan: Plan) -> str:
    """Return the sentence of an empty plan."""
    return NOTHING_TO_DESTROY if plan.destroy else NOTHING_TO_APPLY


def other_session(plan: Plan) -> str:
    """Name the other session that is changing this state."""
    return f"Another session is running on this state: {_to_the_second(plan.in_progress)}"


def in_progress(action: str, who: str) -> str:
    """Describe what another session is doing with a tool; `who` includes the time it began."""
    return f"{action.capitalize()} in progress by {_to_the_second(who)}"


def _to_the_second(text: str) -> str:
    return re.sub(r"(:\d\d:\d\d)\.\d+", r"\1", text)


def will_refuse(command: str, reason: str) -> str:
    """Announce in a plan that a command would refuse it."""
    return f"{command.capitalize()} will refuse this plan: {reason}"


def large_loss(tools: int) -> tuple[str, str]:
    """Return the question about a plan that deletes many tools, and the only answer that agrees."""
    answer = f"yes, {tools}"
    return (
        f"{tools} tools will be deleted or replaced, more than 30 %. To go on, enter: {answer}",
        answer,
    )


def separator(text: str) -> str:
    """Return the line that separates the steps of a log."""
    return f"-------------------- [  {text}  ] --------------------"


def processing(address: Address, action: Action) -> str:
    """Return `Processing: (file/hello) -> Create ...`."""
    return f"Processing: ({address}) -> {action.value.capitalize()} ..."


def done(address: Address, action: Action) -> str:
    """Return `Tool (file/hello) Create done.`; DevStream writes delete in lower case."""
    name = "delete" if action is Action.DELETE else action.value.capitalize()
    return f"Tool ({address}) {name} done."


def change_failed(address: Address, action: Action) -> str:
    """Return `file/hello Create failed`."""
    return f"{address} {action.value.capitalize()} failed"


def planned(change: Change) -> str:
    """Describe what an apply will do with a tool and why. The text follows the tool's address."""
    match change.action:
        case Action.KEEP:
            return "unchanged, only its entry in the state will be rewritten"
        case Action.MOVE:
            return f"renamed from {change.previous}, no resource will change"
        case Action.FORGET:
            return "will be removed from the state, no resource will be deleted"
        case Action.RECOVER if change.live is None:
            # An apply refuses this plan: only the user can find out what has happened.
            return "must be resolved: an earlier run was interrupted"
        case Action.UPDATE if change.reason is Reason.DRIFTED:
            return "changed outside dtm, will be restored"
        case Action.CREATE if change.reason is Reason.VANISHED:
            return "will be created again: it is gone"
        case _:
            why = _cause(change) or _WHY.get(change.reason, "")
            return f"will be {DONE[change.action]}" + (f": {why}" if why else "")


def found(change: Change) -> str:
    """Describe what `drift` or `verify` found about a tool, not what an apply would do.

    The text follows the tool's address.
    """
    if change.reason is Reason.RENAMED:
        return f"is in the state as {change.previous}"
    if change.reason is Reason.CHANGED:
        return f"{_changed(change)} since the last apply"
    return _FOUND[change.reason]


def _cause(change: Change) -> str:
    """Name the options that caused the change, "" if no option did."""
    names = [".".join(map(str, field.path)) for field in change.fields if field.replaces]
    if change.action is Action.REPLACE and names:
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        return f"{listed} cannot be changed in place"
    return _changed(change) if change.reason is Reason.CHANGED else ""


def _changed(change: Change) -> str:
    options = {field.path[0] for field in change.fields if field.source is ChangeSource.OPTION}
    return "options changed" if len(options) > 1 else "option changed"
