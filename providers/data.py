"""The `data` provider: keeps a value that lives only in the state.

It passes values between tools, and serves for teaching and for benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from engine.ports import BY_ADDRESS, Call, Provider
from engine.schema import Field, Options, Outputs
from engine.state import Resource
from engine.values import UNKNOWN, Value


class DataOptions(Options, frozen=True, kw_only=True):
    """The value to remember."""

    input: Annotated[
        Any, Field("any value; comes out again as `output`", example={"greeting": "hello"})
    ] = None
    triggers_replace: Annotated[Any, Field("any value, for nothing but this", replace=True)] = None


class DataOutputs(Outputs, frozen=True, kw_only=True):
    """The outputs that references may name."""

    id: Annotated[str, Field("the tool's address, as in `data.a`")]
    output: Annotated[Any, Field("the value of `input`")]


class DataProvider:
    """A value that lives only in the state: it goes in as `input` and comes out as `output`."""

    plugin = "data"
    options = DataOptions
    outputs = DataOutputs

    def identity(self, options: DataOptions) -> str | None:
        """Name it by its address: there is nothing outside the state to look for."""
        return BY_ADDRESS

    def predict(self, options: DataOptions, resource: Resource | None) -> Mapping[str, Value]:
        """Predict all outputs, but for the id before the first run."""
        return {"id": resource.id if resource else UNKNOWN, "output": options.input}

    def read(self, options: DataOptions, resource: Resource | None, call: Call) -> Resource | None:
        """Report what was recorded: nothing else can change it."""
        return resource

    def create(self, options: DataOptions, call: Call) -> Resource:
        """Remember `input`."""
        address = call.address.dotted
        return Resource(address, {}, {"id": address, "output": options.input})

    def update(self, options: DataOptions, resource: Resource, call: Call) -> Resource:
        """Remember the new `input`."""
        return self.create(options, call)

    def delete(self, options: DataOptions, resource: Resource, call: Call) -> None:
        """Do nothing: there is nothing outside the state to remove."""


_conforms: type[Provider[DataOptions]] = DataProvider
