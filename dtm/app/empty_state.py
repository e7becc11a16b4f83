"""The protection against using an empty state by mistake.

A wrong state URL leads to an empty state, and a plan against it would create every tool a second
time. This module knows which state a config used last and where else a state may be.
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
"""The sources by which a user names a state explicitly, see `dtm.app.place.choose_settings`."""


def refuse_empty(workspace: Workspace) -> None:
    """Raise StateError if the state is empty but another one is likely intended.

    That is the case if the config used this state before, or if a likely location holds a state
    with tools. The error names both states. If the other state cannot be read, only a warning is
    emitted. Without a config, a state that the user named is always accepted.
    """
    place, base, cwd = workspace.place, workspace.base_dir, workspace.request.cwd
    # Without a config, nothing is more reliable than the state that the user named.
    if workspace.config is None and place.settings.source in EXPLICIT_SOURCES:
        return
    _refuse_missing(place, base)
    for settings in _likely_settings(base, cwd):
        url = to_url(settings)
        try:
            other = open_place(settings, base, place.env, place.debug_log)
            if other.location == place.location:
                continue
            state = read_state(other.state).state
        # A damaged state may hold tools, so it is not skipped like an unreachable one.
        except StateError:
            raise
        except DtmError as error:
            workspace.emit(
                Notice(
                    "warning",
                    f"cannot read {url}, which may be the state of this config: {error.message}",
                    error.hint,
                )
            )
            continue
        # DevStream kept the state in the current directory, dtm keeps it next to the config. A
        # state with a lineage was written by dtm, so here it belongs to another project.
        is_in_cwd_only = settings == default_settings(cwd) != default_settings(base)
        is_other_project = is_in_cwd_only and bool(state.id.lineage)
        if state.entries and not is_other_project:
            held = len(state.entries)
            raise StateError(
                f"the state at {place.location} is empty, "
                f"but {other.location} holds {held:,} tool{'' if held == 1 else 's'}",
                hint=f"use that state with --state {shlex.quote(url)}, "
                f"copy it with dtm state pull --state {shlex.quote(url)} | "
                "dtm state push - --adopt, or start with a new, empty state with --new-state",
            )


def _refuse_missing(place: Place, base: Path) -> None:
    last = _last_state(base)
    if last and open_place(last, base, place.env).location == place.location:
        raise StateError(
            f"the state at {place.location} is gone: the last run of this config used it",
            hint="restore an earlier version of the object, "
            "restore a backup with dtm state push FILE, "
            "or start with a new, empty state with --new-state",
        )


def _last_state(base: Path) -> StateSettings | None:
    path = base / LAST_STATE_FILE
    try:
        url = path.read_text("utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(
            f"cannot read {path}, which records the state used last: {_reason(error)}",
            hint="make the file readable, or remove it if the present state is the right one",
        ) from error
    return settings_from_url(url, base)


def announce_new_state(workspace: Workspace) -> None:
    """Announce that apply will create the state, in case its name has a typo.

    The default state file has no name to get wrong, so it is not announced.
    """
    place = workspace.place
    if _is_default(place, workspace.base_dir):
        return
    note = ""
    if place.settings.backend == "kubernetes":
        note = f" (and namespace {urlsplit(place.location).hostname} if it is missing)"
    workspace.emit(
        Notice("info", f"the state {place.location} does not exist yet, apply creates it{note}")
    )


def _likely_settings(base: Path, cwd: Path) -> Iterator[StateSettings]:
    """Yield the settings of the likely locations of a state.

    They are the default file next to the config, the default file in the current directory, and the
    state that this config used last. DevStream kept its state in the current directory. A state of
    dtm there belongs to another project.
    """
    for directory in dict.fromkeys((base, cwd)):
        if (directory / DEFAULT_FILE).is_file():
            yield default_settings(directory)
    if last := _last_state(base):
        yield last


def record_last_state(workspace: Workspace) -> None:
    """Record which state this config used, so that its disappearance is noticed.

    Every run checks for the default state, so it is not recorded. If the record cannot be written,
    as in a read-only checkout, a warning is emitted.
    """
    place, base = workspace.place, workspace.base_dir
    if _is_default(place, base):
        return
    path = base / LAST_STATE_FILE
    # The settings of a local state may hold a relative path, which a URL cannot express.
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
                f"cannot record in {path} which state this config uses: {_reason(error)}",
                "make it writable; without this record dtm cannot warn you if the state disappears",
            )
        )


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"


def _is_default(place: Place, base: Path) -> bool:
    local = place.settings.backend == "local"
    return local and Path(place.location.removeprefix("file://")) == (base / DEFAULT_FILE).resolve()
