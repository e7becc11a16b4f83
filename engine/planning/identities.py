"""Identities: which tools stand for one thing, within a config and between config and state.

An identity is the natural key by which a provider finds a resource again, `file:out/a.txt`.
"""

from __future__ import annotations

from collections.abc import Iterator
from os.path import normpath
from pathlib import Path
from typing import TypeGuard

from engine.address import Address
from engine.config import Config, ToolSpec
from engine.errors import DtmError
from engine.plugins.calls import Operations
from engine.plugins.recall import SecretRecall
from engine.ports import BY_ADDRESS
from engine.state import State, StateEntry
from engine.values import UNKNOWN, Attributes, Unknown

_ON_DISK = ("file:", "directory:")
"""How identities begin that name a path: a file and a directory cannot both be there."""


def is_comparable(identity: str | None | Unknown) -> TypeGuard[str]:
    """Check whether an identity is known and names one thing outside the state."""
    return isinstance(identity, str) and identity != BY_ADDRESS


def identity_path(identity: str) -> str | None:
    """Take the path out of an identity, as the provider spells it; None if it names none."""
    return identity.partition(":")[2] if identity.startswith(_ON_DISK) else None


class IdentityIndex:
    """The things that the tools of a config stand for; each belongs to the first tool.

    Paths are compared by where they lead from `base_dir`.

        index = IdentityIndex(Path("/work"))
        index.add("file:out", a)             # None
        index.add("directory:/work/out", b)  # a: both cannot be there
    """

    def __init__(self, base_dir: Path) -> None:
        self._base = base_dir
        self._first: dict[str, Address] = {}

    def add(self, identity: str, address: Address) -> Address | None:
        """Claim a thing; give the other tool that claimed it before, None if there is none."""
        path = identity_path(identity)
        thing = identity if path is None else self._place(path)
        first = self._first.setdefault(thing, address)
        return None if first == address else first

    def _place(self, path: str) -> str:
        """Give the same text for all spellings of one path."""
        # Tested first, because normpath is slow and the paths of most configs are clean.
        path = normpath(path) if "/." in path or "//" in path else path
        if path.startswith(("/", "~")):
            return str(self._base / Path(path).expanduser())
        # As text: making a Path for each tool of a large config takes much longer.
        return f"{self._base}/{path}"


def known_identities(config: Config, operations: Operations) -> Iterator[tuple[ToolSpec, str]]:
    """Yield each tool with a comparable identity that is known before anything runs.

    A tool with another problem is left out: that is reported when it is planned.
    """
    for tool in config.tools:
        try:
            options = operations.resolve_options(tool, lambda _: UNKNOWN)
            identity = operations.identity(tool.address, options)
        except DtmError:
            continue
        if is_comparable(identity):
            yield tool, identity


def find_moves(config: Config, state: State, operations: Operations) -> dict[Address, Address]:
    """New address -> old one, where a tool that joined the config is one that left it.

    It is if both have the same instance of the same plugin, under two of its names, or one
    identity. Here identities are compared as they are spelled: a move must not guess.
    """
    wanted = {spec.address for spec in config.tools}
    left = [entry for address, entry in state.entries.items() if address not in wanted]
    joined = [spec for spec in config.tools if spec.address not in state.entries]
    # Most runs move nothing and stop here, before any secret is recalled.
    if not left or not joined:
        return {}
    known: dict[tuple[str, str], Address] = {}
    memory = SecretRecall.of(operations, state)
    for entry in left:
        known.update(dict.fromkeys(_recorded_marks(entry, memory), entry.address))
    found: dict[Address, Address] = {}
    for spec in joined:
        marks = _marks(spec.address, spec.options, operations)
        old = next((known[mark] for mark in marks if mark in known), None)
        # Two new tools may match one recorded tool; only the first takes it over.
        if old is not None and old not in found.values():
            found[spec.address] = old
    return found


def find_owner(
    identity: str | None | Unknown, state: State, memory: SecretRecall
) -> Address | None:
    """Find the recorded tool with this identity; None if there is none."""
    if not is_comparable(identity):
        return None
    return next(
        (
            address
            for address, entry in state.entries.items()
            if ("", identity) in _recorded_marks(entry, memory)
        ),
        None,
    )


def _recorded_marks(entry: StateEntry, memory: SecretRecall) -> list[tuple[str, str]]:
    """List the `_marks` of a recorded tool; none if a secret in its name is gone."""
    try:
        options = memory.recall_available(entry)
    except DtmError:
        return []
    return _marks(entry.address, options, memory.operations)


def _marks(address: Address, options: Attributes, operations: Operations) -> list[tuple[str, str]]:
    """List the signs by which a tool is known again under another address.

    None if its plugin is gone, which is reported elsewhere.
    """
    try:
        marks = [(operations.provider(address).plugin, address.instance)]
        identity = operations.identity(address, options)
    except DtmError:
        return []
    return [*marks, ("", identity)] if is_comparable(identity) else marks
