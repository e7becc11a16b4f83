"""What stood at a state's place before: copied to the history, or to this machine where there is to be none."""

from __future__ import annotations

from hashlib import sha256

import msgspec
from msgspec.structs import replace

from engine.errors import StoreAccessError
from engine.events import Notice
from engine.log.records import encode_head
from engine.log.view import BESIDE, INSIDE, View, short, where, write_once
from engine.ports import Emit, Store
from engine.runtime.environment import Environment
from engine.stored.document import Document


class Archive(msgspec.Struct, frozen=True):
    """Where one session keeps what it replaces. `log` as in `engine.log.view`: INSIDE has no history."""

    store: Store
    key: str
    session: str
    log: str
    emit: Emit
    environment: Environment

    def snapshot(self, document: Document, data: bytes) -> None:
        """Copy a snapshot to the history, unless it only stood for "nothing yet"."""
        if document.serial or document.lineage:
            self._copy(f"{document.serial}-{short(document.id)}", data)

    def others(self, view: View) -> None:
        """Keep what another program or a person put there: DevStream's state, damaged bytes, a log without its snapshot."""
        found = view.snapshot.data if view.snapshot else b""
        if found.strip() and (view.damaged or not view.document.dtm):
            self._keep(f"{view.document.serial}-{short(view.document.id)}", found)
        if view.head is not None and view.replaced:
            head = replace(view.head, chunks=(), records=view.records)
            self._keep(f"log-{short(head.base)}-{head.seq}", encode_head(head))
        elif view.unread:
            self._keep(f"log-{sha256(view.unread).hexdigest()[:8]}", view.unread)

    def _keep(self, name: str, data: bytes) -> None:
        """In the history; where there is none, or it is denied, in a file on this machine."""
        if self.log != INSIDE:
            try:
                self._copy(name, data)
            except StoreAccessError:
                if self.log == BESIDE:
                    raise
            else:
                return
        path = self.environment.keep(f"replaced-{name}-{self.session[:4]}.state", data)
        self.emit(
            Notice(
                "warning", f"what stood at {where(self.store, self.key)} before was saved to {path}"
            )
        )

    def _copy(self, name: str, data: bytes) -> None:
        write_once(self.store, f"{self.key}.history/{name}", data, self.environment)
