"""The store contract: what bytes under keys with compare-and-swap must do, two clients always.

    store_contract(lambda: StorePlace(lambda: MyStore(fresh_directory)))

`C` numbers are cases of reading, writing and fencing, `G` numbers of paths and listings.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec

from dtm.testing.conformance import (
    Case,
    CaseResult,
    CaseSkipped,
    expect_error,
    require,
    require_all_passed,
    run_cases,
)
from dtm.testing.lock_clients import run_in_threads
from engine.errors import ConflictError, OutcomeUnknownError, StoreAccessError, StoreError
from engine.ports import AppendStore, Store, Version

MIB = 1024 * 1024
CREATORS = 32
TORN_ROUNDS = 20


class StorePlace(msgspec.Struct, frozen=True):
    """An empty place and how to get at it.

    `connect`: a new client each time, the second one best in another process. `denied`: a client
    that may not read. `many`: how many keys a listing is tried with.
    """

    connect: Callable[[], Store]
    denied: Callable[[], Store] | None = None
    many: int = 2500

    def connect_two(self) -> tuple[Store, Store]:
        """Two clients of the place."""
        return self.connect(), self.connect()


def _data(store: Store, key: str) -> bytes | None:
    found = store.read(key)
    return None if found is None else found.data


def absent_is_none(place: StorePlace) -> None:
    """No state is None, not an error and not an empty value."""
    a, b = place.connect_two()
    require(
        a.read("k") is None and b.read("k") is None, "reading what is not there finds something"
    )
    require(list(a.list("")) == [], "an empty place lists keys")


def read_what_was_written(place: StorePlace) -> None:
    """Bytes come back equal, in the other client too, with the version that the write answered."""
    a, b = place.connect_two()
    version = a.write("k", b"one", expect=None)
    for store in (a, b):
        found = store.read("k")
        require(
            found is not None and found.data == b"one", "the bytes read differ from those written"
        )
        require(
            found is not None and found.version == version,
            "the version read differs from the one written",
        )


def last_write_wins(place: StorePlace) -> None:
    """A fresh client reads the second value."""
    a, b = place.connect_two()
    first = a.write("k", b"one", expect=None)
    second = b.write("k", b"two", expect=first)
    require(first != second, "two values have one version")
    require(_data(place.connect(), "k") == b"two", "a fresh client does not read the last value")


def delete_twice(place: StorePlace) -> None:
    """Deleted is gone; deleting again is no error; the key can be created again."""
    a, b = place.connect_two()
    a.write("k", b"one", expect=None)
    b.delete("k")
    require(a.read("k") is None, "a deleted key is still read")
    a.delete("k")
    b.write("k", b"two", expect=None)
    require(_data(a, "k") == b"two", "a key cannot be created again")


def delete_of_another_version(place: StorePlace) -> None:
    """A conditional delete of a version that is no longer there removes nothing."""
    a, b = place.connect_two()
    old = a.write("k", b"one", expect=None)
    new = b.write("k", b"two", expect=old)
    expect_error(
        lambda: a.delete("k", expect=old), ConflictError, "deleting an overwritten version"
    )
    require(_data(b, "k") == b"two", "a refused delete removed the value")
    b.delete("k", expect=new)
    require(a.read("k") is None, "a conditional delete of the right version did not remove it")


def empty_value(place: StorePlace) -> None:
    """A value of no bytes is there, can be told from none, and can be replaced."""
    a, b = place.connect_two()
    version = a.write("k", b"", expect=None)
    require(_data(b, "k") == b"", "an empty value is not read as empty")
    b.write("k", b"one", expect=version)
    require(_data(a, "k") == b"one", "an empty value cannot be replaced")


def large_values(place: StorePlace) -> None:
    """6 and 20 MiB come back equal; after shrinking to 3 MiB nothing is left over."""
    a, b = place.connect_two()
    version = None
    for size in (6, 20, 3):
        data = bytes(range(256)) * (size * MIB // 256)
        version = a.write("k", data, expect=version)
        require(_data(b, "k") == data, f"{size} MiB do not come back equal")
    require(list(b.list("")) == ["k"], "a large value left other keys behind")


def any_bytes(place: StorePlace) -> None:
    """Text in any script, line ends, big numbers and every byte there is."""
    a, b = place.connect_two()
    text = '{"a": "Grüße 你好 \U0001f600\\u2028", "n": 9223372036854775807, "f": 1e-7}\r\n'
    data = text.encode() + bytes(range(256))
    a.write("k", data, expect=None)
    require(_data(b, "k") == data, "bytes do not come back as they were written")


def stale_writer_is_refused(place: StorePlace) -> None:
    """Refuse the write of a client after whose read another one wrote.

    The error says which version is there.
    """
    a, b = place.connect_two()
    seen = a.write("k", b"one", expect=None)
    new = b.write("k", b"two", expect=seen)
    error = expect_error(
        lambda: a.write("k", b"three", expect=seen), ConflictError, "a stale write"
    )
    require(
        error.actual in (new, None),
        "the conflict names a version that is not there",
    )
    expect_error(
        lambda: a.write("gone", b"x", expect=seen),
        ConflictError,
        "a write over a version of a key that is not there",
    )
    require(_data(b, "k") == b"two" and b.read("gone") is None, "a refused write changed something")


def create_once(place: StorePlace) -> None:
    """Creating what is there is refused, and the content stays."""
    a, b = place.connect_two()
    a.write("k", b"one", expect=None)
    expect_error(
        lambda: b.write("k", b"two", expect=None), ConflictError, "creating an existing key"
    )
    expect_error(
        lambda: a.write("k", b"one", expect=None), ConflictError, "creating one's own key again"
    )
    require(_data(b, "k") == b"one", "a refused creation changed the content")


def one_creator_wins(place: StorePlace) -> None:
    """Of 32 clients that create the same key at once exactly one succeeds."""
    won: list[int] = []
    lost: list[int] = []
    failed: list[Exception] = []
    gate = threading.Barrier(CREATORS)

    def create(number: int) -> None:
        store = place.connect()
        gate.wait()
        try:
            store.write("k", str(number).encode(), expect=None)
            won.append(number)
        except ConflictError:
            lost.append(number)
        except Exception as error:  # noqa: BLE001 - reported by the check below
            failed.append(error)

    run_in_threads(create, CREATORS)
    require(not failed, f"a racing creation fails otherwise than by a conflict: {failed[:1]}")
    require(len(won) == 1, f"{len(won)} of {CREATORS} creators won")
    require(
        _data(place.connect(), "k") == str(won[0]).encode(), "the winner's content is not there"
    )


def no_update_is_lost(place: StorePlace) -> None:
    """Eight clients count up by compare-and-swap; every acknowledged step is in the sum.

    Some servers answer a racer with an error that leaves its outcome open: such a step may be in
    the sum.
    """
    start = place.connect().write("k", b"0", expect=None)
    failed: list[Exception] = []
    unknown: list[OutcomeUnknownError] = []

    def counting(_number: int) -> None:
        try:
            _count_up(place.connect(), start, unknown)
        except Exception as error:  # noqa: BLE001 - reported by the check below
            failed.append(error)

    run_in_threads(counting, 8)
    require(not failed, f"a racing client fails otherwise than by a conflict: {failed[:1]}")
    total = int(_data(place.connect(), "k") or 0)
    require(total >= 80, "an acknowledged update is missing")
    require(total <= 80 + len(unknown), "an update that was refused had its effect")


def _count_up(store: Store, version: Version, unknown: list[OutcomeUnknownError]) -> None:
    """Add 1 ten times to the number at `k`, which is 0 at `version`; note what stays unknown."""
    value, done = 0, 0
    while done < 10:
        try:
            version = store.write("k", str(value + 1).encode(), expect=version)
            value, done = value + 1, done + 1
        except (ConflictError, OutcomeUnknownError) as error:
            if isinstance(error, OutcomeUnknownError):
                unknown.append(error)
            found = store.read("k")
            assert found is not None, "what is being replaced is not there for a moment"
            value, version = int(found.data), found.version


def readers_see_whole_values(place: StorePlace) -> None:
    """Read while another client replaces a large value: the old or the new, never a mix."""
    a, b = place.connect_two()
    version = a.write("k", b"0" * MIB, expect=None)
    seen: list[bytes] = []
    done = threading.Event()

    def read(_number: int) -> None:
        while not done.is_set():
            data = _data(b, "k") or b""
            seen.append(data[:1] if len(set(data)) == 1 and len(data) == MIB else b"torn")

    reader = threading.Thread(target=read, args=(0,))
    reader.start()
    try:
        for number in range(1, TORN_ROUNDS):
            version = a.write("k", str(number % 10).encode() * MIB, expect=version)
    finally:
        done.set()
        reader.join()
    require(b"torn" not in seen, "a reader saw a value that was never written")


def listing(place: StorePlace) -> None:
    """List keys by prefix, sorted.

    A folder's content and not its sibling's, files as well as folders.
    """
    a, b = place.connect_two()
    for key in ("a/b", "a/c/d", "ab/e", "top"):
        a.write(key, b"x", expect=None)
    require(
        list(b.list("a/")) == ["a/b", "a/c/d"], "the listing of a folder is not exactly its content"
    )
    require(
        list(b.list("a")) == ["a/b", "a/c/d", "ab/e"],
        "the listing of a prefix is not exactly what starts with it",
    )
    require(
        list(b.list("")) == ["a/b", "a/c/d", "ab/e", "top"],
        "the listing of everything is not everything",
    )
    require(list(b.list("none/")) == [], "the listing of what is not there is not empty")
    a.delete("a/b")
    require(list(b.list("a/")) == ["a/c/d"], "a deleted key is still listed")


def many_keys(place: StorePlace) -> None:
    """A long listing is complete and sorted, and everything in it can be removed."""
    a, b = place.connect_two()
    keys = [f"many/{number:05}" for number in range(place.many)]
    for key in keys:
        a.write(key, b"x", expect=None)
    found = list(b.list("many/"))
    require(found == keys, f"{len(found)} of {len(keys)} keys are listed, or not in order")
    for key in found:
        b.delete(key)
    require(list(a.list("")) == [], "removed keys are still listed")


def keys_stay_inside(place: StorePlace) -> None:
    """A key with `..` is refused, or is a key like any other; it never names something outside."""
    a, b = place.connect_two()
    for key in ("../escape", "a/../../escape", "/escape", "a//b", "."):
        with suppress(StoreError):
            a.write(key, b"x", expect=None)
            require(_data(b, key) == b"x", f"{key} was written elsewhere")
            require(key in list(b.list("")), f"{key} is written and not listed")


def denied_is_an_error(place: StorePlace) -> None:
    """A place that may not be read, or a missing bucket, is an error and never an empty state."""
    if place.denied is None:
        raise CaseSkipped("no place is at hand that may not be read")
    store = place.denied()
    expect_error(lambda: store.read("k"), StoreAccessError, "reading what may not be read")
    expect_error(lambda: list(store.list("")), StoreAccessError, "listing what may not be read")
    expect_error(
        lambda: store.write("k", b"x", expect=None),
        StoreAccessError,
        "writing where nothing may be written",
    )


def append_grows(place: StorePlace) -> None:
    """An append adds to the end, and its version is that of the whole."""
    a, b = _appending(place)
    version = a.write("k", b"one", expect=None)
    for part in (b" two", b"", b" three" * 1000):
        version = a.append("k", part, expect=version)
    found = b.read("k")
    require(
        found is not None and found.data == b"one two" + b" three" * 1000,
        "appended bytes do not come back",
    )
    require(
        found is not None and found.version == version,
        "the version after an append is not that of the whole",
    )
    b.write("k", b"new", expect=version)
    require(_data(a, "k") == b"new", "an appended value cannot be replaced")


def stale_append_is_refused(place: StorePlace) -> None:
    """Refuse the append of a client that a write or an append has overtaken."""
    a, b = _appending(place)
    expect_error(
        lambda: a.append("k", b"x", expect="0"), ConflictError, "an append to what is not there"
    )
    mine = a.append("k", b"1", expect=a.write("k", b"0", expect=None))
    theirs = b.append("k", b"2", expect=mine)
    expect_error(
        lambda: a.append("k", b"x", expect=mine),
        ConflictError,
        "an append after somebody else's append",
    )
    theirs = b.write("k", b"claim", expect=theirs)
    expect_error(
        lambda: a.append("k", b"x", expect=mine),
        ConflictError,
        "an append after somebody else's write",
    )
    theirs = b.append("k", b"!", expect=theirs)
    expect_error(
        lambda: a.write("k", b"x", expect=mine),
        ConflictError,
        "a write after somebody else's append",
    )
    b.delete("k")
    expect_error(
        lambda: a.append("k", b"x", expect=theirs), ConflictError, "an append to what was deleted"
    )
    require(a.read("k") is None, "a refused append brought back a deleted value")


def _appending(place: StorePlace) -> tuple[AppendStore, AppendStore]:
    a, b = place.connect_two()
    if isinstance(a, AppendStore) and isinstance(b, AppendStore):
        return a, b
    raise CaseSkipped("this store does not append")


STORE_CASES: tuple[Case[StorePlace], ...] = (
    Case(("C01",), "absent is none", absent_is_none),
    Case(("C02",), "what was written is read", read_what_was_written),
    Case(("C03",), "the last write is what a fresh client reads", last_write_wins),
    Case(("C04",), "deleting twice is no error", delete_twice),
    Case(("C05",), "an empty value is there and can be replaced", empty_value),
    Case(("C06",), "large values come back, shrinking leaves nothing", large_values),
    Case(("C07",), "any bytes come back", any_bytes),
    Case(("C14", "C36", "G54"), "a stale writer is refused", stale_writer_is_refused),
    Case(("C35",), "a delete of another version is refused", delete_of_another_version),
    Case(("G22",), "creating what is there is refused", create_once),
    Case(("G23",), "one of 32 creators wins", one_creator_wins),
    Case(("C14",), "no acknowledged update is lost", no_update_is_lost),
    Case(("C10", "G24"), "readers see whole values", readers_see_whole_values),
    Case(("G25",), "listings by prefix", listing),
    Case(("G26",), "denied is an error, never empty", denied_is_an_error),
    Case(("G28",), "a long listing is complete", many_keys),
    Case(("G30",), "no key leads outside", keys_stay_inside),
    Case(("C02",), "an append grows the value", append_grows),
    Case(("C14", "C36"), "a stale append is refused", stale_append_is_refused),
)


def store_contract(make_place: Callable[[], StorePlace]) -> list[CaseResult]:
    """Try every case, each in a new, empty place. Raises BrokenError that lists all that fail."""
    return require_all_passed(list(run_cases(STORE_CASES, make_place)))
