"""Marking: wrap values that are secret because of their path or their content.

Sensitivity belongs to the value: a `Secret` stays one when it is copied or embedded in a text.
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
    """Wrap the value at a path into a Secret. In the path, "*" matches any step."""
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
    """Mark the values at all paths where the earlier resource `before` has a secret."""
    if live is before or (is_plain(before.attributes) and is_plain(before.outputs)):
        return live
    return replace(
        live,
        attributes=_inherit_map(live.attributes, dict(before.attributes)),
        outputs=_inherit_map(live.outputs, dict(before.outputs)),
    )


def _inherit_map(values: Attributes, before: dict[str, Value]) -> dict[str, Value]:
    # A secret may have moved to another key. A new key is compared with all removed keys.
    removed = {key: item for key, item in before.items() if key not in values}
    return {key: _inherit(value, before.get(key, removed)) for key, value in values.items()}


def _inherit(value: Value, before: Value) -> Value:
    if isinstance(before, Digest | Secret):
        return _as_secret(value, before.sources)
    if isinstance(value, dict) and isinstance(before, dict):
        return _inherit_map(value, before)
    if isinstance(value, list) and isinstance(before, list) and len(value) == len(before):
        return [_inherit(item, one) for item, one in zip(value, before, strict=True)]
    return _mark_unpaired(value, before)


def _mark_unpaired(value: Value, before: Value) -> Value:
    """Mark every leaf, except those that are plain values in `before`.

    The two values cannot be paired by path, so each of these leaves may be the secret. Marking too
    many is better than printing the secret.
    """
    earlier = list(iter_leaves(before))
    hidden = [leaf for leaf in earlier if isinstance(leaf, Digest | Secret)]
    if not hidden:
        return value
    sources = collect_sources(hidden)
    return map_leaves(value, lambda leaf: leaf if leaf in earlier else _as_secret(leaf, sources))


def _as_secret(value: Value, sources: tuple[str, ...]) -> Value:
    # A missing value is not a secret, and the other three are marked already or not known yet.
    if value is None or isinstance(value, Secret | Digest | Unknown):
        return value
    # Secrets inside are unwrapped: a Secret in a Secret would be unequal to the same plain secret.
    return Secret(reveal(value), tuple(dict.fromkeys(sources)))


def mark_like(values: Attributes, model: Attributes) -> Attributes:
    """Mark the values at all paths where `model` has a Secret.

    Unlike `inherit_sensitivity`, it marks nothing if the two have different shapes.
    """
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
    """Return a resource for a provider: known secrets in plain text, lost ones as digests."""
    if is_plain(resource.attributes) and is_plain(resource.outputs):
        return resource
    attributes = {key: reveal(value) for key, value in resource.attributes.items()}
    return Resource(
        resource.id, attributes, {key: reveal(value) for key, value in resource.outputs.items()}
    )


def mark_matches(values: Attributes, secrets: list[Secret]) -> Attributes:
    """Mark every value that equals one of these secrets, or is a text that contains one."""
    return (
        {key: _mark_matches(value, secrets) for key, value in values.items()} if secrets else values
    )


def _mark_matches(value: Value, secrets: list[Secret]) -> Value:
    held = [secret for secret in secrets if _contains(value, secret.value)]
    if held:
        return Secret(value, collect_sources(held))
    if isinstance(value, dict):
        return {key: _mark_matches(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_mark_matches(item, secrets) for item in value]
    return value


def _contains(value: Value, secret: Value) -> bool:
    if isinstance(value, str) and isinstance(secret, str) and len(secret) >= MIN_REDACTED_LENGTH:
        return secret in value
    # Values such as "", true and false occur everywhere. Equality with one proves nothing.
    return type(value) is type(secret) and value not in (None, "", True, False) and value == secret
