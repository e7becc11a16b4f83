"""The check of a config's identities before anything runs.

Two tools may not have the same identity, an identity may not contain a secret, and no tool may
write to a file that dtm itself uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from backends.local.store import SWAP_LOCK
from dtm.app.place import LAST_STATE_FILE, Place
from engine.config import Config, ToolSpec
from engine.errors import ConfigError, DtmError, Problem
from engine.language.yaml import ParsedFile, locate
from engine.planning.identities import IdentityIndex, identity_path, known_identities
from engine.plugins.calls import Operations
from engine.ports import AnyProvider
from engine.values import is_plain

_Identified: TypeAlias = Sequence[tuple[ToolSpec, str]]
"""Tools with their identities."""


def check_identities(
    config: Config, providers: Mapping[str, AnyProvider], place: Place | None = None
) -> None:
    """Raise ConfigError with every tool whose identity cannot be accepted.

    The state stores identities in clear text, so they may not contain a secret. With `place`, the
    files of the state, its lock and its records are protected too.
    """
    base = config.settings.base_dir
    operations = Operations(providers, base, recall=lambda _: None)
    named = list(known_identities(config, operations))
    own = _DtmFiles(base, place) if place else None
    files: dict[str, ParsedFile] = {}
    problems = [*_conflicts(named, base, own, files), *_secret_identities(named, operations, files)]
    if problems:
        raise ConfigError(tuple(problems))


def _conflicts(
    named: _Identified, base: Path, own: _DtmFiles | None, files: dict[str, ParsedFile]
) -> Iterator[Problem]:
    index = IdentityIndex(base)
    tools = {tool.address: tool for tool, _ in named}
    for tool, identity in named:
        # Not shown if it may contain a secret.
        shown = f" ({identity})" if is_plain(tool.options) else ""
        path = identity_path(identity)
        if first := index.add(identity, tool.address):
            above = f"{first} at {locate(tools[first].where, files)}"
            yield Problem(
                locate(tool.where, files),
                f"{tool.address} manages the same resource{shown} as {above}",
                "remove one of the two tools, or change the name or path of this one",
            )
        elif own and path is not None and own.contains(path):
            yield Problem(
                locate(tool.where, files),
                f"{tool.address} would use a path of dtm's own files{shown}",
                "choose another path",
            )


def _secret_identities(
    named: _Identified, operations: Operations, files: dict[str, ParsedFile]
) -> Iterator[Problem]:
    for tool, _ in named:
        try:
            operations.refuse_secret_identity(tool.address, tool.options)
        except DtmError as error:
            message = f"{tool.address} {error.message}"
            yield Problem(locate(tool.where, files), message, error.hint)


class _DtmFiles:
    """The paths that dtm itself writes, next to a local state file and next to the config."""

    def __init__(self, base: Path, place: Place) -> None:
        self._base, key = base, place.key
        records = Path(LAST_STATE_FILE).parts[0]
        self._records = base.resolve() / records
        local = place.settings.backend == "local"
        self._directory = Path(place.location.removeprefix("file://")).parent if local else None
        self._names = {key, f"{key}.log", f"{key}.log.d", f"{key}.history", SWAP_LOCK}
        self._all_names = {*self._names, records}
        # The lock file, and temporary files that are renamed when they are complete.
        self._hidden = f".{key.removeprefix('.')}."

    def contains(self, path: str) -> bool:
        """Return whether a path is one of these files, or inside one of these directories."""
        steps = path.split("/")
        if not any(step in self._all_names or step.startswith(self._hidden) for step in steps):
            # Nearly every path ends here, so links are resolved for a few paths only.
            return False
        full = self._base / Path(path).expanduser()
        # Links are resolved in the parent only: a provider replaces a link at the path itself.
        real = full.parent.resolve() / full.name
        return real.is_relative_to(self._records) or self._beside_state(real)

    def _beside_state(self, real: Path) -> bool:
        if self._directory is None or self._directory not in real.parents:
            return False
        name = real.relative_to(self._directory).parts[0]
        return name in self._names or name.startswith(self._hidden)
