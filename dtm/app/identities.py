"""What the tools of a config are in the world, as far as it is known before anything runs: no two the same, none dtm's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os.path import normpath
from pathlib import Path

from backends.local.store import SWAP_LOCK
from dtm.app.moved import HOME_FILE
from dtm.app.place import Place
from engine.address import Address
from engine.config import Config, ToolSpec
from engine.errors import ConfigError, DtmError, Problem
from engine.language.yaml import Text, locate
from engine.plugins.calls import Operations
from engine.ports import BY_ADDRESS, AnyProvider
from engine.values import UNKNOWN, Unknown, Value, is_plain

_ON_DISK = ("file:", "directory:")
"""How identities begin that name a path: a file and a directory cannot both be there."""


def check(config: Config, providers: Mapping[str, AnyProvider], place: Place | None = None) -> None:
    """Raise ConfigError with every tool that is the same thing as one above it, or that a secret would name.

    What names a thing stands in the state, where no secret may be. With `place` also those are refused that would be
    made where dtm keeps the state, its lock or its own notes.
    """
    base = config.settings.base_dir
    own = _Own(base, place) if place else None
    first: dict[str, ToolSpec] = {}
    found: list[tuple[ToolSpec, str, ToolSpec | None]] = []
    telling: list[tuple[ToolSpec, DtmError]] = []
    operations = Operations(providers, base, _forgotten)
    for tool, identity in _identities(config, operations):
        other = first.setdefault(_thing(identity, base), tool)
        if other is not tool:
            found.append((tool, identity, other))
        elif own and identity.startswith(_ON_DISK) and own.holds(_path(identity)):
            found.append((tool, identity, None))
        try:
            operations.refuse_secret_name(tool.address, tool.options)
        except DtmError as error:
            telling.append((tool, error))
    if found or telling:
        files: dict[str, Text] = {}
        problems = [_problem(*each, files) for each in found]
        problems += [
            Problem(locate(tool.where, files), f"{tool.address} {error.message}", error.hint)
            for tool, error in telling
        ]
        raise ConfigError(tuple(problems))


def _problem(
    tool: ToolSpec, identity: str, other: ToolSpec | None, files: dict[str, Text]
) -> Problem:
    name = f" ({identity})" if is_plain(tool.options) else ""  # else it may hold a secret
    where = locate(tool.where, files)
    if other is None:
        return Problem(
            where,
            f"{tool.address} would be where dtm keeps its own files{name}",
            "choose another path",
        )
    message = (
        f"{tool.address} is the same thing{name} as {other.address} at {locate(other.where, files)}"
    )
    return Problem(where, message, "keep one of the two, or give this one another name or place")


class _Own:
    """The paths that dtm itself writes: in the directory of a local state, and beside the config."""

    def __init__(self, base: Path, place: Place) -> None:
        self._base, notes, key = base, Path(HOME_FILE).parts[0], place.key
        self._notes = base.resolve() / notes
        local = place.settings.backend == "local"
        self._directory = Path(place.location.removeprefix("file://")).parent if local else None
        self._names = {key, f"{key}.log", f"{key}.log.d", f"{key}.history", SWAP_LOCK}
        self._telling = {*self._names, notes}
        self._hidden = (
            f".{key.removeprefix('.')}."  # the lock, and files on their way to their final name
        )

    def holds(self, path: str) -> bool:
        """Whether a path is one of them, or inside one."""
        if not any(
            part in self._telling or part.startswith(self._hidden) for part in path.split("/")
        ):
            return False  # nearly all; so links are looked up only for few
        full = self._base / Path(path).expanduser()
        real = full.parent.resolve() / full.name
        return real.is_relative_to(self._notes) or self._beside_state(real)

    def _beside_state(self, real: Path) -> bool:
        if self._directory is None or self._directory not in real.parents:
            return False
        name = real.relative_to(self._directory).parts[0]
        return name in self._names or name.startswith(self._hidden)


def _identities(config: Config, operations: Operations) -> Iterator[tuple[ToolSpec, str]]:
    """Every tool whose identity is known before anything runs; what is wrong with others is told when they are planned."""
    for tool in config.tools:
        try:
            identity = operations.identity(tool.address, operations.resolved(tool, _later))
        except DtmError:
            continue
        if isinstance(identity, str) and identity != BY_ADDRESS:
            yield tool, identity


def _thing(identity: str, base: Path) -> str:
    """The same text for all identities of one thing."""
    if not identity.startswith(_ON_DISK):
        return identity
    path = _path(identity)
    path = normpath(path) if "/." in path or "//" in path else path
    return str(base / Path(path).expanduser()) if path.startswith(("/", "~")) else f"{base}/{path}"


def _path(identity: str) -> str:
    return identity.partition(":")[2]


def _later(_address: Address) -> Unknown:
    return UNKNOWN


def _forgotten(_source: str) -> Value:
    return None
