"""The address of a tool: its plugin name and instance ID, in three spellings."""

from __future__ import annotations

import re

import msgspec

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
INSTANCE = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
MAX_LENGTH = 253
"""Longest name or instance ID, in characters: DevStream has this limit, from RFC 1123."""


class Address(msgspec.Struct, frozen=True, order=True):
    """The address of one tool: the name of its plugin, and an ID among the tools of that plugin.

    It has three spellings: `a/b` in messages (`str()`), `a.b` in `dependsOn` and flags (`dotted`),
    and `a_b` in the state file (`key`). A name contains neither dots nor underscores, and an
    instance contains no underscores, so that each spelling means one address. `key` is never
    parsed.

        Address.parse("data.first") == Address("data", "first")
    """

    name: str
    instance: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse `a.b` or `a/b`. Raises ValueError with a message for the user."""
        # The first separator ends the name: an instance may contain dots itself.
        cut = min((i for i in (text.find("."), text.find("/")) if i >= 0), default=-1)
        if cut < 0:
            raise ValueError(f'"{text}" is not an address: expected name.instanceID')
        name, instance = text[:cut], text[cut + 1 :]
        for problem in (name_problem(name), instance_problem(instance)):
            if problem:
                raise ValueError(f'"{text}" is not an address: {problem}')
        return cls(name, instance)

    @property
    def dotted(self) -> str:
        """The spelling `a.b`, for `dependsOn` and flags."""
        return f"{self.name}.{self.instance}"

    @property
    def key(self) -> str:
        """The spelling `a_b`, for the state file."""
        return f"{self.name}_{self.instance}"

    def __str__(self) -> str:
        return f"{self.name}/{self.instance}"


def name_problem(text: str) -> str:
    """Describe what is wrong with a tool name; return "" if it is valid."""
    return _problem(text, NAME, "name", 'digits and "-"')


def instance_problem(text: str) -> str:
    """Describe what is wrong with an instance ID; return "" if it is valid."""
    return _problem(text, INSTANCE, "instanceID", 'digits, "-" and "."')


def _problem(text: str, pattern: re.Pattern[str], noun: str, allowed: str) -> str:
    if len(text) <= MAX_LENGTH and pattern.fullmatch(text):
        return ""
    return (
        f'{noun} "{text}" must be lower case letters, {allowed}, '
        "and start and end with a letter or digit"
    )
