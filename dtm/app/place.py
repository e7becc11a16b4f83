"""The choice of the state, and opening what stands there.

A flag wins over the environment, then config, settings file and the default beside the config.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Final, TypeAlias, TypeVar, cast

from msgspec.structs import replace

from backends.url import parse
from engine.config import Config, StateSettings
from engine.errors import ConfigError, Problem, UsageError
from engine.language import scalars
from engine.language.expressions import Raw
from engine.language.yaml import locate
from engine.log.state_store import StateStore
from engine.ports import Creating, Locker, Opened, Store
from engine.runtime.environment import Environment
from engine.suggestions import near
from engine.values import Value, reveal

T = TypeVar("T")
BackendFunction: TypeAlias = Callable[[Mapping[str, Value], Path, Mapping[str, str]], T]
"""A function of a backend's module.

It takes the options under canonical names, the directory that paths are relative to, and the
environment.
"""

DEFAULT_FILE = "devstream.state"
LAST_STATE_FILE = ".devstream/home"
"""dtm's note, beside a config, of the state that the config used last."""
DEFAULT_LEASE = 30.0
LOCKS: Final[Mapping[str, tuple[str, ...]]] = {
    "dynamodb": ("dynamodb",),
    "native": ("native",),
    "both": ("dynamodb", "native"),
    "none": (),
}
"""The lockers that make up each kind of lock."""
_NUMBER_OR_BOOLEAN: Final = re.compile(r"true|false|0|[1-9][0-9]*")


@dataclass(frozen=True)  # no Struct: it can leave the environment out of what it shows of itself
class Place:
    """An opened location: the state document is `key` in `store`. Nothing was asked yet."""

    settings: StateSettings
    opened: Opened
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @property
    def store(self) -> Store:
        """Where the document is."""
        return self.opened.store

    @property
    def key(self) -> str:
        """The document's name there."""
        return self.opened.key

    @cached_property
    def state(self) -> StateStore:
        """The state as the engine reads and writes it."""
        return StateStore(self.store, self.key, Environment(), self.settings.log)

    @property
    def location(self) -> str:
        """The document's own URL, without credentials: its `home`."""
        return self.state.location

    def kind(self) -> str:
        """Name the kind of lock: dynamodb, native, both or none."""
        if self.settings.lock.kind != "auto":
            return self.settings.lock.kind
        return next((kind for kind in ("dynamodb", "native") if kind in self._lockers), "none")

    def locker(self, kind: str) -> Locker | None:
        """Make the locker of a kind, None for none.

        Raises UsageError where the settings lack what it needs.
        """
        made = [self._lockers[part]() for part in LOCKS[kind]]
        if len(made) < 2:
            return made[0] if made else None
        from backends.lockers.pair import BothLockers

        return BothLockers(*made)

    def lease(self, kind: str) -> float:
        """Seconds that a lock of that kind outlives its holder's last sign of life."""
        if self.settings.lock.lease is not None:
            return self.settings.lock.lease
        return self.opened.lease if "native" in LOCKS[kind] else DEFAULT_LEASE

    @cached_property
    def _lockers(self) -> Mapping[str, Callable[[], Locker]]:
        """The lockers that can be had here, each made once."""
        makers = dict(self.opened.lockers)
        if url := self.settings.lock.url:
            makers["dynamodb"] = partial(_open_separate_locker, url, self.env)
        # One object per locker: a local one keeps the lock file that it holds open.
        return {part: cache(make) for part, make in makers.items()}

    def check(self) -> None:
        """Refuse settings that mean nothing here: they would be taken for protection.

        Raises UsageError.
        """
        lock = self.settings.lock
        if self.settings.backend == "local" and (lock.url or lock.kind not in ("auto", "none")):
            raise UsageError(
                f"state.lock.{'url' if lock.url else 'kind: ' + lock.kind} "
                "means nothing for a local state",
                hint="a local state is locked by the system; kind: none turns that off",
            )
        if lock.url and lock.kind in ("native", "none"):
            raise UsageError(
                f"state.lock.url and state.lock.kind: {lock.kind} exclude each other",
                hint="leave one of them out",
            )
        absent = [part for part in LOCKS.get(lock.kind, ()) if part not in self._lockers]
        if absent:
            raise UsageError(
                f"state.lock.kind: {lock.kind} needs what {self.location} does not have: "
                f"{' and '.join(absent)}",
                hint="a table is named by state.options.dynamodbTable, "
                "or by state.lock.url: dynamodb://table/LOCKID",
            )


def _open_separate_locker(url: str, env: Mapping[str, str]) -> Locker:
    from backends.aws.dynamodb import open_locker

    return open_locker(url, env)


def choose_settings(
    flag: str, env: Mapping[str, str], config: Config | None, cwd: Path
) -> tuple[StateSettings, str]:
    """The settings that win, and one line about what was overridden ("" if nothing was).

    Raises UsageError for a URL that cannot be read.
    """
    configured = config.settings.state if config else None
    for source, url in (("--state", flag), ("DTM_STATE", env.get("DTM_STATE", ""))):
        if url:
            chosen = replace(settings_from_url(url, cwd), source=source)
            return (
                chosen,
                f"{source} overrides the state that the config names." if configured else "",
            )
    if configured:
        return _refuse_memory(configured), ""
    # Read only now: a broken settings file must not stop a command that names its state.
    found = read_settings_file(env)
    if found:
        path, url = found
        # Only absolute paths are allowed in this file, so the directory does not matter.
        return replace(settings_from_url(url, Path("/")), source=str(path)), ""
    return default_settings(config.settings.base_dir if config else cwd), ""


def default_settings(directory: Path) -> StateSettings:
    """The file beside the config."""
    return StateSettings("local", {"stateFile": str(directory / DEFAULT_FILE)})


def settings_from_url(url: str, cwd: Path) -> StateSettings:
    """Settings from a URL; a path is relative to `cwd`. Raises UsageError."""
    settings = _refuse_memory(parse(url), url)
    if settings.backend != "local":
        return settings
    path = cwd / Path(str(settings.options["stateFile"])).expanduser()
    return replace(settings, options={**settings.options, "stateFile": str(path)})


def _refuse_memory(settings: StateSettings, named: str = "state.backend") -> StateSettings:
    """The settings, if a state is kept there at all."""
    if settings.backend == "memory":
        raise UsageError(
            f"{named}: a memory state ends with the process "
            "and is only for tests and the Python API"
        )
    return settings


def read_settings_file(env: Mapping[str, str]) -> tuple[Path, str] | None:
    """`~/.dtm.yaml`, else `~/.dtm/config`: the first that exists, never merged; its key `state`."""
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
            f"{path} cannot be read: {error}",
            hint="mend or remove it, or name the state with --state",
        ) from error
    # An empty file names no state; that is no error.
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
    """A misspelt key would leave the state somewhere else, without a word."""
    if names:
        hint = 'did you mean "state"?' if near("state", names) else 'its only key is "state"'
        raise UsageError(f"{path}: unknown key: {', '.join(sorted(names))}", hint=hint)


def open_place(settings: StateSettings, base_dir: Path, env: Mapping[str, str]) -> Place:
    """Connect to a store without a request.

    Raises ConfigError with every wrong option, UsageError, PluginError.
    """
    from dtm.plugins import backends

    place = Place(
        settings,
        call_backend(settings, base_dir, env, backends()[settings.backend].open_backend),
        env,
    )
    # Before the first request: a setting without effect would be taken for protection.
    place.check()
    return place


def resource_creator(place: Place, base_dir: Path) -> Creating | None:
    """Make the object that makes the place of this state and says who needs what.

    None where nothing has to be made. Raises ConfigError.
    """
    from dtm.plugins import backends

    make: BackendFunction[Creating] | None = getattr(
        backends()[place.settings.backend], "creating", None
    )
    return call_backend(place.settings, base_dir, place.env, make) if make else None


def call_backend(
    settings: StateSettings, base_dir: Path, env: Mapping[str, str], use: BackendFunction[T]
) -> T:
    """Call a backend's function with these settings.

    Raises ConfigError with every wrong option, and its place.
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
        try:
            return use({name: reveal(value) for name, value in options.items()}, base_dir, env)
        except ConfigError as error:
            problems = list(error.problems)
    raise ConfigError(
        tuple(replace(each, where=_locate_option(settings, each.where)) for each in problems)
    )


def _parse_option(value: Value) -> Raw:
    """A value of a URL, which is always text, as a config would have it."""
    return (
        scalars.read(value)
        if isinstance(value, str) and _NUMBER_OR_BOOLEAN.fullmatch(value)
        else value
    )


def _locate_option(settings: StateSettings, option: str) -> str:
    """Where an option stands; what named the state, if that was no config."""
    if not settings.where.file:
        return settings.source
    return locate(
        replace(
            settings.where, path=(*settings.where.path, "options", *([option] if option else []))
        )
    )
