"""References to the outputs of other tools, `${{ name.instance.outputs.key }}`.

An example:

    reference = parse("data.first.outputs.path")
    referenced_addresses({"input": reference})  # [Address("data", "first")]
    resolve({"input": reference}, lookup)  # {"input": "out/a.txt"}
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
    r"\s*([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)"  # name and instance as in `engine.address`
    r"\.([a-z0-9](?:[-a-z0-9.]*?[a-z0-9])??)"  # the instance ends at the first `.outputs.`
    r"\.outputs\.([^\s.{}]+(?:\.[^\s.{}]+)*)\s*"
)
_WORKFLOW_CONTEXTS = frozenset({"steps", "needs", "jobs"})
"""Names that GitHub Actions uses in the same form: `steps.build.outputs.tag` stays a text."""

TEXT_SOURCE = "text "
"""Start of the source of a text with secrets, such as `text https://[[ env TOKEN ]]@host`."""

_RECALLABLE = ("env ", "var ", "output ")
"""Starts of the sources of secrets that can be looked up again, such as `env TOKEN`."""

VARIABLE_PREFIX: Final = "DTM_VAR_"
"""Prefix of the environment variables that set variables: `DTM_VAR_name` sets `name`."""

_PART = re.compile(r"\[\[ (.*?) \]\]")

Lookup: TypeAlias = Callable[[Address], "Attributes | Unknown | None"]


class Reference(Deferred, frozen=True):
    """A reference to one output of one tool.

    `path` leads into maps by key and into lists by index. `text` is the expression as the user
    wrote it, for messages.
    """

    address: Address
    path: ValuePath
    text: str

    def __str__(self) -> str:
        return self.text


class Interpolation(Deferred, frozen=True):
    """A text that contains references. Its parts are joined when all of them are known.

    A Secret among the parts makes the whole text a Secret.
    """

    parts: tuple[str | Secret | Reference, ...]

    def __str__(self) -> str:
        return "".join(str(part) for part in self.parts)


def parse(text: str) -> Reference | None:
    """Parse the text between `${{` and `}}`.

    Return None if it is not a reference of dtm, such as `secrets.X`.
    """
    found = _REFERENCE.fullmatch(text)
    if not found:
        return None
    name, instance, path = found.groups()
    if name in _WORKFLOW_CONTEXTS:
        return None
    # isdigit alone also accepts superscripts, for which int raises ValueError.
    steps = tuple(
        int(step) if step.isascii() and step.isdigit() else step for step in path.split(".")
    )
    return Reference(Address(name, instance), steps, "${{ " + text.strip() + " }}")


def iter_references(value: Value) -> Iterator[Reference]:
    """Yield all references inside a value, in order."""
    for leaf in iter_leaves(value):
        if isinstance(leaf, Reference):
            yield leaf
        elif isinstance(leaf, Interpolation):
            yield from (part for part in leaf.parts if isinstance(part, Reference))


def referenced_addresses(value: Value) -> list[Address]:
    """Return the tools that a value refers to, in order and without repeats."""
    return list(dict.fromkeys(reference.address for reference in iter_references(value)))


def resolve(value: Value, lookup: Lookup) -> Value:
    """Replace each reference in a value by its output, or by UNKNOWN if that is not known yet.

    `lookup` returns the outputs of a tool, UNKNOWN if they are known only after an apply, and None
    if the tool has no outputs. Raises DtmError with the reference if an output does not exist, or
    if an output inside a text is null.
    """

    def change(leaf: Value) -> Value:
        match leaf:
            case Reference():
                return _look_up(leaf, lookup)
            case Interpolation():
                return _join_interpolation(leaf, lookup)
            case _:
                return leaf

    return map_leaves(value, change)


def _look_up(reference: Reference, lookup: Lookup) -> Value:
    outputs = lookup(reference.address)
    if outputs is None:
        raise DtmError(
            f"{reference}: {reference.address} has no outputs",
            hint="run dtm apply: this tool was never applied, or its last apply failed",
        )
    value: Value = outputs if isinstance(outputs, Unknown) else dict(outputs)
    secrets: list[Secret] = []
    for step in reference.path:
        if isinstance(value, Secret):
            # A part of a secret is secret as well.
            secrets.append(value)
            value = value.value
        # A Digest hides its parts, so that they count as not known yet.
        if isinstance(value, Unknown | Digest | Deferred):
            return UNKNOWN
        value = _follow_step(reference, value, step)
    return Secret(value, collect_sources(secrets)) if secrets else value


def _follow_step(reference: Reference, value: Value, step: str | int) -> Value:
    if isinstance(value, dict):
        if str(step) in value:
            return value[str(step)]
        raise DtmError(
            f'{reference}: {reference.address} has no output "{step}"', hint=_list_outputs(value)
        )
    if isinstance(value, list) and isinstance(step, int):
        if step < len(value):
            return value[step]
        raise DtmError(f"{reference}: the list has only {len(value)} items, counted from 0")
    kind = "a list: use a number" if isinstance(value, list) else "neither a list nor a map"
    raise DtmError(f'{reference}: "{step}" cannot be looked up, the value before it is {kind}')


def _list_outputs(outputs: dict[str, Value]) -> str:
    return (
        f"use one of its outputs: {', '.join(sorted(outputs))}" if outputs else "it has no outputs"
    )


def _join_interpolation(interpolation: Interpolation, lookup: Lookup) -> Value:
    parts = [
        _look_up(part, lookup) if isinstance(part, Reference) else part
        for part in interpolation.parts
    ]
    if find_leaves(parts, Unknown, Digest):
        return UNKNOWN
    return join_parts(parts, str(interpolation))


def join_parts(parts: Sequence[Value], shown: str) -> str | Secret:
    """Join known values to one text; a Secret among them makes the whole text a Secret.

    Strings are not changed; other values become compact JSON with sorted keys. Raises
    DtmError if a part is null; its message shows the text as `shown`.
    """
    texts: list[str] = []
    for part in parts:
        plain = reveal(part)
        if plain is None:
            raise DtmError(
                f"{shown}: a value inside this text is null", hint="set a value or a default for it"
            )
        texts.append(plain if isinstance(plain, str) else to_json(plain))
    text = "".join(texts)
    secrets = find_leaves(list(parts), Secret)
    inner = tuple(found for secret in secrets for found in secret.parts or (secret,))
    return Secret(text, _sources(parts, texts), inner) if secrets else text


def _sources(parts: Sequence[Value], texts: Sequence[str]) -> tuple[str, ...]:
    """Return the source of a text that contains secrets, such as `text out/[[ env NAME ]].txt`.

    `rebuild_secret` builds the text again from this source. If that is impossible, the sources are
    those of all secrets inside.
    """
    written = [_source_part(part, text) for part, text in zip(parts, texts, strict=True)]
    # A text that consists of one secret keeps the source of that secret. With another source,
    # dtm would rewrite its entry in the state, although the value is the same.
    if None not in written and not (len(parts) == 1 and isinstance(parts[0], Secret)):
        return (TEXT_SOURCE + "".join(filter(None, written)),)
    return collect_sources(find_leaves(list(parts), Secret))


def _source_part(part: Value, text: str) -> str | None:
    """Return one part of the source of a text, None if it cannot be a part of a source."""
    if isinstance(part, Secret):
        source = part.sources[0] if len(part.sources) == 1 else ""
        if source.startswith(TEXT_SOURCE):
            return source.removeprefix(TEXT_SOURCE)
        return f"[[ {source} ]]" if source.startswith(_RECALLABLE) else None
    # These brackets would look like the source of a secret.
    if "[[" in text:
        return None
    secrets = find_leaves(part, Secret)
    # In JSON, a secret with quotes or escapes is spelled differently from the secret itself.
    if any(
        _source_part(leaf, "") is None or to_json(leaf.value) != f'"{leaf.value}"'
        for leaf in secrets
    ):
        return None
    return (
        to_json(
            map_leaves(
                part, lambda leaf: _source_part(leaf, "") if isinstance(leaf, Secret) else leaf
            )
        )
        if secrets
        else text
    )


def rebuild_secret(source: str, recall: Callable[[str], Value]) -> Secret | None:
    """Return the secret of a source, or the text of a source that contains secrets.

    `recall` looks up the value of one source. Return None if it no longer knows one of them.

        rebuild_secret("text https://[[ env TOKEN ]]@host", recall)  # Secret("https://abc@host")
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
    """Return the sources inside the source of a text; for any other source, only itself.

    secret_sources("text https://[[ env TOKEN ]]@host")  # ["env TOKEN"]
    """
    return _PART.findall(source) if source.startswith(TEXT_SOURCE) else [source]


def to_json(value: Value) -> str:
    """Return compact JSON with sorted keys."""
    return msgspec.json.encode(value, order="deterministic").decode()
