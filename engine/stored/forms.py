"""The stored form of entries and values, in state files and in the records of the commit log.

An example:

    encode_value({"token": Digest("ab", ("env TOKEN",))})
    # {"token": {"$secret": {"digest": "ab", "from": ["env TOKEN"]}}}
"""

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

# Names that the flat form of a resource uses itself, escaped by any number of `$`.
RESERVED = re.compile(r"\$*(id|outputs)")
# Without float: NaN and infinity must be refused.
ATOMS = frozenset({str, int, bool, type(None)})
SECRET = re.compile(r"\$*\$secret")


class ToolForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The stored form of a `state.StateEntry`.

    Dependencies are dotted addresses. `resource` is flat: attributes, `id` and `outputs`.
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
        """The key of this entry in `tools`, such as `file_hello`."""
        return f"{self.name}_{self.instance}"


def encode_value(value: object) -> Json:
    """Return the stored form of a value, which is plain JSON.

    A Digest becomes `{"$secret": ...}`. If a user's map has a key of this name, the key gets one
    more `$`. Raises StateError for a value that must not be stored (secrets, unknowns) or that
    cannot be stored (NaN, other types).
    """
    # Exact types first: nearly all values are of these kinds, and a large state has many.
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
    return _encode_rare_value(value)


def _encode_rare_value(value: object) -> Json:
    """Return the stored form of a rare value; `encode_value` handles the common ones, faster."""
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


def _escape_key(key: object) -> str:
    if not isinstance(key, str):
        raise StateError(f"the key {key!r} is not text and cannot be stored in a state")
    # A key that is already escaped gets one more $ as well, so that reading removes exactly one.
    return f"${key}" if key.startswith("$") and SECRET.fullmatch(key) else key


def decode_value(value: object) -> Value:
    """Return the value of a stored form, the inverse of `encode_value`.

    Raises StateError if a secret is malformed.
    """
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        if SECRET_KEY in found:
            return _decode_digest(found)
        return decode_map(found)
    if isinstance(value, list):
        return [decode_value(item) for item in cast("list[object]", value)]
    return cast("Value", value)


class _SecretForm(msgspec.Struct, forbid_unknown_fields=True):
    digest: str
    sources: tuple[str, ...] = msgspec.field(name="from")


def _decode_digest(found: dict[str, Any]) -> Digest:
    # Other keys of the map would be lost without an error.
    if len(found) != 1:
        raise StateError(f'"{SECRET_KEY}" must be the only key of its map')
    try:
        form = msgspec.convert(found[SECRET_KEY], _SecretForm)
    except msgspec.ValidationError as error:
        raise StateError(f'"{SECRET_KEY}": {error}') from error
    return Digest(form.digest, form.sources)


def encode_map(values: Attributes) -> dict[str, Any]:
    """Return the stored form of a map of options, attributes or outputs, see `encode_value`."""
    return {
        (k if type(k) is str and k[:1] != "$" else _escape_key(k)): (
            v if type(v) in ATOMS else encode_value(v)
        )
        for k, v in values.items()
    }


def decode_map(values: dict[str, Any]) -> dict[str, Value]:
    """Return the map of a stored form that is not a secret itself, see `decode_value`."""
    return {
        (k[1:] if k.startswith("$$") and SECRET.fullmatch(k) else k): decode_value(v)
        for k, v in values.items()
    }


def resource_form(resource: Resource) -> dict[str, Any]:
    """Return the flat map of attributes, `id` and `outputs`, in the layout of DevStream.

    An attribute with the name `id` or `outputs` gets a `$` before its name.
    """
    form: dict[str, Any] = {
        (f"${k}" if RESERVED.fullmatch(k) else k): encode_value(v)
        for k, v in resource.attributes.items()
    }
    form["id"] = resource.id
    form["outputs"] = encode_map(resource.outputs)
    return form


def resource_from_form(form: Mapping[str, Any], *, has_no_dollar_keys: bool = False) -> Resource:
    """Return the resource of a `resource_form`; one of DevStream may lack `id` and `outputs`."""
    attributes = dict(form)
    identity, outputs = attributes.pop("id", ""), attributes.pop("outputs", {})
    if not isinstance(identity, str) or not isinstance(outputs, dict):
        raise StateError('a resource\'s "id" must be text and its "outputs" a map')
    found = cast("dict[str, Any]", outputs)
    # No copy is needed: the caller discards the parsed state file.
    if has_no_dollar_keys:
        return Resource(identity, attributes, found)
    decoded = {
        (k[1:] if k.startswith("$") and RESERVED.fullmatch(k) else k): decode_value(v)
        for k, v in attributes.items()
    }
    return Resource(identity, decoded, decode_map(found))


def tool_form(entry: StateEntry) -> ToolForm:
    """Return the stored form of an entry. Raises StateError with the address."""
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
    form: ToolForm, known: Mapping[str, Address], *, has_no_dollar_keys: bool = False
) -> StateEntry:
    """Return the entry of a stored form.

    `known` maps dotted addresses to Addresses that exist already. `has_no_dollar_keys`: no key of
    the form starts with `$`, so that values need no conversion. Raises StateError with the tool.
    """
    problem = name_problem(form.name) or instance_problem(form.instance)
    if problem:
        raise StateError(f"tool {form.key}: {problem}")
    try:
        return StateEntry(
            # The tool and the tools that depend on it share one Address. This saves parsing.
            known.get(f"{form.name}.{form.instance}") or Address(form.name, form.instance),
            tuple([known.get(text) or Address.parse(text) for text in form.depends_on]),
            form.options if has_no_dollar_keys else decode_map(form.options),
            None
            if form.resource is None
            else resource_from_form(form.resource, has_no_dollar_keys=has_no_dollar_keys),
            form.protected,
            form.pending,
        )
    except (StateError, ValueError) as error:
        raise StateError(f"tool {form.key}: {error}") from error
