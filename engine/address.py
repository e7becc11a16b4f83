"""The name of one tool instance, and its three spellings."""

from __future__ import annotations

import re

import msgspec

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
INSTANCE = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
MAX_LENGTH = 253
"""RFC 1123 subdomain length, the limit DevStream puts on names and instance ids."""


class Address(msgspec.Struct, frozen=True, order=True):
    """`name` is the plugin, `instance` tells several uses of it apart.

    `str()` gives `a/b`, the spelling of messages; `dotted` gives `a.b`, that of `dependsOn` and
    flags; `key` gives `a_b`, that of the state file. Names hold no dot and no underscore, instances
    no underscore, so each spelling has one reading; `key` is never parsed.

        Address.parse("data.first") == Address("data", "first")
    """

    name: str
    instance: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `a.b` or `a/b`. Raises ValueError with a sentence for the user."""
        cut = min((i for i in (text.find("."), text.find("/")) if i >= 0), default=-1)
        if cut < 0:
            raise ValueError(f'"{text}" is no address: expected name.instanceID')
        name, instance = text[:cut], text[cut + 1 :]
        for problem in (name_problem(name), instance_problem(instance)):
            if problem:
                raise ValueError(f'"{text}" is no address: {problem}')
        return cls(name, instance)

    @property
    def dotted(self) -> str:
        """`a.b`."""
        return f"{self.name}.{self.instance}"

    @property
    def key(self) -> str:
        """`a_b`."""
        return f"{self.name}_{self.instance}"

    def __str__(self) -> str:
        return f"{self.name}/{self.instance}"


def name_problem(text: str) -> str:
    """Say what is wrong with a tool name; "" if nothing is."""
    return _problem(text, NAME, "name", 'digits and "-"')


def instance_problem(text: str) -> str:
    """Say what is wrong with an instance ID; "" if nothing is."""
    return _problem(text, INSTANCE, "instanceID", 'digits, "-" and "."')


def _problem(text: str, pattern: re.Pattern[str], noun: str, allowed: str) -> str:
    if len(text) <= MAX_LENGTH and pattern.fullmatch(text):
        return ""
    return (
        f'{noun} "{text}" must be lower case letters, {allowed}, '
        "and start and end with a letter or digit"
    )
