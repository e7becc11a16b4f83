"""Identities: which tools share a resource, within a config and between config and state.

An identity is the natural key by which a provider finds a resource again, for example
`file:out/a.txt`.
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
"""The prefixes of identities that are paths. A file and a directory cannot have the same path."""


def is_comparable(identity: str | None | Unknown) -> TypeGuard[str]:
    """Check whether an identity is known and can be compared with those of other tools."""
    return isinstance(identity, str) and identity != BY_ADDRESS


def identity_path(identity: str) -> str | None:
    """Return the path in an identity, in the provider's spelling; None if it is not a path."""
    return identity.partition(":")[2] if identity.startswith(_ON_DISK) else None


class IdentityIndex:
    """The identities of the tools of a config. Each identity belongs to the first tool with it.

    Different spellings of one path, relative to `base_dir`, are the same identity.

        index = IdentityIndex(Path("/work"))
        index.add("file:out", a)             # None
        index.add("directory:/work/out", b)  # a: only one of them can exist
    """

    def __init__(self, base_dir: Path) -> None:
        self._base = base_dir
        self._first: dict[str, Address] = {}

    def add(self, identity: str, address: Address) -> Address | None:
        """Add a tool's identity. Returns the other tool that already has it, or None."""
        path = identity_path(identity)
        key = identity if path is None else self._normalize(path)
        first = self._first.setdefault(key, address)
        return None if first == address else first

    def _normalize(self, path: str) -> str:
        """Return the same text for all spellings of one path."""
        # Tested first: normpath is slow, and most paths are normalized already.
        path = normpath(path) if "/." in path or "//" in path else path
        if path.startswith(("/", "~")):
            return str(self._base / Path(path).expanduser())
        # Joined as text: a Path for each tool of a large config takes much longer.
        return f"{self._base}/{path}"


def known_identities(config: Config, operations: Operations) -> Iterator[tuple[ToolSpec, str]]:
    """Yield each tool whose identity is known before the apply and can be compared.

    A tool with another problem is left out: the planner reports that problem.
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
    """Find renamed tools: map the new address of each to its recorded address.

    A tool that is new in the config is a renamed one if a recorded tool is missing from the config,
    and both have the same identity, or the same instance ID and two names of one plugin. Two
    spellings of one path do not match: a wrong match would take over another resource.
    """
    wanted = {spec.address for spec in config.tools}
    missing = [entry for address, entry in state.entries.items() if address not in wanted]
    new = [spec for spec in config.tools if spec.address not in state.entries]
    # Most runs return here. Recalling secrets for the comparison is slow.
    if not missing or not new:
        return {}
    known: dict[tuple[str, str], Address] = {}
    memory = SecretRecall.of(operations, state)
    for entry in missing:
        known.update(dict.fromkeys(_recorded_keys(entry, memory), entry.address))
    found: dict[Address, Address] = {}
    for spec in new:
        keys = _recognition_keys(spec.address, spec.options, operations)
        old = next((known[key] for key in keys if key in known), None)
        # Two new tools may match one recorded tool. Only the first one takes it over.
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
            if ("", identity) in _recorded_keys(entry, memory)
        ),
        None,
    )


def _recorded_keys(entry: StateEntry, memory: SecretRecall) -> list[tuple[str, str]]:
    """Return the recognition keys of a recorded tool; none if a secret in its identity changed."""
    try:
        options = memory.recall_available(entry)
    except DtmError:
        return []
    return _recognition_keys(entry.address, options, memory.operations)


def _recognition_keys(
    address: Address, options: Attributes, operations: Operations
) -> list[tuple[str, str]]:
    """Return the keys by which a tool is recognized under another address.

    Empty if its plugin is unknown: the planner reports that.
    """
    try:
        keys = [(operations.provider(address).plugin, address.instance)]
        identity = operations.identity(address, options)
    except DtmError:
        return []
    return [*keys, ("", identity)] if is_comparable(identity) else keys
