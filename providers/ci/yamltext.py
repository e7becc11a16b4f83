"""Writing of YAML with comments, blank lines and literal blocks for scripts.

PyYAML writes the scalars. It cannot write comments, so this module does the layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import msgspec
import yaml

Node: TypeAlias = (
    "None | bool | int | str | tuple[str, ...] | list[Node] | Mapping[str, Node] | Commented"
)
"""A YAML value. A tuple is written on one line, a list with one item on each line."""

# CSafeDumper does not exist if PyYAML was built without libyaml.
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

WIDTH = 110
"""Longest line with a comment at its end. A longer comment is written above the value."""


class Commented(msgspec.Struct, frozen=True):
    """A value with a comment, which ends the line of a short value or precedes a longer one."""

    comment: str
    value: Node


def dump(document: Mapping[str, Node], header: str) -> str:
    """Return the document as YAML, with `header` as a comment at the top.

    A blank line is inserted before each block, and between the jobs of a workflow.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    for number, (key, value) in enumerate(document.items()):
        entry = list(_format_jobs(key, value) if key == "jobs" else _format_entry(key, value))
        lines += ["", *entry] if len(entry) > 1 or number == 0 else entry
    return "\n".join(lines) + "\n"


def _format_jobs(key: str, jobs: Node) -> Iterator[str]:
    assert isinstance(jobs, Mapping)  # render_workflow passes a map
    for number, (name, job) in enumerate(jobs.items()):
        yield "" if number else f"{key}:"
        yield from _indent(_format_entry(name, job))


def _format_entry(key: str, value: Node) -> Iterator[str]:
    # PyYAML quotes "on", because it is a boolean in YAML 1.1. CI systems read it as text.
    name = key if key == "on" else _format_scalar(key)
    return _format_value(f"{name}:", value)


def _format_value(start: str, value: Node) -> Iterator[str]:
    """Yield the lines of a value after `key:` or `-`, with its comment."""
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
        # The first line of a map or list follows the dash. A comment on it stays above the dash.
        first = next(number for number, line in enumerate(block) if not line.startswith("#"))
        yield from block[:first]
        yield f"- {block[first]}"
        yield from _indent(block[first + 1 :])
    else:
        yield start
        yield from _indent(block)


def _format_block(value: Node) -> Iterator[str]:
    """Yield the lines of a value that needs a block, none for a value that fits on one line."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _format_entry(key, item)
    elif isinstance(value, list):
        for item in value:
            yield from _format_value("-", item)
    elif isinstance(value, str) and _fits_literal_block(value):
        yield from value.removesuffix("\n").split("\n")


def _fits_literal_block(text: str) -> bool:
    """Return whether a literal block can hold the text unchanged."""
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
    """Format a text inside `[ ]`, where a comma would end it."""
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
    """Return whether PyYAML would write the text on several lines."""
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
