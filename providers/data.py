"""The `data` provider, which keeps a value in the state and touches no other system.

Use it to pass values between tools. The tutorial and the benchmarks use it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from engine.ports import BY_ADDRESS, Call, Provider
from engine.schema import Field, Options, Outputs
from engine.state import Resource
from engine.values import UNKNOWN, Value


class DataOptions(Options, frozen=True, kw_only=True):
    """The value to keep."""

    input: Annotated[
        Any,
        Field("Any value. It is available as the output `output`.", example={"greeting": "hello"}),
    ] = None
    triggers_replace: Annotated[
        Any, Field("Any value. dtm uses it only to detect a change.", replace=True)
    ] = None


class DataOutputs(Outputs, frozen=True, kw_only=True):
    """The outputs of `data`."""

    id: Annotated[str, Field("Address of the tool, for example `data.a`.")]
    output: Annotated[Any, Field("The value of `input`.")]


class DataProvider:
    """A value that is kept in the state only. Set it as `input`, refer to it as `output`."""

    plugin = "data"
    options = DataOptions
    outputs = DataOutputs

    def identity(self, options: DataOptions) -> str | None:
        """Use the address, because no resource exists outside the state."""
        return BY_ADDRESS

    def predict(self, options: DataOptions, resource: Resource | None) -> Mapping[str, Value]:
        """Predict all outputs. `id` is unknown until the first run."""
        return {"id": resource.id if resource else UNKNOWN, "output": options.input}

    def read(self, options: DataOptions, resource: Resource | None, call: Call) -> Resource | None:
        """Return the recorded resource, because nothing outside dtm can change it."""
        return resource

    def create(self, options: DataOptions, call: Call) -> Resource:
        """Return a resource with `input` as its output."""
        address = call.address.dotted
        return Resource(address, {}, {"id": address, "output": options.input})

    def update(self, options: DataOptions, resource: Resource, call: Call) -> Resource:
        """Return a resource with the new `input` as its output."""
        return self.create(options, call)

    def delete(self, options: DataOptions, resource: Resource, call: Call) -> None:
        """Do nothing, because no resource exists outside the state."""


_conforms: type[Provider[DataOptions]] = DataProvider
