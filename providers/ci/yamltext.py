"""YAML as a person would write it: comments, blank lines, literal blocks for scripts.

PyYAML writes the scalars; it has no comments, hence this layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import msgspec
import yaml

Node: TypeAlias = (
    "None | bool | int | str | tuple[str, ...] | list[Node] | Mapping[str, Node] | Commented"
)
"""A tuple is written on one line, a list one item a line."""

# The fast one is absent where PyYAML was built without libyaml.
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

WIDTH = 110
"""Longest line with a comment behind it; a longer comment stands above."""


class Commented(msgspec.Struct, frozen=True):
    """A value with a comment, which stands behind a short scalar and above anything else."""

    comment: str
    value: Node


def dump(document: Mapping[str, Node], header: str) -> str:
    """Write the document under a header comment.

    A blank line stands before each block and between the jobs of a workflow.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    for number, (key, value) in enumerate(document.items()):
        entry = list(_format_jobs(key, value) if key == "jobs" else _format_entry(key, value))
        lines += ["", *entry] if len(entry) > 1 or number == 0 else entry
    return "\n".join(lines) + "\n"


def _format_jobs(key: str, jobs: Node) -> Iterator[str]:
    assert isinstance(jobs, Mapping)  # that is what a workflow has there
    for number, (name, job) in enumerate(jobs.items()):
        yield "" if number else f"{key}:"
        yield from _indent(_format_entry(name, job))


def _format_entry(key: str, value: Node) -> Iterator[str]:
    # YAML 1.1 takes "on" for a boolean, and so PyYAML quotes it; no CI system does.
    name = key if key == "on" else _format_scalar(key)
    return _format_value(f"{name}:", value)


def _format_value(start: str, value: Node) -> Iterator[str]:
    """Yield the lines of a value after `key:` or `-`, its comment where it belongs."""
    comment, value = (value.comment, value.value) if isinstance(value, Commented) else ("", value)
    block = list(_format_block(value))
    line = "" if block else f"{start} {_format_on_one_line(value)}"
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
        yield from _indent(block[first + 1 :])
    else:
        yield start
        yield from _indent(block)


def _format_block(value: Node) -> Iterator[str]:
    """Yield the lines of a value that cannot stand on one line; none if it can."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _format_entry(key, item)
    elif isinstance(value, list):
        for item in value:
            yield from _format_value("-", item)
    elif isinstance(value, str) and _fits_literal_block(value):
        yield from value.removesuffix("\n").split("\n")


def _fits_literal_block(text: str) -> bool:
    """Tell if a literal block can hold the text as it is."""
    body = text.removesuffix("\n")
    plain = all(char in "\n\t" or char.isprintable() for char in body)
    return (
        "\n" in body
        and plain
        and not body.startswith((" ", "\n", "\t"))
        and not body.endswith("\n")
    )


def _indent(lines: Iterable[str]) -> Iterator[str]:
    return ("  " + line if line else "" for line in lines)


def _format_on_one_line(value: Node) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_format_in_brackets(item) for item in value)}]"
    return _format_scalar(value)


def _format_in_brackets(text: str) -> str:
    """Write a text where a comma would end it."""
    return (
        _format_scalar(text)
        if _needs_several_lines(text)
        else _dump_scalar([text]).removeprefix("[").removesuffix("]")
    )


def _format_scalar(value: object) -> str:
    return _dump_scalar(
        value, '"' if isinstance(value, str) and _needs_several_lines(value) else None
    )


def _needs_several_lines(text: str) -> bool:
    """Tell if PyYAML would write it on several lines."""
    return len(text.splitlines()) > 1 or text.endswith(("\n", "\r"))


def _dump_scalar(value: object, style: str | None = None) -> str:
    text: str = yaml.dump(
        value,
        Dumper=Dumper,
        default_flow_style=True,
        default_style=style,
        width=10**6,
        allow_unicode=True,
    )
    return text.removesuffix("\n").removesuffix("\n...")
