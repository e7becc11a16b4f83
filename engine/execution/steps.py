"""Steps of a plan: which call may be made when.

A replace is two steps, end and make: a tool that depends on the replaced one, and ends as well,
ends before it and is made after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeAlias

import msgspec

from engine.address import Address
from engine.graph import CycleError, component_numbers, topological_order
from engine.plan import Action, Change, Plan
from engine.state import State

Changes: TypeAlias = Mapping[Address, Change]


class Phase(Enum):
    """The two things that a step can do to a tool."""

    REMOVE = "end"
    APPLY = "make"


class Step(msgspec.Struct, frozen=True):
    """One phase of one change."""

    address: Address
    phase: Phase

    def __str__(self) -> str:
        return str(self.address)


Edges: TypeAlias = dict[Step, list[Step]]
"""Steps, each with the steps that it waits for."""

REMOVING = frozenset({Action.DELETE, Action.FORGET, Action.REPLACE})
APPLYING = frozenset(Action) - {Action.DELETE, Action.FORGET}


def plan_steps(plan: Plan, state: State) -> Edges:
    """Return the steps of a plan, each with the steps that it waits for.

    Making a tool waits for its dependencies in the config. Removing it waits for the end of every
    tool that depends on it according to the state. Two more edges are wishes, granted unless they
    close a circle: a deleted tool waits for the tools that are changed to do without it, and the
    end of a replaced tool for all that its new self needs. A kept tool that needs no rewriting has
    no step.
    """
    changes = {
        change.address: change
        for change in plan.changes
        if change.action is not Action.KEEP or change.rewrite
    }
    edges: Edges = {}
    for change in changes.values():
        if change.action in REMOVING:
            edges[Step(change.address, Phase.REMOVE)] = []
        if change.action in APPLYING:  # a replace is among both
            edges[Step(change.address, Phase.APPLY)] = []
    _add_apply_edges(edges, changes)
    _add_removal_edges(edges, changes, state)
    # One after the other: a wish of the second kind must not cost one of the first kind.
    for preferred in (
        _dependents_first(edges, changes, state),
        _dependencies_first(edges, changes),
    ):
        edges = _add_preferred(edges, preferred)
    return edges


def _add_apply_edges(edges: Edges, changes: Changes) -> None:
    for change in changes.values():
        step = Step(change.address, Phase.APPLY)
        if step in edges:
            # A replaced tool waits for its own end too: old and new resource have one identity.
            waits = [Step(address, Phase.APPLY) for address in change.depends_on]
            edges[step] = [
                wait for wait in [*waits, Step(change.address, Phase.REMOVE)] if wait in edges
            ]


def _add_removal_edges(edges: Edges, changes: Changes, state: State) -> None:
    for address, change in changes.items():
        removed = Step(address, Phase.REMOVE)
        if removed in edges:
            for other in recorded_edges(change, state):
                if (before := Step(other, Phase.REMOVE)) in edges:
                    edges[before].append(removed)


def _dependents_first(edges: Edges, changes: Changes, state: State) -> Edges:
    """Let a tool end after those that are changed to do without it: they may fail, and need it."""
    preferred: Edges = {}
    for address, change in changes.items():
        applied = Step(address, Phase.APPLY)
        if applied in edges and change.action is not Action.REPLACE:
            for other in recorded_edges(change, state):
                leaving = changes.get(other)
                if leaving is not None and leaving.action in (Action.DELETE, Action.FORGET):
                    preferred.setdefault(Step(other, Phase.REMOVE), []).append(applied)
    return preferred


def _dependencies_first(edges: Edges, changes: Changes) -> Edges:
    """Let a replaced tool end only when all that its new self needs is there."""
    preferred: Edges = {}
    for address, change in changes.items():
        if change.action is Action.REPLACE:
            waits = (Step(other, Phase.APPLY) for other in change.depends_on)
            preferred[Step(address, Phase.REMOVE)] = [wait for wait in waits if wait in edges]
    return preferred


def _add_preferred(edges: Edges, preferred: Edges) -> Edges:
    """Return the edges with all wishes but those that close a circle."""
    if not any(preferred.values()):
        return edges
    combined = {step: waits + preferred.get(step, []) for step, waits in edges.items()}
    try:
        # Usually there is no circle, and one plain sort shows it.
        topological_order(combined)
    except CycleError:
        # Only an edge whose ends lie in one circle can close it; all other wishes are granted.
        circle = component_numbers(combined)
        free = {
            step: [wait for wait in waits if circle[wait] != circle[step]]
            for step, waits in preferred.items()
        }
        return {step: waits + free.get(step, []) for step, waits in edges.items()}
    return combined


def recorded_edges(change: Change, state: State) -> tuple[Address, ...]:
    """Return the dependencies of a tool as it is now."""
    entry = state.entries.get(change.address)
    return entry.depends_on if entry else change.depends_on
