"""An empty state where a full one was meant: which state a config used last, and what else stands where one is likely."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from dtm.app.place import DEFAULT_FILE, Place, default, from_url, open_place
from dtm.render.text import count
from engine.config import Config, StateSettings
from engine.errors import DtmError, StateError
from engine.events import Notice
from engine.ports import Emit
from engine.session import read_state

HOME_FILE = ".devstream/home"


def refuse_empty(place: Place, config: Config | None, cwd: Path, emit: Emit) -> None:
    """Refuse the empty state at `place` where a non-empty one is likelier to be meant. Raises StateError naming both.

    A state that cannot be looked at is only told.
    """
    base = config.settings.base_dir if config else cwd
    for settings in _others(base, cwd):
        url = _url(settings)
        try:
            other = open_place(settings, base, place.env)
            if other.location == place.location:
                continue
            state = read_state(other.store, other.key).state
        except StateError:
            raise
        except DtmError as error:
            emit(
                Notice(
                    "warning", f"this config last used the state {url}, which cannot be looked at: {error.message}", error.hint
                )
            )
            continue
        foreign = settings == default(cwd) != default(base) and bool(state.id.lineage)
        if state.entries and not foreign:
            raise StateError(
                f"the state at {place.location} is empty, but {other.location} holds {count(len(state.entries), 'tool')}",
                hint=f"use it: --state {shlex.quote(url)}; copy it: dtm state pull --state {shlex.quote(url)} | "
                "dtm state push - --adopt; or say that empty is meant with --new-state",
            )


def _others(base: Path, cwd: Path) -> Iterator[StateSettings]:
    """The default file beside the config, one in the current directory, and the state that this config last used.

    DevStream kept its state in the current directory; one of dtm's there is another project's.
    """
    for directory in dict.fromkeys((base, cwd)):
        if (directory / DEFAULT_FILE).is_file():
            yield default(directory)
    remembered = base / HOME_FILE
    if remembered.is_file():
        yield from_url(remembered.read_text("utf-8").strip(), base)


def remember(place: Place, base: Path) -> None:
    """Note which state this config used, unless it is the default one, which is looked at anyway."""
    if place.settings.backend == "local" and Path(place.location.removeprefix("file://")) == (base / DEFAULT_FILE).resolve():
        return
    path, url = base / HOME_FILE, _url(place.settings)
    if not url or (path.is_file() and path.read_text("utf-8").strip() == url):
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(url + "\n", "utf-8")


def _url(settings: StateSettings) -> str:
    from backends.url import spelled

    return spelled(settings)
