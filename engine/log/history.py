"""Earlier snapshots of a state: kept when they are replaced, listed, loaded, dropped with age."""

from __future__ import annotations

import re
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from engine.errors import StateError, StoreAccessError
from engine.events import Notice
from engine.log.head import encode_head
from engine.log.state_store import INLINE, SEPARATE, StateStore, short
from engine.log.view import View
from engine.ports import Emit
from engine.state import State
from engine.stored.state_file import StateFile, decode

NAME = re.compile(r"(\d+)-([0-9a-zA-Z]{1,8})")


class HistoryEntry(msgspec.Struct, frozen=True, order=True):
    """An earlier snapshot: its serial, the first characters of its id, and its key in the store."""

    serial: int
    snapshot_id: str
    key: str


def read_history(place: StateStore) -> tuple[HistoryEntry, ...]:
    """List earlier snapshots by serial. Raises as `Store.list`."""
    prefix = place.history_prefix
    names = [key.removeprefix(prefix) for key in place.list(prefix)]
    matches = [found for name in names if (found := NAME.fullmatch(name))]
    return tuple(
        sorted(HistoryEntry(int(found[1]), found[2], prefix + found[0]) for found in matches)
    )


def load_snapshot(place: StateStore, entry: HistoryEntry) -> State:
    """Load an earlier snapshot; DevStream's have serial 0. Raises StateError if it is damaged."""
    found = place.read(entry.key)
    if found is None:
        raise StateError(f"{place.url(entry.key)} is not in the history any more")
    return decode(found.data, place.url(entry.key))


def prune_history(place: StateStore, keep: int, serial: int) -> None:
    """Drop the oldest snapshots beyond `keep`; `serial` is that of the present one.

    Serials tell the age, except after a forced push of a lower one: then the snapshots themselves
    are read.
    """
    found = list(read_history(place))
    if len(found) <= keep:
        return
    if found[-1].serial >= serial:
        found.sort(key=lambda entry: _written_at(place, entry))
    for entry in found[: len(found) - keep]:
        place.delete(entry.key)


def _written_at(place: StateStore, entry: HistoryEntry) -> str:
    """Return when a snapshot was written; one that cannot be read counts as the oldest."""
    try:
        return load_snapshot(place, entry).writer.at
    except StateError:
        return ""


class Archive(msgspec.Struct, frozen=True):
    """Keeps what one session replaces. With a log INLINE the state file there is no history."""

    place: StateStore
    session: str
    emit: Emit

    def keep_snapshot(self, document: StateFile, data: bytes) -> None:
        """Copy a snapshot to the history, unless nothing was ever written there."""
        if document.serial or document.lineage:
            self._create(f"{document.serial}-{short(document.id)}", data)

    def keep_replaced(self, view: View) -> None:
        """Keep what dtm did not write: DevStream's state, damage, a log of another snapshot."""
        found = view.snapshot.data if view.snapshot else b""
        if found.strip() and (view.damage or not view.document.dtm):
            self._save(f"{view.document.serial}-{short(view.document.id)}", found)
        if view.head is not None and view.replaced:
            head = replace(view.head, chunks=(), records=view.records)
            self._save(f"log-{short(head.base)}-{head.seq}", encode_head(head))
        elif view.raw_head:
            self._save(f"log-{sha256(view.raw_head).hexdigest()[:8]}", view.raw_head)

    def _save(self, name: str, data: bytes) -> None:
        """Keep bytes in the history, or in a local file where there is none or it is denied."""
        place = self.place
        if place.log != INLINE:
            try:
                self._create(name, data)
            except StoreAccessError:
                if place.log == SEPARATE:
                    raise
            else:
                return
        path = place.environment.save_fallback(f"replaced-{name}-{self.session[:4]}.state", data)
        self.emit(Notice("warning", f"what stood at {place.location} before was saved to {path}"))

    def _create(self, name: str, data: bytes) -> None:
        self.place.create(self.place.history_prefix + name, data)
