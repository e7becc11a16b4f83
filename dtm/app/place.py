"""The choice of a state's location, and opening it.

The flag `--state` wins over `DTM_STATE`, then come the config, the user's settings file, and the
default file next to the config.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast

from msgspec.structs import replace

from backends.url import parse
from engine.config import Config, StateSettings
from engine.errors import ConfigError, Problem, UsageError
from engine.language import scalars
from engine.language.expressions import RawValue
from engine.language.yaml import locate
from engine.log.state_store import StateStore
from engine.ports import Locker, OpenedBackend, Provisioner, Store
from engine.runtime.environment import Environment
from engine.suggestions import find_similar
from engine.values import Secret, Value, find_leaves, reveal

if TYPE_CHECKING:
    from dtm.app.debug_log import DebugLog  # heavy

T = TypeVar("T")
BackendFunction: TypeAlias = Callable[[Mapping[str, Value], Path, Mapping[str, str]], T]
"""A function of a backend's module.

It takes the options under their canonical names, the directory that paths are relative to, and the
environment variables.
"""

DEFAULT_FILE = "devstream.state"
LAST_STATE_FILE = ".devstream/home"
"""The file, relative to the config, in which dtm records the state that the config used last."""
DEFAULT_LEASE = 30.0
LOCKS: Final[Mapping[str, tuple[str, ...]]] = {
    "dynamodb": ("dynamodb",),
    "native": ("native",),
    "both": ("dynamodb", "native"),
    "none": (),
}
"""The lockers that each kind of lock uses."""
_NUMBER_OR_BOOLEAN: Final = re.compile(r"true|false|0|[1-9][0-9]*")


@dataclass(frozen=True)  # not a Struct, which cannot leave a field (here `env`) out of its repr
class Place:
    """An opened location: the state file is `key` in `store`.

    Opening it sends no request.
    """

    settings: StateSettings
    opened: OpenedBackend
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    debug_log: DebugLog | None = None

    @property
    def store(self) -> Store:
        """The store that holds the state file."""
        return self.opened.store

    @property
    def key(self) -> str:
        """The state file's key in the store."""
        return self.opened.key

    @cached_property
    def state(self) -> StateStore:
        """The state as the engine reads and writes it."""
        return StateStore(self.store, self.key, Environment(), self.settings.log)

    @property
    def location(self) -> str:
        """The state file's URL without credentials: the home of its state."""
        return self.state.location

    def lock_kind(self) -> str:
        """Return the kind of lock: dynamodb, native, both or none."""
        if self.settings.lock.kind != "auto":
            return self.settings.lock.kind
        return next((kind for kind in ("dynamodb", "native") if kind in self._lockers), "none")

    def locker(self, kind: str) -> Locker | None:
        """Return the locker of a kind, None for the kind "none".

        Raises UsageError if the settings lack what the locker needs.
        """
        made = [self._lockers[part]() for part in LOCKS[kind]]
        if len(made) < 2:
            return made[0] if made else None
        from backends.lockers.pair import BothLockers

        return BothLockers(*made)

    def lease(self, kind: str) -> float:
        """Return for how many seconds a lock of that kind stays valid without a renewal."""
        if self.settings.lock.lease is not None:
            return self.settings.lock.lease
        return self.opened.lease if "native" in LOCKS[kind] else DEFAULT_LEASE

    @cached_property
    def _lockers(self) -> Mapping[str, Callable[[], Locker]]:
        """The lockers of this place by name, each created once."""
        makers = dict(self.opened.lockers)
        if url := self.settings.lock.url:
            makers["dynamodb"] = partial(_open_separate_locker, url, self.env)
        if self.debug_log:
            from dtm.app.logged_ports import logged_locker

            makers = {part: logged_locker(make, self.debug_log) for part, make in makers.items()}
        # Each is created once, because a local locker keeps the file of a held lock open.
        return {part: cache(make) for part, make in makers.items()}

    def check(self) -> None:
        """Raise UsageError for lock settings that have no effect here.

        The user would rely on a protection that does not exist.
        """
        lock = self.settings.lock
        if self.settings.backend == "local" and (lock.url or lock.kind not in ("auto", "none")):
            raise UsageError(
                f"state.lock.{'url' if lock.url else 'kind: ' + lock.kind} "
                "has no effect on a local state",
                hint="remove it; a local state is locked by default, kind: none disables that",
            )
        if lock.url and lock.kind in ("native", "none"):
            raise UsageError(
                f"state.lock.url and state.lock.kind: {lock.kind} cannot be combined",
                hint="remove one of them",
            )
        absent = [part for part in LOCKS.get(lock.kind, ()) if part not in self._lockers]
        if absent:
            raise UsageError(
                f"state.lock.kind: {lock.kind} needs a lock that {self.location} does not have: "
                f"{' and '.join(absent)}",
                hint="name a table with state.options.dynamodbTable, "
                "or with state.lock.url: dynamodb://table/LOCKID",
            )


def _open_separate_locker(url: str, env: Mapping[str, str]) -> Locker:
    from backends.aws.dynamodb import open_locker

    return open_locker(url, env)


def choose_settings(
    flag: str, env: Mapping[str, str], config: Config | None, cwd: Path
) -> tuple[StateSettings, str]:
    """Return the settings that win, and a warning about what they override ("" for none).

    Raises UsageError for a URL that cannot be parsed.
    """
    configured = config.settings.state if config else None
    for source, url in (("--state", flag), ("DTM_STATE", env.get("DTM_STATE", ""))):
        if url:
            chosen = replace(settings_from_url(url, cwd), source=source)
            return (
                chosen,
                f"{source} overrides the state that the config names" if configured else "",
            )
    if configured:
        return _refuse_memory(configured), ""
    # Read as the last source: a broken settings file must not stop a command that names its state.
    found = read_settings_file(env)
    if found:
        path, url = found
        # Only absolute paths are allowed in this file, so the directory does not matter.
        return replace(settings_from_url(url, Path("/")), source=str(path)), ""
    return default_settings(config.settings.base_dir if config else cwd), ""


def default_settings(directory: Path) -> StateSettings:
    """Return the settings of the default state file in a directory."""
    return StateSettings("local", {"stateFile": str(directory / DEFAULT_FILE)})


def settings_from_url(url: str, cwd: Path) -> StateSettings:
    """Return the settings of a URL; a path is relative to `cwd`. Raises UsageError."""
    settings = _refuse_memory(parse(url), url)
    if settings.backend != "local":
        return settings
    path = cwd / Path(str(settings.options["stateFile"])).expanduser()
    return replace(settings, options={**settings.options, "stateFile": str(path)})


def _refuse_memory(settings: StateSettings, named: str = "state.backend") -> StateSettings:
    """Return the settings. Raise UsageError for a memory state, which no later run could read."""
    if settings.backend == "memory":
        raise UsageError(
            f"{named}: a memory state ends with the process "
            "and is only for tests and the Python API"
        )
    return settings


def read_settings_file(env: Mapping[str, str]) -> tuple[Path, str] | None:
    """Read the key `state` of the user's settings file.

    Return the file and the URL, None if there is none.

    The file is `~/.dtm.yaml`, or `~/.dtm/config` if the first does not exist. The two are never
    merged.
    """
    home = env.get("HOME")
    if not home:
        return None
    for path in (Path(home, ".dtm.yaml"), Path(home, ".dtm", "config")):
        if path.is_file():
            return _state_key(path)
    return None


def _state_key(path: Path) -> tuple[Path, str] | None:
    import yaml

    try:
        data: object = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(
            f"cannot read {path}: {error}",
            hint="repair or remove the file, or name the state with --state",
        ) from error
    # An empty file names no state, which is allowed.
    if data is None:
        return None
    if not isinstance(data, dict):
        raise UsageError(f"{path}: expected a map whose key `state` is a URL")
    settings = cast("dict[object, object]", data)  # YAML says nothing about what is in its maps
    _refuse_unknown(path, [str(name) for name in settings if name != "state"])
    url = settings.get("state")
    if url is None or url == "":
        return None
    if not isinstance(url, str):
        raise UsageError(f"{path}: expected a map whose key `state` is a URL")
    if "://" not in url and not Path(url).expanduser().is_absolute():
        raise UsageError(
            f'{path}: state "{url}" must be absolute',
            hint="write a URL such as file:///srv/dtm/devstream.state",
        )
    return path, url


def _refuse_unknown(path: Path, names: list[str]) -> None:
    """Raise UsageError for keys other than `state`.

    A key with a typo would otherwise be ignored, and the run would use another state.
    """
    if names:
        hint = (
            'check the spelling: "state" is similar'
            if find_similar("state", names)
            else 'use the only key, "state"'
        )
        raise UsageError(f"{path}: unknown key: {', '.join(sorted(names))}", hint=hint)


def open_place(
    settings: StateSettings,
    base_dir: Path,
    env: Mapping[str, str],
    debug_log: DebugLog | None = None,
) -> Place:
    """Open a place without a request; `debug_log` gets every request that follows.

    Raises ConfigError with every wrong option, UsageError, PluginError.
    """
    from dtm.plugins import backends

    learn = debug_log.learn if debug_log else None
    open_backend = backends()[settings.backend].open_backend
    opened = call_backend(settings, base_dir, env, open_backend, learn=learn)
    if debug_log:
        from dtm.app.logged_ports import logged_store

        opened = replace(opened, store=logged_store(opened.store, debug_log))
    place = Place(settings, opened, env, debug_log)
    # Before the first request, so that nothing is read or written with settings to be refused.
    place.check()
    return place


def open_provisioner(place: Place, base_dir: Path) -> Provisioner | None:
    """Return the object that creates what this state needs and lists the permissions.

    Return None if nothing has to be created, as for a local state. Raises ConfigError.
    """
    from dtm.plugins import backends

    make: BackendFunction[Provisioner] | None = getattr(
        backends()[place.settings.backend], "open_provisioner", None
    )
    if make is None:
        return None
    found = call_backend(place.settings, base_dir, place.env, make)
    if place.debug_log:
        from dtm.app.logged_ports import LoggedProvisioner

        return LoggedProvisioner(found, place.location, place.debug_log)
    return found


def call_backend(
    settings: StateSettings,
    base_dir: Path,
    env: Mapping[str, str],
    use: BackendFunction[T],
    *,
    learn: Callable[[Value], object] | None = None,
) -> T:
    """Call a function of the backend with its decoded options; `learn` gets their secrets.

    Raises ConfigError with every wrong option and its line.
    """
    from dtm.plugins import backends
    from engine.options.decode import decode

    written = {name: _parse_option(value) for name, value in settings.options.items()}
    options, faults = decode(written, backends()[settings.backend].OPTIONS, env=env)
    problems = [
        Problem(str(fault.path[0]) if fault.path else "", f"state: {fault.message}", fault.hint)
        for fault in faults
    ]
    if not problems:
        if learn:
            for secret in find_leaves(options, Secret):
                learn(secret)
        try:
            return use({name: reveal(value) for name, value in options.items()}, base_dir, env)
        except ConfigError as error:
            problems = list(error.problems)
    raise ConfigError(
        tuple(replace(each, where=_locate_option(settings, each.where)) for each in problems)
    )


def _parse_option(value: Value) -> RawValue:
    """Parse an option as YAML would: a value from a URL is always text."""
    return (
        scalars.read(value)
        if isinstance(value, str) and _NUMBER_OR_BOOLEAN.fullmatch(value)
        else value
    )


def _locate_option(settings: StateSettings, option: str) -> str:
    """Return the line of an option in the config, or the flag or variable that gave the URL."""
    if not settings.where.file:
        return settings.source
    return locate(
        replace(
            settings.where, path=(*settings.where.path, "options", *([option] if option else []))
        )
    )
