"""Marking: which values are secret because of where they stand or what they hold.

Sensitivity belongs to the value and travels with it.
"""

from __future__ import annotations

from msgspec.structs import replace

from engine.secrets.redaction import MIN_REDACTED_LENGTH
from engine.state import Resource
from engine.values import (
    Attributes,
    Digest,
    Secret,
    Unknown,
    Value,
    collect_sources,
    is_plain,
    iter_leaves,
    map_leaves,
    reveal,
)


def mark_path(value: Value, path: tuple[str, ...], source: str) -> Value:
    """Put a Secret around the value at a path, where "*" is any step."""
    if not path:
        return _as_secret(value, (source,))
    if isinstance(value, dict):
        return {
            key: mark_path(item, path[1:], source) if path[0] in ("*", key) else item
            for key, item in value.items()
        }
    if isinstance(value, list) and path[0] == "*":
        return [mark_path(item, path[1:], source) for item in value]
    return value


def inherit_sensitivity(live: Resource, before: Resource) -> Resource:
    """Mark a Secret wherever `before` has one, however that came to be one."""
    if live is before or (is_plain(before.attributes) and is_plain(before.outputs)):
        return live
    return replace(
        live,
        attributes=_inherit_map(live.attributes, dict(before.attributes)),
        outputs=_inherit_map(live.outputs, dict(before.outputs)),
    )


def _inherit_map(values: Attributes, before: dict[str, Value]) -> dict[str, Value]:
    # A secret may have moved to another key: a new key is compared with all that are gone.
    lost = {key: item for key, item in before.items() if key not in values}
    return {key: _inherit(value, before.get(key, lost)) for key, value in values.items()}


def _inherit(value: Value, before: Value) -> Value:
    if isinstance(before, Digest | Secret):
        return _as_secret(value, before.sources)
    if isinstance(value, dict) and isinstance(before, dict):
        return _inherit_map(value, before)
    if isinstance(value, list) and isinstance(before, list) and len(value) == len(before):
        return [_inherit(item, one) for item, one in zip(value, before, strict=True)]
    return _unpaired(value, before)


def _unpaired(value: Value, before: Value) -> Value:
    """Mark every leaf that was not there in clear: where places are lost, it may be a secret."""
    there = list(iter_leaves(before))
    hidden = [leaf for leaf in there if isinstance(leaf, Digest | Secret)]
    if not hidden:
        return value
    sources = collect_sources(hidden)
    return map_leaves(value, lambda leaf: leaf if leaf in there else _as_secret(leaf, sources))


def _as_secret(value: Value, sources: tuple[str, ...]) -> Value:
    if value is None or isinstance(value, Secret | Digest | Unknown):
        return value
    # Revealed first: a Secret around a Secret would compare as another value.
    return Secret(reveal(value), tuple(dict.fromkeys(sources)))


def mark_like(values: Attributes, model: Attributes) -> Attributes:
    """Mark a Secret wherever the model has one."""
    return {key: _mark_like(value, model.get(key)) for key, value in values.items()}


def _mark_like(value: Value, model: Value) -> Value:
    if isinstance(model, Secret):
        return _as_secret(value, model.sources)
    if isinstance(value, dict) and isinstance(model, dict):
        return {key: _mark_like(item, model.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(model, list) and len(value) == len(model):
        return [_mark_like(item, one) for item, one in zip(value, model, strict=True)]
    return value


def reveal_resource(resource: Resource) -> Resource:
    """Give a resource as a provider gets it: known secrets in clear, the others as digests."""
    if is_plain(resource.attributes) and is_plain(resource.outputs):
        return resource
    attributes = {key: reveal(value) for key, value in resource.attributes.items()}
    return Resource(
        resource.id, attributes, {key: reveal(value) for key, value in resource.outputs.items()}
    )


def mark_matches(values: Attributes, secrets: list[Secret]) -> Attributes:
    """Mark everything that equals one of these secrets, or is a text around one."""
    return (
        {key: _mark_matches(value, secrets) for key, value in values.items()} if secrets else values
    )


def _mark_matches(value: Value, secrets: list[Secret]) -> Value:
    held = [secret for secret in secrets if _holds(value, secret.value)]
    if held:
        return Secret(value, collect_sources(held))
    if isinstance(value, dict):
        return {key: _mark_matches(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_mark_matches(item, secrets) for item in value]
    return value


def _holds(value: Value, secret: Value) -> bool:
    if isinstance(value, str) and isinstance(secret, str) and len(secret) >= MIN_REDACTED_LENGTH:
        return secret in value
    # Equal to "", true or false proves nothing: such a value is everywhere.
    return type(value) is type(secret) and value not in (None, "", True, False) and value == secret
