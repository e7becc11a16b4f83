"""Which state: flag, environment, config, settings file or the default beside the config; and what stands there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from engine.config import Config, StateSettings
from engine.errors import StateError, UsageError
from engine.ports import Locker, Store
from engine.state import State
from engine.values import reveal

DEFAULT_FILE = "devstream.state"
HOME_FILE = ".devstream/home"
DEFAULT_LEASE = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """An opened location: the state document is `key` in `store`; `locker` None means that locking is off."""

    store: Store
    locker: Locker | None
    key: str
    settings: StateSettings

    @property
    def lease(self) -> float:
        """Seconds that a lock outlives its holder's last sign of life."""
        return DEFAULT_LEASE if self.settings.lock.lease is None else self.settings.lock.lease

    @property
    def location(self) -> str:
        """The document's own URL, without credentials: its `home`."""
        return f"{self.store.location.rstrip('/')}/{self.key}"


def choose(flag: str, env: Mapping[str, str], config: Config | None, cwd: Path) -> tuple[StateSettings, str]:
    """The settings that win, and one line about what was overridden ("" if nothing was).

    Raises UsageError for a URL that cannot be read.
    """
    configured = config.settings.state if config else None
    for source, url in (("--state", flag), ("DTM_STATE", env.get("DTM_STATE", ""))):
        if url:
            chosen = replace(from_url(url, cwd), source=source)
            return chosen, f"{source} overrides the state that the config names." if configured else ""
    if configured:
        return configured, ""
    found = settings_file(env)
    if found:
        path, url = found
        return replace(from_url(url, Path("/")), source=str(path)), ""
    base = config.settings.base_dir if config else cwd
    return StateSettings("local", {"stateFile": str(base / DEFAULT_FILE)}), ""


def from_url(url: str, cwd: Path) -> StateSettings:
    """Settings from a URL; a path is relative to `cwd`. Raises UsageError."""
    from backends.url import parse

    settings = parse(url)
    if settings.backend == "memory":
        raise UsageError(f"{url}: a memory state ends with the process and is only for tests and the Python API")
    if settings.backend != "local":
        return settings
    path = cwd / Path(str(settings.options["stateFile"])).expanduser()
    return replace(settings, options={**settings.options, "stateFile": str(path)})


def settings_file(env: Mapping[str, str]) -> tuple[Path, str] | None:
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
        raise UsageError(f"{path} cannot be read: {error}", hint="mend or remove it, or name the state with --state") from error
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
        raise UsageError(f'{path}: state "{url}" must be absolute', hint="write a URL such as file:///srv/dtm/devstream.state")
    return path, url


def _refuse_unknown(path: Path, names: list[str]) -> None:
    """A misspelt key would leave the state somewhere else, without a word."""
    from difflib import get_close_matches

    if names:
        hint = 'did you mean "state"?' if get_close_matches("state", names, 1) else 'its only key is "state"'
        raise UsageError(f"{path}: unknown key: {', '.join(sorted(names))}", hint=hint)


def open_place(settings: StateSettings, base_dir: Path) -> Place:
    """Connect to a store. Raises UsageError for a backend that this version does not have."""
    if settings.backend == "local":
        from backends.local import open_local

        _refuse_remote_settings(settings)
        options = {name: reveal(value) for name, value in settings.options.items()}
        store, locker, key = open_local(options, base_dir)
        return Place(store, None if settings.lock.kind == "none" else locker, key, settings)
    raise UsageError(
        f"state backend {settings.backend} is not part of this version",
        hint="use a local state: --state file:///path/to/devstream.state",
    )


def _refuse_remote_settings(settings: StateSettings) -> None:
    """What means nothing for a local state is refused: it would be taken for protection that is not there."""
    if settings.log == "inline":
        raise UsageError("state.log: inline is not part of this version", hint="leave it out: the log stands beside the state")
    if settings.lock.url or settings.lock.kind not in ("auto", "none"):
        raise UsageError(
            f"state.lock.{'url' if settings.lock.url else 'kind: ' + settings.lock.kind} means nothing for a local state",
            hint="a local state is locked by the system; kind: none turns that off",
        )


def refuse_empty(place: Place, config: Config | None, cwd: Path, *, exists: bool, new_state: bool) -> None:
    """An empty state is refused where a non-empty one is likelier to be meant. Raises StateError naming both."""
    if exists or new_state:
        return
    base = config.settings.base_dir if config else cwd
    for candidate in _other_locations(base, cwd):
        if same_file(candidate, place) or not candidate.is_file():
            continue
        state = _state_in(candidate)
        count = len(state.entries)
        if count and not (candidate == cwd / DEFAULT_FILE != base / DEFAULT_FILE and state.id.lineage):
            raise StateError(
                f"the state at {place.location} is empty, but {candidate} holds {count} tools",
                hint=f"use it: --state {candidate}; copy it: dtm state pull --state {candidate} | dtm state push - --adopt; "
                "or say that empty is meant with --new-state",
            )


def _other_locations(base: Path, cwd: Path) -> list[Path]:
    """The default file beside the config, the one that this config last used, and one in the current directory.

    DevStream kept its state in the current directory; one of dtm's there is another project's.
    """
    places = [base / DEFAULT_FILE, *([cwd / DEFAULT_FILE] if cwd != base else [])]
    remembered = base / HOME_FILE
    if remembered.is_file():
        places.append(Path(remembered.read_text("utf-8").strip().removeprefix("file://")))
    return places


def same_file(path: Path, place: Place) -> bool:
    """Whether the place is that very file."""
    state_file = place.settings.options.get("stateFile")
    return place.settings.backend == "local" and isinstance(state_file, str) and Path(state_file).resolve() == path.resolve()


def _state_in(path: Path) -> State:
    from backends.local import open_local
    from engine.session import read_state

    store, _, key = open_local({"stateFile": str(path)}, path.parent)
    return read_state(store, key).state


def remember(place: Place, base: Path) -> None:
    """Note which state this config used, unless it is the default one, which is looked at anyway."""
    if same_file(base / DEFAULT_FILE, place):
        return
    path = base / HOME_FILE
    if path.is_file() and path.read_text("utf-8").strip() == place.location:
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(place.location + "\n", "utf-8")
