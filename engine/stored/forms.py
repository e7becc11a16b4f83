"""Entries and values in their stored form, as in the document and in the records of the log."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from engine.address import Address, instance_problem, name_problem
from engine.errors import StateError
from engine.state import Pending, Resource, StateEntry
from engine.values import SECRET_KEY, Attributes, Digest, Json, Value

RESERVED = re.compile(r"\$*(id|outputs)")
ATOMS = frozenset({str, int, bool, type(None)})
SECRET = re.compile(r"\$*\$secret")


class ToolForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`state.StateEntry`.

    Edges are dotted addresses; `resource` is flat: attributes, `id` and `outputs`.
    """

    name: str
    instance: str = msgspec.field(name="instanceID")
    depends_on: list[str] = msgspec.field(name="dependsOn")
    options: dict[str, Any]
    protected: bool
    resource: dict[str, Any] | None = None
    pending: Pending | None = None

    @property
    def key(self) -> str:
        """`a_b`, the key under `tools`."""
        return f"{self.name}_{self.instance}"


def encode_value(value: object) -> Json:
    """Write a value as JSON.

    Digests become `{"$secret": ...}`; a user's own key of that name is escaped with one more `$`.
    Raises StateError for what must never be stored (secrets, unknowns) or cannot be (NaN, foreign
    types).
    """
    kind = type(value)
    if kind in ATOMS:
        return cast("Json", value)
    if kind is dict:
        return encode_map(cast("dict[str, Value]", value))
    if kind is list:
        return [
            item if type(item) in ATOMS else encode_value(item)
            for item in cast("list[Json]", value)
        ]
    return _unusual(value)


def _unusual(value: object) -> Json:
    """Write what is rare, so that the common case of `plain` stays fast."""
    match value:
        case float() if math.isfinite(value):
            return value
        case Digest():
            return {SECRET_KEY: {"digest": value.digest, "from": list(value.sources)}}
        case str() | int():
            return value
        case Mapping():
            return encode_map(cast("Attributes", value))
        case list() | tuple():
            return [encode_value(item) for item in cast("list[object]", value)]
        case float():
            raise StateError(f"the number {value} cannot be stored in a state")
        case _:
            raise StateError(f"a value of type {type(value).__name__} cannot be stored in a state")


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise StateError(f"the key {key!r} is no text and cannot be stored in a state")
    # An escaped key gets one more $ too, so that reading takes off exactly one.
    return f"${key}" if key.startswith("$") and SECRET.fullmatch(key) else key


def decode_value(value: object) -> Value:
    """Read a value from its stored form, the inverse of `plain`.

    Raises StateError on a malformed secret.
    """
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        if SECRET_KEY in found:
            return _digest(found)
        return decode_map(found)
    if isinstance(value, list):
        return [decode_value(item) for item in cast("list[object]", value)]
    return cast("Value", value)


class _SecretForm(msgspec.Struct, forbid_unknown_fields=True):
    digest: str
    sources: tuple[str, ...] = msgspec.field(name="from")


def _digest(found: dict[str, Any]) -> Digest:
    if len(found) != 1:
        raise StateError(f'"{SECRET_KEY}" must stand alone in its map')
    try:
        form = msgspec.convert(found[SECRET_KEY], _SecretForm)
    except msgspec.ValidationError as error:
        raise StateError(f'"{SECRET_KEY}": {error}') from error
    return Digest(form.digest, form.sources)


def encode_map(values: Attributes) -> dict[str, Any]:
    """Write a whole map of options, attributes or outputs, as `plain` does."""
    return {
        (k if type(k) is str and k[:1] != "$" else _key(k)): (
            v if type(v) in ATOMS else encode_value(v)
        )
        for k, v in values.items()
    }


def decode_map(values: dict[str, Any]) -> dict[str, Value]:
    """Read a whole map that is not a secret itself, as `rich` does."""
    return {
        (k[1:] if k.startswith("$$") and SECRET.fullmatch(k) else k): decode_value(v)
        for k, v in values.items()
    }


def resource_form(resource: Resource) -> dict[str, Any]:
    """Write DevStream's flat map of attributes, `id` and `outputs`.

    An attribute that is itself called `id` or `outputs` gets a `$` before its name.
    """
    form: dict[str, Any] = {
        (f"${k}" if RESERVED.fullmatch(k) else k): encode_value(v)
        for k, v in resource.attributes.items()
    }
    form["id"] = resource.id
    form["outputs"] = encode_map(resource.outputs)
    return form


def resource_from_form(form: Mapping[str, Any], *, unescaped: bool = False) -> Resource:
    """Read a `resource_form`; a DevStream resource has no `id` and may lack `outputs`."""
    attributes = dict(form)
    identity, outputs = attributes.pop("id", ""), attributes.pop("outputs", {})
    if not isinstance(identity, str) or not isinstance(outputs, dict):
        raise StateError('a resource\'s "id" must be text and its "outputs" a map')
    found = cast("dict[str, Any]", outputs)
    if unescaped:
        return Resource(identity, attributes, found)
    decoded = {
        (k[1:] if k.startswith("$") and RESERVED.fullmatch(k) else k): decode_value(v)
        for k, v in attributes.items()
    }
    return Resource(identity, decoded, decode_map(found))


def tool_form(entry: StateEntry) -> ToolForm:
    """Write an entry as stored. Raises StateError as `plain`, naming the address."""
    try:
        return ToolForm(
            entry.address.name,
            entry.address.instance,
            [edge.dotted for edge in entry.depends_on],
            encode_map(entry.options),
            entry.protected,
            resource_form(entry.resource) if entry.resource else None,
            entry.pending,
        )
    except StateError as error:
        raise StateError(error.message, hint=error.hint, where=str(entry.address)) from error


def entry_from_form(
    form: ToolForm, known: Mapping[str, Address], *, unescaped: bool = False
) -> StateEntry:
    """Read an entry from its stored form; `known` maps dotted addresses met before.

    `literal`: no key in it starts with `$`, so values are what they look like. Raises StateError
    naming the tool.
    """
    problem = name_problem(form.name) or instance_problem(form.instance)
    if problem:
        raise StateError(f"tool {form.key}: {problem}")
    try:
        return StateEntry(
            # Shared with the edges that name it: parsing each edge again would cost more.
            known.get(f"{form.name}.{form.instance}") or Address(form.name, form.instance),
            tuple([known.get(text) or Address.parse(text) for text in form.depends_on]),
            form.options if unescaped else decode_map(form.options),
            None
            if form.resource is None
            else resource_from_form(form.resource, unescaped=unescaped),
            form.protected,
            form.pending,
        )
    except (StateError, ValueError) as error:
        raise StateError(f"tool {form.key}: {error}") from error
