"""The steps of a plan and their order.

A replace has two steps. If `b` depends on `a` and both are replaced, the order is: remove `b`,
remove `a`, create `a`, create `b`.
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
    """The phase of a change: delete or forget the old resource, or do everything else."""

    REMOVE = "remove"
    APPLY = "apply"


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

    APPLY waits for the dependencies in the config. REMOVE waits for the removal of every tool that
    depends on this one according to the state. Two kinds of edges are preferred, but left out if
    they would close a cycle. A deleted tool waits for the tools that are changed to no longer
    depend on it. The removal of a replaced tool waits for all that the new one depends on. A kept
    tool has no step, unless its entry must be rewritten.
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
        if change.action in APPLYING:  # a replace is in both sets
            edges[Step(change.address, Phase.APPLY)] = []
    _add_apply_edges(edges, changes)
    _add_removal_edges(edges, changes, state)
    # One kind after the other: an edge of the second kind must not cause one of the first kind to
    # be left out.
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
            # A replaced tool also waits for its own removal: both resources have one identity.
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
    """Return edges: a removed tool waits for tools that are changed to no longer depend on it.

    If such a change fails, the tool still needs the one that was to be removed.
    """
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
    """Return edges: the removal of a replaced tool waits for all that the new one depends on.

    If one of these fails, the old resource is still there.
    """
    preferred: Edges = {}
    for address, change in changes.items():
        if change.action is Action.REPLACE:
            waits = (Step(other, Phase.APPLY) for other in change.depends_on)
            preferred[Step(address, Phase.REMOVE)] = [wait for wait in waits if wait in edges]
    return preferred


def _add_preferred(edges: Edges, preferred: Edges) -> Edges:
    """Return the edges together with all preferred ones that do not close a cycle."""
    if not any(preferred.values()):
        return edges
    combined = {step: waits + preferred.get(step, []) for step, waits in edges.items()}
    try:
        # Usually there is no cycle, and one sort shows it.
        topological_order(combined)
    except CycleError:
        # Only an edge between two steps of one cycle can close it; all others are added.
        cycle = component_numbers(combined)
        free = {
            step: [wait for wait in waits if cycle[wait] != cycle[step]]
            for step, waits in preferred.items()
        }
        return {step: waits + free.get(step, []) for step, waits in edges.items()}
    return combined


def recorded_edges(change: Change, state: State) -> tuple[Address, ...]:
    """Return the recorded dependencies of a tool; those of the config if it has no entry."""
    entry = state.entries.get(change.address)
    return entry.depends_on if entry else change.depends_on
