"""Group commit: one writer commits all records that were queued during its last write."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Event, Lock, Thread

from engine.errors import DtmError, StoreError, SupersededError
from engine.log.records import ENCODER, Record

MAX_BATCH = 64 * 1024
"""Bytes after which a batch is full. An unlimited batch could exceed a store's object size."""


class Ticket:
    """A batch of records that are committed together.

    session.begin(address, Action.CREATE, entry=entry).wait()
    """

    __slots__ = ("_done", "_drain", "data", "error", "records", "size")

    def __init__(self, drain: Callable[[], None] | None = None) -> None:
        self.records: list[Record] = []
        self.data: list[bytes] = []
        self.size = 0
        self.error: DtmError | None = None
        self._done = Event()
        self._drain = drain

    @classmethod
    def finished(cls) -> Ticket:
        """Return a ticket without records, which is durable already."""
        ticket = cls()
        ticket.finish(None)
        return ticket

    def add(self, record: Record) -> None:
        """Add a record to this batch."""
        data = ENCODER.encode(record)
        self.records.append(record)
        self.data.append(data)
        self.size += len(data) + 1

    def finish(self, error: DtmError | None) -> None:
        """Set the result, None for success, and wake all callers of `wait`."""
        self.error = error
        self._done.set()

    def wait(self) -> None:
        """Block until the records are durable. Raises the error that prevented it.

        That is a SupersededError, a StoreError or an OutcomeUnknownError.
        """
        if self._drain is not None and not self._done.is_set():
            self._drain()
        self._done.wait()
        if self.error is not None:
            raise self.error


class GroupCommit:
    """A queue in front of `commit(records, data)`, which runs in one thread at a time.

    `between()` is called between two commits. With `background` a daemon thread empties the queue;
    without it `Ticket.wait` and `flush` do. After the first error nothing more is committed: every
    later ticket gets that error, and `rejected` collects the records. Those of the failed commit
    itself are also in `maybe_committed`, unless it is certain that they did not reach the log.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Record], bytes], None],
        between: Callable[[], None],
        *,
        background: bool,
    ) -> None:
        self._commit, self._between = commit, between
        self._queue: deque[Ticket] = deque()
        self._changed = Condition()
        self._writing = Lock()
        self._closing = False
        self._last_count, self._last_duration = 1, 0.0
        self._thread = (
            Thread(target=self._run, name="dtm-commit", daemon=True) if background else None
        )
        self.error: DtmError | None = None
        self.rejected: list[Record] = []
        self.maybe_committed: list[Record] = []
        if self._thread:
            self._thread.start()

    def add(self, *records: Record) -> Ticket:
        """Queue records behind all others; those of one call are committed together."""
        with self._changed:
            if not self._queue or self._queue[-1].size >= MAX_BATCH:
                self._queue.append(Ticket(None if self._thread else self.flush))
            ticket = self._queue[-1]
            before = len(ticket.records)
            for record in records:
                ticket.add(record)
            # Wake the writer for the first record, and once there are as many as in the last
            # commit. Waking it for each record would cost more than the record itself.
            if before == 0 or before < self._last_count <= len(ticket.records):
                self._changed.notify()
            return ticket

    def flush(self) -> None:
        """Return once all records queued so far are durable. Raises the error of the writer."""
        if self._thread is None:
            self._drain()
        else:
            with self._changed:
                ticket = self._queue[-1] if self._queue else None
            if ticket:
                ticket.wait()
            with self._writing:
                pass  # wait for a batch that the writer has taken from the queue already
        if self.error is not None:
            raise self.error

    def run_exclusively(self, write: Callable[[], None]) -> None:
        """Call `write` between two commits; after an error raise it and commit nothing more."""
        with self._writing:
            self._try(write)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Empty the queue and stop the thread. Raises nothing: the error is in `error`."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread:
            self._thread.join()
        self._drain()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if not self._queue:
                    return
            self._wait_for_more()
            self._write_next()
            with self._writing:
                self._try(self._between)

    def _wait_for_more(self) -> None:
        """Wait for more records as long as they keep coming, at most half the time of a write."""
        # The last write has just woken the callers whose records it had. Without this pause the
        # first of them would be committed alone, and the callers would split into two groups that
        # wait for each other's writes.
        until, pause = time.monotonic() + self._last_duration / 2, self._last_duration / 10
        with self._changed:
            while (
                not self._closing
                and len(self._queue) == 1
                and (count := len(self._queue[0].records)) < self._last_count
            ):
                if time.monotonic() >= until:
                    return
                self._changed.wait(pause)
                if len(self._queue[0].records) == count:
                    return

    def _drain(self) -> None:
        while self._write_next():
            pass

    def _write_next(self) -> bool:
        with self._writing:
            with self._changed:
                if not self._queue:
                    return False
            self._try(self._between)
            with self._changed:
                ticket = self._queue.popleft()
            started, sent = time.monotonic(), self.error is None
            self._try(lambda: self._commit(ticket.records, b",".join(ticket.data)))
            if self.error is not None:
                self.rejected += ticket.records
                refused = isinstance(self.error, SupersededError) and not self.error.outcome_unknown
                # The records of a commit without a clear answer may be in the log. Their operations
                # must be rescued, even those that were never called.
                self.maybe_committed += ticket.records if sent and not refused else []
            self._last_count, self._last_duration = len(ticket.records), time.monotonic() - started
            ticket.finish(self.error)
            return True

    def _try(self, write: Callable[[], None]) -> None:
        if self.error is not None:
            return
        try:
            write()
        except DtmError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - callers would wait forever for a thread that died
            self.error = StoreError(f"the commit log could not be written: {error!r}")
