"""YAML as a person would write it: comments, blank lines, literal blocks for scripts.

PyYAML writes the scalars; it has no comments, hence this layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import msgspec
import yaml

Node: TypeAlias = (
    "None | bool | int | str | tuple[str, ...] | list[Node] | Mapping[str, Node] | Note"
)
"""A tuple is written on one line, a list one item a line."""

# The fast one is absent where PyYAML was built without libyaml.
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

WIDTH = 110
"""Longest line with a comment behind it; a longer comment stands above."""


class Note(msgspec.Struct, frozen=True):
    """A value with a comment, which stands behind a short scalar and above anything else."""

    comment: str
    value: Node


def dump(document: Mapping[str, Node], header: str) -> str:
    """Write the document under a header comment.

    A blank line stands before each block and between the jobs of a workflow.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    for number, (key, value) in enumerate(document.items()):
        entry = list(_jobs(key, value) if key == "jobs" else _entry(key, value))
        lines += ["", *entry] if len(entry) > 1 or number == 0 else entry
    return "\n".join(lines) + "\n"


def _jobs(key: str, jobs: Node) -> Iterator[str]:
    assert isinstance(jobs, Mapping)  # that is what a workflow has there
    for number, (name, job) in enumerate(jobs.items()):
        yield "" if number else f"{key}:"
        yield from _indented(_entry(name, job))


def _entry(key: str, value: Node) -> Iterator[str]:
    # YAML 1.1 takes "on" for a boolean, and so PyYAML quotes it; no CI system does.
    name = key if key == "on" else _scalar(key)
    return _written(f"{name}:", value)


def _written(start: str, value: Node) -> Iterator[str]:
    """Yield the lines of a value after `key:` or `-`, its comment where it belongs."""
    comment, value = (value.comment, value.value) if isinstance(value, Note) else ("", value)
    block = list(_block(value))
    line = "" if block else f"{start} {_one_line(value)}"
    if line and comment and "\n" not in comment and len(line) + len(comment) < WIDTH:
        yield f"{line} # {comment}"
        return
    yield from (f"# {text}" for text in comment.splitlines())
    if line:
        yield line
        return
    if isinstance(value, str):
        start += " |" if value.endswith("\n") else " |-"
    if start == "-":
        # The first line of a map or list goes behind the dash; a comment on it stays above.
        first = next(number for number, line in enumerate(block) if not line.startswith("#"))
        yield from block[:first]
        yield f"- {block[first]}"
        yield from _indented(block[first + 1 :])
    else:
        yield start
        yield from _indented(block)


def _block(value: Node) -> Iterator[str]:
    """Yield the lines of a value that cannot stand on one line; none if it can."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _entry(key, item)
    elif isinstance(value, list):
        for item in value:
            yield from _written("-", item)
    elif isinstance(value, str) and _literal(value):
        yield from value.removesuffix("\n").split("\n")


def _literal(text: str) -> bool:
    """Tell if a literal block can hold the text as it is."""
    body = text.removesuffix("\n")
    plain = all(char in "\n\t" or char.isprintable() for char in body)
    return (
        "\n" in body
        and plain
        and not body.startswith((" ", "\n", "\t"))
        and not body.endswith("\n")
    )


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return ("  " + line if line else "" for line in lines)


def _one_line(value: Node) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_in_brackets(item) for item in value)}]"
    return _scalar(value)


def _in_brackets(text: str) -> str:
    """Write a text where a comma would end it."""
    return _scalar(text) if _breaks(text) else _dumped([text]).removeprefix("[").removesuffix("]")


def _scalar(value: object) -> str:
    return _dumped(value, '"' if isinstance(value, str) and _breaks(value) else None)


def _breaks(text: str) -> bool:
    """Tell if PyYAML would write it on several lines."""
    return len(text.splitlines()) > 1 or text.endswith(("\n", "\r"))


def _dumped(value: object, style: str | None = None) -> str:
    text: str = yaml.dump(
        value,
        Dumper=Dumper,
        default_flow_style=True,
        default_style=style,
        width=10**6,
        allow_unicode=True,
    )
    return text.removesuffix("\n").removesuffix("\n...")
