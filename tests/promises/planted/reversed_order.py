"""A planted bug: tools are deleted without waiting for those that depend on them."""

from collections.abc import Mapping

import engine.execution.steps
from engine.address import Address
from engine.execution.steps import Step
from engine.plan import Change
from engine.state import State


def _nothing(
    edges: dict[Step, list[Step]], changes: Mapping[Address, Change], state: State
) -> None:
    return None


engine.execution.steps._add_removal_edges = _nothing
