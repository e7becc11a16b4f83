"""References to the outputs of other tools, `${{ name.instance.outputs.key }}`.

reference = parse("data.first.outputs.path")
addresses({"input": reference})                   # [Address("data", "first")]
resolve({"input": reference}, lookup)             # {"input": "out/a.txt"}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import msgspec

from engine.address import Address
from engine.errors import DtmError
from engine.values import (
    UNKNOWN,
    Attributes,
    Deferred,
    Digest,
    Secret,
    Unknown,
    Value,
    ValuePath,
    collect_sources,
    find_leaves,
    iter_leaves,
    map_leaves,
    reveal,
)

_REFERENCE = re.compile(
    r"\s*([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)"  # name and instance as `engine.address` wants them
    r"\.([a-z0-9](?:[-a-z0-9.]*?[a-z0-9])??)"  # the instance ends at the first `.outputs.`
    r"\.outputs\.([^\s.{}]+(?:\.[^\s.{}]+)*)\s*"
)
_WORKFLOW_CONTEXTS = frozenset({"steps", "needs", "jobs"})
"""Names that GitHub Actions uses the same way (`steps.build.outputs.tag`): they stay as text."""

TEXT_SOURCE = "text "
"""Start of the source of a text around secrets."""

_EVALUATED = ("env ", "var ", "output ")
"""Starts of the sources that can be evaluated again."""

VARIABLE_PREFIX: Final = "DTM_VAR_"
"""The environment gives variable `name` as `DTM_VAR_name`."""

_PART = re.compile(r"\[\[ (.*?) \]\]")

Lookup: TypeAlias = Callable[[Address], "Attributes | Unknown | None"]


class Reference(Deferred, frozen=True):
    """One output of one tool.

    `path` goes into maps by key and lists by number; `text` is as written, for messages.
    """

    address: Address
    path: ValuePath
    text: str

    def __str__(self) -> str:
        return self.text


class Interpolation(Deferred, frozen=True):
    """A string with references inside, whose parts are joined once they are known.

    A Secret among the parts makes the whole a Secret.
    """

    parts: tuple[str | Secret | Reference, ...]

    def __str__(self) -> str:
        return "".join(str(part) for part in self.parts)


def parse(text: str) -> Reference | None:
    """Read the text between `${{` and `}}`; None if it is not ours, as GitHub's `secrets.X`."""
    found = _REFERENCE.fullmatch(text)
    if not found:
        return None
    name, instance, path = found.groups()
    if name in _WORKFLOW_CONTEXTS:
        return None
    # isdigit alone also takes superscripts, which int refuses.
    steps = tuple(
        int(step) if step.isascii() and step.isdigit() else step for step in path.split(".")
    )
    return Reference(Address(name, instance), steps, "${{ " + text.strip() + " }}")


def iter_references(value: Value) -> Iterator[Reference]:
    """Yield every reference inside a value, in order."""
    for leaf in iter_leaves(value):
        if isinstance(leaf, Reference):
            yield leaf
        elif isinstance(leaf, Interpolation):
            yield from (part for part in leaf.parts if isinstance(part, Reference))


def referenced_addresses(value: Value) -> list[Address]:
    """List the tools that a value refers to, in order and without repeats."""
    return list(dict.fromkeys(reference.address for reference in iter_references(value)))


def resolve(value: Value, lookup: Lookup) -> Value:
    """Replace the references in a value by outputs, and what is not known yet by UNKNOWN.

    `lookup` gives a tool's outputs, UNKNOWN if all of them wait for an apply, None if it has none.
    Raises DtmError naming the reference if a key does not exist, or if null would stand inside a
    string.
    """

    def change(leaf: Value) -> Value:
        match leaf:
            case Reference():
                return _look(leaf, lookup)
            case Interpolation():
                return _join(leaf, lookup)
            case _:
                return leaf

    return map_leaves(value, change)


def _look(reference: Reference, lookup: Lookup) -> Value:
    outputs = lookup(reference.address)
    if outputs is None:
        raise DtmError(
            f"{reference}: {reference.address} has no outputs",
            hint="it was not applied, or its last apply failed",
        )
    value: Value = outputs if isinstance(outputs, Unknown) else dict(outputs)
    secrets: list[Secret] = []
    for step in reference.path:
        if isinstance(value, Secret):
            # A part of a secret is a secret.
            secrets.append(value)
            value = value.value
        if isinstance(value, Unknown | Digest | Deferred):
            return UNKNOWN
        value = _step(reference, value, step)
    return Secret(value, collect_sources(secrets)) if secrets else value


def _step(reference: Reference, value: Value, step: str | int) -> Value:
    if isinstance(value, dict):
        if str(step) in value:
            return value[str(step)]
        raise DtmError(
            f'{reference}: {reference.address} has no output "{step}"', hint=_known(value)
        )
    if isinstance(value, list) and isinstance(step, int):
        if step < len(value):
            return value[step]
        raise DtmError(f"{reference}: the list has only {len(value)} items, counted from 0")
    kind = "a list: use a number" if isinstance(value, list) else "neither a list nor a map"
    raise DtmError(f'{reference}: "{step}" cannot be looked up, the value before it is {kind}')


def _known(outputs: dict[str, Value]) -> str:
    return f"it has: {', '.join(sorted(outputs))}" if outputs else "it has no outputs at all"


def _join(interpolation: Interpolation, lookup: Lookup) -> Value:
    parts = [
        _look(part, lookup) if isinstance(part, Reference) else part for part in interpolation.parts
    ]
    if find_leaves(parts, Unknown, Digest):
        return UNKNOWN
    return join_parts(parts, str(interpolation))


def join_parts(parts: Sequence[Value], shown: str) -> str | Secret:
    """Join known values to one string; a Secret among them makes the whole a Secret.

    Strings stay as they are, everything else becomes compact JSON with sorted keys. The sources of
    a Secret are those of `_sources`. Raises DtmError for null.
    """
    texts: list[str] = []
    for part in parts:
        plain = reveal(part)
        if plain is None:
            raise DtmError(
                f"{shown}: a value inside this text is null", hint="give it a value, or a default"
            )
        texts.append(plain if isinstance(plain, str) else to_json(plain))
    text = "".join(texts)
    secrets = find_leaves(list(parts), Secret)
    inner = tuple(found for secret in secrets for found in secret.parts or (secret,))
    return Secret(text, _sources(parts, texts), inner) if secrets else text


def _sources(parts: Sequence[Value], texts: Sequence[str]) -> tuple[str, ...]:
    """Name the source of a text around secrets, such as `text out/[[ env NAME ]].txt`.

    From it `evaluate` puts the text together again. Where that is impossible, the sources are those
    of all secrets inside.
    """
    written = [_written(part, text) for part, text in zip(parts, texts, strict=True)]
    # One secret alone keeps its own source: wrapped in a text, it would look like a new one.
    if None not in written and not (len(parts) == 1 and isinstance(parts[0], Secret)):
        return (TEXT_SOURCE + "".join(filter(None, written)),)
    return collect_sources(find_leaves(list(parts), Secret))


def _written(part: Value, text: str) -> str | None:
    """Write one part of the source of a text; None if it cannot stand there."""
    if isinstance(part, Secret):
        source = part.sources[0] if len(part.sources) == 1 else ""
        if source.startswith(TEXT_SOURCE):
            return source.removeprefix(TEXT_SOURCE)
        return f"[[ {source} ]]" if source.startswith(_EVALUATED) else None
    # Its own brackets could not be told from those of a secret's source.
    if "[[" in text:
        return None
    secrets = find_leaves(part, Secret)
    # Inside JSON a secret with quotes or escapes is spelled differently from itself.
    if any(
        _written(leaf, "") is None or to_json(leaf.value) != f'"{leaf.value}"' for leaf in secrets
    ):
        return None
    return (
        to_json(
            map_leaves(part, lambda leaf: _written(leaf, "") if isinstance(leaf, Secret) else leaf)
        )
        if secrets
        else text
    )


def rebuild_secret(source: str, recall: Callable[[str], Value]) -> Secret | None:
    """Recall the secret behind a source, or put a text together from its secrets.

    None if `recall` does not know one of them any more.
    """
    found = {name: recall(name) for name in secret_sources(source)}
    if any(value is None for value in found.values()):
        return None
    parts = tuple(Secret(value, (name,)) for name, value in found.items())
    if not source.startswith(TEXT_SOURCE):
        return parts[0]
    texts = {
        name: value if isinstance(value, str) else to_json(value) for name, value in found.items()
    }
    return Secret(
        _PART.sub(lambda match: texts[match[1]], source.removeprefix(TEXT_SOURCE)), (source,), parts
    )


def secret_sources(source: str) -> list[str]:
    """List the sources of the secrets in a text's source; any other source is its own."""
    return _PART.findall(source) if source.startswith(TEXT_SOURCE) else [source]


def to_json(value: Value) -> str:
    """Write compact JSON with sorted keys."""
    return msgspec.json.encode(value, order="deterministic").decode()
