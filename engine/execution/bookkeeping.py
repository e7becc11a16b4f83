"""What an apply records besides its operations: new names, root outputs."""

from __future__ import annotations

from msgspec.structs import replace

from engine.address import Address
from engine.config import Config
from engine.errors import DtmError
from engine.execution.jobs import Preparation
from engine.language.references import resolve
from engine.plan import Plan
from engine.session.session import Session
from engine.values import Value, holds_unknown


def record_moves(plan: Plan, session: Session) -> None:
    """Tools under a new name are recorded under it, and whatever depended on the old one depends on the new."""
    moves = {
        change.previous: change.address for change in plan.changes if change.previous is not None
    }
    dependents: dict[Address, list[Address]] = {old: [] for old in moves}
    for address, dependent in session.state.entries.items() if moves else ():
        for other in moves.keys() & set(dependent.depends_on):
            dependents[other].append(address)
    recorded: dict[Address, Address] = {}
    for old, new in moves.items():
        entry = session.entry(old)
        if entry is not None:
            recorded[old] = new
            session.moved(
                old,
                replace(entry, address=new),
                [recorded.get(each, each) for each in dependents[old]],
            )


def record_outputs(
    plan: Plan, config: Config, session: Session, preparation: Preparation
) -> dict[str, DtmError]:
    """Record root outputs with real values; one that waits for a tool that was not applied stays as it was.

    Returns what is wrong with those that could not be worked out.
    """
    recorded, problems = session.state.outputs, dict[str, DtmError]()
    values: dict[str, Value] = dict(plan.outputs) if plan.destroy else {}
    for name, value in () if plan.destroy else config.outputs.items():
        try:
            found = resolve(value, preparation.lookup)
        except DtmError as error:
            problems[name] = error
            continue
        if not holds_unknown(found):
            values[name] = found
        elif name in recorded:
            values[name] = recorded[name]
    session.set_outputs(values)
    return problems
