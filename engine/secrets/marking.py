"""Sensitivity belongs to the value and travels with it: what is a secret because of where it stands or what it holds."""

from __future__ import annotations

from msgspec.structs import replace

from engine.secrets.sealing import SHORTEST, Redactor
from engine.state import Resource
from engine.values import (
    Attributes,
    Digest,
    Secret,
    Unknown,
    Value,
    is_plain,
    leaves,
    map_leaves,
    reveal,
)


def secrets_of(values: Attributes) -> list[Secret]:
    """Every secret inside."""
    if is_plain(values):
        return []
    return [leaf for value in values.values() for leaf in leaves(value) if isinstance(leaf, Secret)]


def marked(value: Value, path: tuple[str, ...], source: str) -> Value:
    """The value with a Secret at a path, where "*" is any step."""
    if not path:
        return (
            value
            if value is None or isinstance(value, Secret | Unknown | Digest)
            else Secret(value, (source,))
        )
    if isinstance(value, dict):
        return {
            key: marked(item, path[1:], source) if path[0] in ("*", key) else item
            for key, item in value.items()
        }
    if isinstance(value, list) and path[0] == "*":
        return [marked(item, path[1:], source) for item in value]
    return value


def tainted(live: Resource, before: Resource) -> Resource:
    """What is live, with everything a Secret that stands where there was one, however it came to be one."""
    if live is before or (is_plain(before.attributes) and is_plain(before.outputs)):
        return live
    attributes, outputs = dict(before.attributes), dict(before.outputs)
    return replace(
        live,
        attributes=_tainted_map(live.attributes, attributes),
        outputs=_tainted_map(live.outputs, outputs),
    )


def _tainted_map(values: Attributes, before: dict[str, Value]) -> dict[str, Value]:
    lost = {key: item for key, item in before.items() if key not in values}
    return {key: _tainted(value, before.get(key, lost)) for key, value in values.items()}


def _tainted(value: Value, before: Value) -> Value:
    if isinstance(before, Digest | Secret):
        return _veiled(value, [before])
    if isinstance(value, dict) and isinstance(before, dict):
        return _tainted_map(value, before)
    if isinstance(value, list) and isinstance(before, list) and len(value) == len(before):
        return [_tainted(item, one) for item, one in zip(value, before, strict=True)]
    return _unpaired(value, before)


def _unpaired(value: Value, before: Value) -> Value:
    """What stands beside secrets whose places are lost: whatever was not there in clear may be one of them."""
    there = list(leaves(before))
    hidden = [leaf for leaf in there if isinstance(leaf, Digest | Secret)]
    return (
        map_leaves(value, lambda leaf: leaf if leaf in there else _veiled(leaf, hidden))
        if hidden
        else value
    )


def _veiled(value: Value, by: list[Digest | Secret]) -> Value:
    """The value as a Secret that came from where those did."""
    if value is None or isinstance(value, Secret | Digest | Unknown):
        return value
    return Secret(
        reveal(value), tuple(dict.fromkeys(source for secret in by for source in secret.sources))
    )


def sensitive(values: Attributes, model: Attributes) -> Attributes:
    """The values with a Secret wherever the model has one."""
    return {key: _sensitive(value, model.get(key)) for key, value in values.items()}


def _sensitive(value: Value, model: Value) -> Value:
    if isinstance(model, Secret):
        return _veiled(value, [model])
    if isinstance(value, dict) and isinstance(model, dict):
        return {key: _sensitive(item, model.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(model, list) and len(value) == len(model):
        return [_sensitive(item, one) for item, one in zip(value, model, strict=True)]
    return value


def tells(text: str, secrets: list[Secret]) -> bool:
    """Whether one of the secrets stands in a text, in whatever spelling."""
    return blotted(text, secrets) != text or any(str(secret.value) in text for secret in secrets)


def blotted(text: str, secrets: list[Secret]) -> str:
    """The text without these secrets, but for those too short to be told from other texts."""
    redactor = Redactor()
    for secret in secrets:
        redactor.add(secret)
    return redactor.clean(text)


def revealed(resource: Resource) -> Resource:
    """A resource as a provider gets it, with what is known of its secrets; the others stay digests."""
    if is_plain(resource.attributes) and is_plain(resource.outputs):
        return resource
    attributes = {key: reveal(value) for key, value in resource.attributes.items()}
    return Resource(
        resource.id, attributes, {key: reveal(value) for key, value in resource.outputs.items()}
    )


def concealed(values: Attributes, secrets: list[Secret]) -> Attributes:
    """The values with everything that equals one of the secrets, or is a text around one, made a Secret."""
    return {key: _concealed(value, secrets) for key, value in values.items()} if secrets else values


def _concealed(value: Value, secrets: list[Secret]) -> Value:
    sources = tuple(
        dict.fromkeys(
            source for secret in secrets if _holds(value, secret.value) for source in secret.sources
        )
    )
    if any(_holds(value, secret.value) for secret in secrets):
        return Secret(value, sources)
    if isinstance(value, dict):
        return {key: _concealed(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [_concealed(item, secrets) for item in value]
    return value


def _holds(value: Value, secret: Value) -> bool:
    if isinstance(value, str) and isinstance(secret, str) and len(secret) >= SHORTEST:
        return secret in value
    return type(value) is type(secret) and value not in (None, "", True, False) and value == secret
