"""Places for the state of a crash test: beside the config, or in a store that worlds share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backends.local.store import LocalLocker, LocalStore
from dtm.app.place import open_place, settings_from_url
from engine.ports import Locker, Store

TEMPLATE = "t000"
"""The world that all others are copied from; names are equally long, to be replaced in bytes."""


class StateLocation(Protocol):
    """Keeps one state per world, which is known by its folder's name.

    `modules`: what takes long to import.
    """

    @property
    def modules(self) -> tuple[str, ...]: ...

    def settings(self, name: str) -> str:
        """The line of the config that says where the state is."""
        ...

    def open(self, folder: Path) -> tuple[Store, Locker | None, str]:
        """The world's store, locker and key."""
        ...

    def copy(self, folder: Path) -> None:
        """Give a copy of the first world its own state, as if it had always been there."""
        ...


class LocalState:
    """A file in the world itself, which came along with the copy."""

    modules: tuple[str, ...] = ()

    def settings(self, name: str) -> str:
        """The default place needs no word."""
        return ""

    def open(self, folder: Path) -> tuple[Store, Locker | None, str]:
        """See `StateLocation.open`."""
        return LocalStore(folder), LocalLocker(folder), "devstream.state"

    def copy(self, folder: Path) -> None:
        """Only the home inside the document is to be changed."""
        state = folder / "devstream.state"
        state.write_bytes(with_folder_name(state.read_bytes(), folder))


@dataclass(frozen=True, slots=True)
class SharedState:
    """A state per name in a remote store, at one URL with `{name}` in it.

    Endpoint and keys come from the environment.
    """

    url: str
    modules: tuple[str, ...]

    def settings(self, name: str) -> str:
        """The URL."""
        return f"state: {self.url.format(name=name)}\n"

    def open(self, folder: Path) -> tuple[Store, Locker | None, str]:
        """See `StateLocation.open`."""
        location = open_place(
            settings_from_url(self.url.format(name=folder.name), folder), folder, os.environ
        )
        return location.store, location.locker(location.kind()), location.key

    def copy(self, folder: Path) -> None:
        """Every object of the first world's state, under the other's name."""
        source, _, key = self.open(folder.with_name(TEMPLATE))
        target, _, other = self.open(folder)
        for name in list(source.list(key)):
            found = source.read(name)
            assert found is not None
            target.write(
                other + name.removeprefix(key), with_folder_name(found.data, folder), expect=None
            )


def with_folder_name(data: bytes, folder: Path) -> bytes:
    """Return the bytes of the first world, as this one would have written them."""
    return data.replace(TEMPLATE.encode(), folder.name.encode())
