"""The protection against an empty state where a full one was meant.

It knows which state a config used last, and what else stands where a state is likely.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from backends.url import to_url
from dtm.app.place import (
    DEFAULT_FILE,
    LAST_STATE_FILE,
    Place,
    default_settings,
    open_place,
    settings_from_url,
)
from dtm.app.workspace import Workspace
from engine.config import StateSettings
from engine.errors import DtmError, StateError
from engine.events import Notice
from engine.session.reading import read_state

EXPLICIT_SOURCES = ("--state", "DTM_STATE")
"""The sources that name a state on purpose, see `dtm.app.place.choose`."""


def refuse_empty(workspace: Workspace) -> None:
    """Refuse an empty state where a non-empty one is likelier to be meant.

    That is a state that was there once, or one that stands elsewhere. Without a config nothing is
    likelier than the state that the user named.

    Raises StateError naming both. A state that cannot be read is only a warning.
    """
    place, base, cwd = workspace.place, workspace.base_dir, workspace.request.cwd
    if workspace.config is None and place.settings.source in EXPLICIT_SOURCES:
        return
    _refuse_missing(place, base)
    for settings in _likely_settings(base, cwd):
        url = to_url(settings)
        try:
            other = open_place(settings, base, place.env)
            if other.location == place.location:
                continue
            state = read_state(other.state).state
        except StateError:
            raise
        except DtmError as error:
            workspace.emit(
                Notice(
                    "warning",
                    f"this config last used the state {url}, which cannot be looked at: "
                    f"{error.message}",
                    error.hint,
                )
            )
            continue
        is_other_project = settings == default_settings(cwd) != default_settings(base) and bool(
            state.id.lineage
        )
        if state.entries and not is_other_project:
            held = len(state.entries)
            raise StateError(
                f"the state at {place.location} is empty, "
                f"but {other.location} holds {held:,} tool{'' if held == 1 else 's'}",
                hint=f"use it: --state {shlex.quote(url)}; "
                f"copy it: dtm state pull --state {shlex.quote(url)} | "
                "dtm state push - --adopt; or say that empty is meant with --new-state",
            )


def _refuse_missing(place: Place, base: Path) -> None:
    remembered = _last_state(base)
    if remembered and open_place(remembered, base, place.env).location == place.location:
        raise StateError(
            f"the state at {place.location} is gone: "
            "this config used it last, and now nothing is there",
            hint="put it back: an earlier version of the object, "
            "or a backup with dtm state push FILE; "
            "or say that a new one is meant with --new-state",
        )


def _last_state(base: Path) -> StateSettings | None:
    path = base / LAST_STATE_FILE
    try:
        url = path.read_text("utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(
            f"cannot read {path}, which says what state this config used last: {_reason(error)}",
            hint="make it readable, or remove it if this state is the right one",
        ) from error
    return settings_from_url(url, base)


def announce_new_state(workspace: Workspace) -> None:
    """Say that there is no state yet: a name may be mistyped. The default one has none."""
    place = workspace.place
    if _is_default(place, workspace.base_dir):
        return
    made = ""
    if place.settings.backend == "kubernetes":
        made = f" (namespace {urlsplit(place.location).hostname} is made if it is missing)"
    workspace.emit(
        Notice("info", f"the state {place.location} does not exist yet, apply creates it{made}")
    )


def _likely_settings(base: Path, cwd: Path) -> Iterator[StateSettings]:
    """List the places where a state is likely, other than the named one.

    The default file beside the config, the default file in the current directory, and the state
    that this config last used.

    DevStream kept its state in the current directory; one of dtm's there is another project's.
    """
    for directory in dict.fromkeys((base, cwd)):
        if (directory / DEFAULT_FILE).is_file():
            yield default_settings(directory)
    if remembered := _last_state(base):
        yield remembered


def record_last_state(workspace: Workspace) -> None:
    """Note which state this config used, unless it is the default one, which is read anyway.

    Where that cannot be written, as in a read-only checkout, it is only a warning.
    """
    place, base = workspace.place, workspace.base_dir
    if _is_default(place, base):
        return
    path = base / LAST_STATE_FILE
    # A relative path is no URL.
    url = place.location if place.settings.backend == "local" else to_url(place.settings)
    if not url:
        return
    note = f"{url}\n".encode()
    try:
        if path.is_file() and path.read_bytes() == note:
            return
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(note)
    except OSError as error:
        workspace.emit(
            Notice(
                "warning",
                f"cannot note in {path} what state this config used: {_reason(error)}",
                "without the note, dtm does not notice if that state vanishes",
            )
        )


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"


def _is_default(place: Place, base: Path) -> bool:
    local = place.settings.backend == "local"
    return local and Path(place.location.removeprefix("file://")) == (base / DEFAULT_FILE).resolve()
