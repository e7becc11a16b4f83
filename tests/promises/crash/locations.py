"""The locations of the state in crash tests: next to the config, or in a shared store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backends.local.store import LocalLocker, LocalStore
from dtm.app.place import open_place, settings_from_url
from engine.ports import Locker, Store

TEMPLATE = "t000"
"""The folder that all trials are copied from.

All folder names have the same length, so that they can be replaced in bytes.
"""


class StateLocation(Protocol):
    """A location with one state for each trial folder.

    `modules` are those that take long to import.
    """

    @property
    def modules(self) -> tuple[str, ...]: ...

    def settings(self, name: str) -> str:
        """Return the line of the config with the location of the state, "" for the default."""
        ...

    def open(self, folder: Path) -> tuple[Store, Locker | None, str]:
        """Return the store, the locker and the key of a folder's state."""
        ...

    def copy(self, folder: Path) -> None:
        """Give a copy of the template folder its own state."""
        ...


class LocalState:
    """A state file in the trial folder, which is copied with the folder."""

    modules: tuple[str, ...] = ()

    def settings(self, name: str) -> str:
        """See `StateLocation.settings`."""
        return ""

    def open(self, folder: Path) -> tuple[Store, Locker | None, str]:
        """See `StateLocation.open`."""
        return LocalStore(folder), LocalLocker(folder), "devstream.state"

    def copy(self, folder: Path) -> None:
        """Change the home in the copied state file."""
        state = folder / "devstream.state"
        state.write_bytes(with_folder_name(state.read_bytes(), folder))


@dataclass(frozen=True, slots=True)
class SharedState:
    """States in a remote store, at a URL that contains `{name}`.

    Endpoint and credentials come from the environment.
    """

    url: str
    modules: tuple[str, ...]

    def settings(self, name: str) -> str:
        """See `StateLocation.settings`."""
        return f"state: {self.url.format(name=name)}\n"

    def open(self, folder: Path) -> tuple[Store, Locker | None, str]:
        """See `StateLocation.open`."""
        location = open_place(
            settings_from_url(self.url.format(name=folder.name), folder), folder, os.environ
        )
        return location.store, location.locker(location.lock_kind()), location.key

    def copy(self, folder: Path) -> None:
        """Copy every object of the template's state."""
        source, _, key = self.open(folder.with_name(TEMPLATE))
        target, _, other = self.open(folder)
        for name in list(source.list(key)):
            found = source.read(name)
            assert found is not None
            target.write(
                other + name.removeprefix(key), with_folder_name(found.data, folder), expect=None
            )


def with_folder_name(data: bytes, folder: Path) -> bytes:
    """Return bytes of the template with the name of another folder."""
    return data.replace(TEMPLATE.encode(), folder.name.encode())
