"""The history of a state: write, list, load and prune earlier snapshots."""

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
    """An earlier snapshot: its serial, the start of its ID, and its key in the store."""

    serial: int
    snapshot_id: str
    key: str


def read_history(state_store: StateStore) -> tuple[HistoryEntry, ...]:
    """List earlier snapshots by serial. Raises as `Store.list`."""
    prefix = state_store.history_prefix
    names = [key.removeprefix(prefix) for key in state_store.list(prefix)]
    # Users may keep files of their own under the prefix; they are neither listed nor pruned.
    matches = [found for name in names if (found := NAME.fullmatch(name))]
    return tuple(
        sorted(HistoryEntry(int(found[1]), found[2], prefix + found[0]) for found in matches)
    )


def load_snapshot(state_store: StateStore, entry: HistoryEntry) -> State:
    """Load an earlier snapshot. Raises StateError if it is damaged or gone.

    The history keeps a replaced state file of DevStream with serial 0.
    """
    found = state_store.read(entry.key)
    if found is None:
        raise StateError(f"{state_store.url(entry.key)} is no longer in the history")
    return decode(found.data, state_store.url(entry.key))


def prune_history(state_store: StateStore, keep: int, serial: int) -> None:
    """Delete the oldest snapshots, so that `keep` remain; `serial` is that of the current one."""
    found = list(read_history(state_store))
    if len(found) <= keep:
        return
    # Serials follow the age, unless a forced push has set a lower one. Then only the snapshots
    # themselves show which are the oldest.
    if found[-1].serial >= serial:
        found.sort(key=lambda entry: _written_at(state_store, entry))
    for entry in found[: len(found) - keep]:
        state_store.delete(entry.key)


def _written_at(state_store: StateStore, entry: HistoryEntry) -> str:
    """Return when a snapshot was written; "" if it is damaged, which counts as the oldest."""
    try:
        return load_snapshot(state_store, entry).writer.at
    except StateError:
        return ""


class Archive(msgspec.Struct, frozen=True):
    """The writer of the history for one session.

    With the setting INLINE there is no history: no object but the state file is written.
    """

    state_store: StateStore
    session: str
    emit: Emit

    def keep_snapshot(self, state_file: StateFile, data: bytes) -> None:
        """Copy a snapshot to the history; do nothing for a state that was never written."""
        if state_file.serial or state_file.lineage:
            self._create(f"{state_file.serial}-{short(state_file.id)}", data)

    def keep_replaced(self, view: View) -> None:
        """Save a state file that dtm did not write or cannot read, and a stray log head."""
        found = view.snapshot.data if view.snapshot else b""
        if found.strip() and (view.damage or not view.state_file.dtm):
            self._save(f"{view.state_file.serial}-{short(view.state_file.id)}", found)
        if view.head is not None and view.replaced:
            # Its chunks are deleted later, so their records go into the copy.
            head = replace(view.head, chunks=(), records=view.records)
            self._save(f"log-{short(head.base)}-{head.seq}", encode_head(head))
        elif view.raw_head:
            self._save(f"log-{sha256(view.raw_head).hexdigest()[:8]}", view.raw_head)

    def _save(self, name: str, data: bytes) -> None:
        """Save bytes in the history; in a local file if there is no history or access is denied."""
        state_store = self.state_store
        if state_store.log != INLINE:
            try:
                self._create(name, data)
            except StoreAccessError:
                if state_store.log == SEPARATE:
                    raise
            else:
                return
        path = state_store.environment.save_fallback(
            f"replaced-{name}-{self.session[:4]}.state", data
        )
        self.emit(
            Notice("warning", f"the previous content of {state_store.location} was saved to {path}")
        )

    def _create(self, name: str, data: bytes) -> None:
        self.state_store.create(self.state_store.history_prefix + name, data)
