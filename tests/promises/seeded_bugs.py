"""Bugs planted between sessions and store, to show that the random schedules find each of them.

Run: python -m tests.promises.seeded_bugs
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from msgspec.structs import replace

from engine.errors import StateError
from engine.log.head import decode_head, encode_head, encode_inline, split_head
from engine.log.records import Done, decode_records, encode_records
from engine.log.state_store import INLINE, SEPARATE
from engine.ports import Store, StoredObject, Version
from engine.stored.state_file import decode_state_file, encode_state_file
from tests.promises.schedules import Schedule, run_schedule

MAX_SCHEDULES = 300
"""Schedules within which every planted bug must have been found."""


class PassThroughStore:
    """A store that passes all calls on; each bug below changes one of them.

    `logs` are the placements that the sessions use.
    """

    logs: ClassVar[Sequence[str]] = (SEPARATE,)

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def location(self) -> str:
        return self.store.location

    def read(self, key: str) -> StoredObject | None:
        return self.store.read(key)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        return self.store.write(key, data, expect=expect)

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        self.store.delete(key, expect=expect)

    def list(self, prefix: str) -> Iterator[str]:
        return self.store.list(prefix)


class IgnoresVersions(PassThroughStore):
    """A store that overwrites any version, as S3 does without If-Match."""

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        found = self.store.read(key)
        return self.store.write(key, data, expect=found.version if found else None)


class DropsDoneRecord(PassThroughStore):
    """A store that drops the last done record of a head."""

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        if key.endswith(".log"):
            head = decode_head(data, key)
            records = decode_records(head.records, key)
            if records and isinstance(records[-1], Done):
                data = encode_head(replace(head, records=encode_records(records[:-1])))
        return self.store.write(key, data, expect=expect)


class LosesLastChunk(PassThroughStore):
    """A store that drops the name of the last chunk from a head."""

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        if key.endswith(".log"):
            head = decode_head(data, key)
            data = encode_head(replace(head, chunks=head.chunks[:-1]))
        return self.store.write(key, data, expect=expect)


class DeletesHead(PassThroughStore):
    """A store that deletes the head with the chunks, so that old versions come back."""

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        self.store.delete(key, expect=expect)
        self.store.delete("K.log")


class DeletesCurrentChunks(PassThroughStore):
    """A store whose listing makes a compaction delete the chunks of the current base."""

    def list(self, prefix: str) -> Iterator[str]:
        return self.store.list("K.log.d/")


class ShowsStaleHead(PassThroughStore):
    """A store that always shows the first head that a client has read, as a cache does."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.seen: dict[str, StoredObject | None] = {}

    def read(self, key: str) -> StoredObject | None:
        fresh = self.store.read(key)
        return self.seen.setdefault(key, fresh) if key == "K.log" else fresh


class IgnoresInlineVersions(IgnoresVersions):
    """A store that overwrites any version, with an inline log."""

    logs = (INLINE,)


class DropsInlineDoneRecord(PassThroughStore):
    """A store that drops the last done record of an inline log."""

    logs = (INLINE,)

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        document, head = split_head(decode_state_file(data, key))
        records = decode_records(head.records, key) if head else []
        if head and records and isinstance(records[-1], Done):
            data = encode_inline(
                encode_state_file(document), replace(head, records=encode_records(records[:-1]))
            )
        return self.store.write(key, data, expect=expect)


class MissesSeparateLog(PassThroughStore):
    """A store that hides the separate log from sessions that want an inline one."""

    logs = (SEPARATE, INLINE)

    def read(self, key: str) -> StoredObject | None:
        return None if key == "K.log" else self.store.read(key)


BUGS: tuple[type[PassThroughStore], ...] = (
    IgnoresVersions,
    DropsDoneRecord,
    LosesLastChunk,
    DeletesHead,
    DeletesCurrentChunks,
    ShowsStaleHead,
    IgnoresInlineVersions,
    DropsInlineDoneRecord,
    MissesSeparateLog,
)


def schedules_until_found(bug: type[PassThroughStore], limit: int = MAX_SCHEDULES) -> int | None:
    """Return how many schedules it took to find a bug, None if it was not found."""
    for seed in range(limit):
        try:
            run_schedule(Schedule(seed, wrap=bug, logs=bug.logs))
        except (AssertionError, StateError):  # a violated invariant, or a damaged state
            return seed + 1
    return None


def main() -> int:
    hidden = 0
    for bug in BUGS:
        after = schedules_until_found(bug)
        hidden += after is None
        result = (
            f"found after {after} schedules" if after else f"NOT FOUND in {MAX_SCHEDULES} schedules"
        )
        print(f"{bug.__name__}: {result}")  # noqa: T201
    return int(hidden > 0)


if __name__ == "__main__":
    raise SystemExit(main())
