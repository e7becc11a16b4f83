"""A plan as steps: which call may be made when.

A replace is two steps, since what depends on a tool must be gone before the tool is, and comes back after it did.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec

from engine.address import Address
from engine.graph import CycleError, order
from engine.plan import Action, Change, Plan
from engine.state import State


class Phase(Enum):
    """What a step does to a tool."""

    END = "end"
    MAKE = "make"


class Step(msgspec.Struct, frozen=True):
    """One phase of one change."""

    address: Address
    phase: Phase

    def __str__(self) -> str:
        return str(self.address)


ENDS = frozenset({Action.DELETE, Action.FORGET, Action.REPLACE})
MAKES = frozenset(Action) - {Action.DELETE, Action.FORGET}


def steps(plan: Plan, state: State) -> dict[Step, list[Step]]:
    """The steps of a plan, each with the steps that it waits for; a kept tool that needs no rewriting has none.

    Making waits for what the config says it depends on. Ending waits for the end of every tool that the state says
    depends on it, and, where that leaves a way through, for the tools that are changed to do without it; a replaced tool
    is ended only when all that its new self needs is there.
    """
    changes = {change.address: change for change in plan.changes if change.action is not Action.KEEP or change.rewrite}
    edges: dict[Step, list[Step]] = {}
    for change in changes.values():
        if change.action in ENDS:
            edges[Step(change.address, Phase.END)] = []
        if change.action in MAKES:
            edges[Step(change.address, Phase.MAKE)] = []
    _wait_to_make(edges, changes)
    _wait_to_end(edges, changes, state)
    wishes = _wishes(edges, changes, state)
    try:
        wished = {step: waits + wishes.get(step, []) for step, waits in edges.items()}
        order(wished)
    except CycleError:
        return edges
    return wished


def _wait_to_make(edges: dict[Step, list[Step]], changes: Mapping[Address, Change]) -> None:
    for change in changes.values():
        step = Step(change.address, Phase.MAKE)
        if step in edges:
            waits = [Step(address, Phase.MAKE) for address in change.depends_on]
            edges[step] = [wait for wait in [*waits, Step(change.address, Phase.END)] if wait in edges]


def _wait_to_end(edges: dict[Step, list[Step]], changes: Mapping[Address, Change], state: State) -> None:
    for address, change in changes.items():
        ended = Step(address, Phase.END)
        if ended in edges:
            for other in recorded_edges(change, state):
                if (before := Step(other, Phase.END)) in edges:
                    edges[before].append(ended)


def _wishes(edges: Mapping[Step, list[Step]], changes: Mapping[Address, Change], state: State) -> dict[Step, list[Step]]:
    """What is better waited for, if it does not close a circle."""
    wishes: dict[Step, list[Step]] = {}
    for address, change in changes.items():
        ended, made = Step(address, Phase.END), Step(address, Phase.MAKE)
        if change.action is Action.REPLACE:
            waits = [Step(other, Phase.MAKE) for other in change.depends_on]
            wishes.setdefault(ended, []).extend(wait for wait in waits if wait in edges)
        elif made in edges:
            for other in recorded_edges(change, state):
                leaving = changes.get(other)
                if leaving is not None and leaving.action in (Action.DELETE, Action.FORGET):
                    wishes.setdefault(Step(other, Phase.END), []).append(made)
    return wishes


def recorded_edges(change: Change, state: State) -> tuple[Address, ...]:
    """What the thing as it is now depends on."""
    entry = state.entries.get(change.address)
    return entry.depends_on if entry else change.depends_on
