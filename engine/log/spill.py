"""The records of a full head on their way into a chunk, while commits go on."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from msgspec.structs import replace

from engine.log.records import Head


class Spill:
    """Copies what a head holds by calling `write`; with `background` in a thread of its own, else at once.

    Until `into` says that the chunk is there the head keeps its records, so it does not matter when that is.
    """

    def __init__(
        self, head: Head, name: str, write: Callable[[], None], *, background: bool
    ) -> None:
        self._length, self._name, self._write = len(head.records), name, write
        self._error: Exception | None = None
        self._thread = (
            Thread(target=self._run, name="dtm-spill", daemon=True) if background else None
        )
        if self._thread:
            self._thread.start()
        else:
            self._run()

    @property
    def running(self) -> bool:
        """Whether the chunk is still being written."""
        return self._thread is not None and self._thread.is_alive()

    def into(self, head: Head) -> Head:
        """A later head of the same base with the chunk in place of the records in it. Raises what went wrong with it."""
        if self._thread:
            self._thread.join()
        if self._error:
            raise self._error
        return replace(
            head,
            chunks=(*head.chunks, self._name),
            records=head.records[self._length :].removeprefix(b","),
        )

    def _run(self) -> None:
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - a chunk that may not be there must never be named, whatever the reason
            self._error = error
