"""Group commit: few writes for many callers; a caller continues once its record is durable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock, Thread

import pytest

from backends.local.store import LocalStore
from dtm.testing.session_support import KEY, new_session
from engine.address import Address
from engine.errors import StoreError, SupersededError
from engine.log.group_commit import MAX_BATCH, GroupCommit
from engine.log.records import OutputsSet, Record
from engine.log.state_store import StateStore
from engine.plan import Action
from engine.ports import Version
from engine.runtime.environment import Environment, LogLimits
from engine.session.reading import read_state

THREADS, PAUSE = 100, 0.02
EACH = int(os.environ.get("DTM_GROUP_RECORDS", "100"))
"""Records for each thread; 1,000 take about half a minute."""
WATCH = """
import json, sys
from pathlib import Path
from backends.local.store import LocalStore
from engine.log.state_store import StateStore
from engine.session.reading import read_state
store = LocalStore(Path(sys.argv[1]))
for line in sys.stdin:
    entries = read_state(StateStore(store, sys.argv[2])).state.entries
    wanted = json.loads(line)
    pending = {address.instance: entry.pending for address, entry in entries.items()}.get(wanted[0])
    print(json.dumps(wanted[1] <= (pending.seq if pending else 0)), flush=True)
"""


class SlowStore:
    """A store that cannot append and needs 20 ms for each write, as a remote one."""

    def __init__(self, directory: Path) -> None:
        self._store, self.writes = LocalStore(directory), 0
        self.location = self._store.location
        self.read, self.delete, self.list = self._store.read, self._store.delete, self._store.list

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        time.sleep(PAUSE)
        self.writes += 1
        return self._store.write(key, data, expect=expect)


def record(number: int) -> Record:
    return OutputsSet(number, {})


def run_in_threads(count: int, work: Callable[[int], None]) -> None:
    threads = [Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_hundred_callers_share_a_few_writes(tmp_path: Path) -> None:
    """On a slow store the ideal number of writes is the number of records of one thread."""
    store = SlowStore(tmp_path)

    def work(thread: int) -> None:
        for _ in range(EACH):
            session.begin(Address("data", f"t{thread}"), Action.UPDATE).wait()

    with new_session(store) as session:
        before = store.writes
        run_in_threads(THREADS, work)
        assert store.writes - before <= 1.2 * EACH
        assert session.state.entries == dict(read_state(StateStore(store, KEY)).state.entries)


def test_a_caller_continues_once_others_can_read_its_record(tmp_path: Path) -> None:
    store, unseen, asking = SlowStore(tmp_path), list[str](), Lock()
    command = [sys.executable, "-c", WATCH, str(tmp_path), KEY]
    watcher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    asked, answered = watcher.stdin, watcher.stdout
    assert asked and answered

    def work(thread: int) -> None:
        address = Address("data", f"t{thread}")
        for _ in range(3):
            session.begin(address, Action.UPDATE).wait()
            mine = session.entry(address)
            assert mine and mine.pending
            with asking:
                asked.write(json.dumps([address.instance, mine.pending.seq]) + "\n")
                asked.flush()
                if answered.readline() != "true\n":
                    unseen.append(address.instance)

    with new_session(store) as session:
        run_in_threads(20, work)
    asked.close()
    answered.close()
    assert watcher.wait() == 0 and not unseen


def test_batches_are_written_in_order_and_never_two_at_once() -> None:
    written: list[int] = []

    def commit(records: Sequence[Record], data: bytes) -> None:
        assert data
        written.extend(item.seq for item in records if isinstance(item, OutputsSet))

    queue = GroupCommit(commit, lambda: None, background=True)
    tickets = [queue.add(record(number)) for number in range(500)]
    tickets[-1].wait()
    queue.close()
    assert written == list(range(500))


def test_a_batch_does_not_exceed_its_limit() -> None:
    sizes: list[int] = []
    queue = GroupCommit(lambda _, data: sizes.append(len(data)), lambda: None, background=False)
    for number in range(40):
        queue.add(OutputsSet(number, {"x": "y" * 10_000}))
    queue.flush()
    assert max(sizes) < MAX_BATCH + 11_000 and sum(sizes) > 400_000


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize(
    "error", [SupersededError("over"), StoreError("full"), ValueError("a bug")]
)
def test_after_an_error_all_callers_fail_and_records_are_kept(
    error: Exception, background: bool
) -> None:
    def commit(records: Sequence[Record], _data: bytes) -> None:
        if any(isinstance(item, OutputsSet) and item.seq == 2 for item in records):
            raise error

    queue = GroupCommit(commit, lambda: None, background=background)
    queue.add(record(1)).wait()
    with pytest.raises((SupersededError, StoreError)):
        queue.add(record(2)).wait()
    with pytest.raises((SupersededError, StoreError)):
        queue.add(record(3)).wait()
    with pytest.raises((SupersededError, StoreError)):
        queue.flush()
    queue.close()
    assert queue.rejected == [record(2), record(3)]


def test_a_caller_does_not_wait_for_the_next_compaction() -> None:
    order: list[str] = []
    queue = GroupCommit(
        lambda *_: order.append("commit"), lambda: order.append("compact"), background=False
    )
    queue.add(record(1)).wait()
    assert order == ["compact", "commit"]
    queue.close()


def test_a_session_takes_linear_time_in_its_records(tmp_path: Path) -> None:
    """Check that the bytes of all snapshots are a bounded multiple of those of the log.

    A compaction waits until the log is as long as the state, so it writes about as many bytes as
    were logged since the last one. In all, snapshots have 4 to 8 times the bytes of the log,
    depending on the batches. Compactions at a fixed length of the log would write 30 times at this
    size, a copy of the state for each change 2,000 times.
    """

    class Counting(LocalStore):
        logged = folded = 0

        def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
            Counting.folded += len(data)
            return super().write(key, data, expect=expect)

        def append(self, key: str, data: bytes, *, expect: Version) -> Version:
            Counting.logged += len(data)
            return super().append(key, data, expect=expect)

    for count in (1000, 4000):
        Counting.logged = Counting.folded = 0
        with new_session(
            Counting(tmp_path / str(count)),
            environment=Environment(limits=LogLimits(compact_after=20_000)),
        ) as session:
            for number in range(count):
                session.begin(Address("data", f"n{number}"), Action.CREATE)
        assert Counting.folded < 10 * Counting.logged
