"""The store contract: rules for a store of bytes under keys with conditional writes.

    store_contract(lambda: StorePlace(lambda: MyStore(fresh_directory)))

The `C` and `G` numbers of the cases are stable, so that reports can refer to them.
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
WRITES_WHILE_READING = 20


class StorePlace(msgspec.Struct, frozen=True):
    """An empty place.

    - `connect`: a function that returns a new client each time, the second one preferably in
      another process.
    - `denied`: a function that returns a client without permission to read.
    - `many`: the number of keys of the case with a long listing.
    """

    connect: Callable[[], Store]
    denied: Callable[[], Store] | None = None
    many: int = 2500

    def connect_two(self) -> tuple[Store, Store]:
        """Connect two clients to the place."""
        return self.connect(), self.connect()


def _data(store: Store, key: str) -> bytes | None:
    found = store.read(key)
    return None if found is None else found.data


def missing_key_reads_as_none(place: StorePlace) -> None:
    """Read and list an empty place: None, and no keys."""
    a, b = place.connect_two()
    require(
        a.read("k") is None and b.read("k") is None,
        "reading a missing key must return None, but returned a value",
    )
    require(list(a.list("")) == [], "listing an empty place must yield no keys, but yielded some")


def read_returns_what_was_written(place: StorePlace) -> None:
    """Write in one client and read in both: the same bytes and the same version."""
    a, b = place.connect_two()
    version = a.write("k", b"one", expect=None)
    for store in (a, b):
        found = store.read("k")
        require(
            found is not None and found.data == b"one",
            "read must return the written bytes, but returned others",
        )
        require(
            found is not None and found.version == version,
            "read must return the version that write returned, but returned another one",
        )


def new_client_reads_last_write(place: StorePlace) -> None:
    """Write twice: a new client reads the second value."""
    a, b = place.connect_two()
    first = a.write("k", b"one", expect=None)
    second = b.write("k", b"two", expect=first)
    require(first != second, "different values must have different versions, but have the same")
    require(
        _data(place.connect(), "k") == b"two",
        "a new client must read the last value, but read another one",
    )


def deleting_missing_key_succeeds(place: StorePlace) -> None:
    """Delete twice, then create the key again."""
    a, b = place.connect_two()
    a.write("k", b"one", expect=None)
    b.delete("k")
    require(a.read("k") is None, "a deleted key must read as None, but still has a value")
    a.delete("k")
    b.write("k", b"two", expect=None)
    require(
        _data(a, "k") == b"two", "a deleted key must be creatable again, but its value is missing"
    )


def outdated_delete_is_refused(place: StorePlace) -> None:
    """Delete a version that was replaced: refused. Then delete the current one."""
    a, b = place.connect_two()
    old = a.write("k", b"one", expect=None)
    new = b.write("k", b"two", expect=old)
    expect_error(
        lambda: a.delete("k", expect=old), ConflictError, "a delete with an outdated version"
    )
    require(_data(b, "k") == b"two", "a refused delete must keep the value, but removed it")
    b.delete("k", expect=new)
    require(
        a.read("k") is None,
        "a delete with the current version must remove the value, but it is still readable",
    )


def empty_value_is_stored(place: StorePlace) -> None:
    """Write an empty value: it differs from a missing one, and can be replaced."""
    a, b = place.connect_two()
    version = a.write("k", b"", expect=None)
    require(_data(b, "k") == b"", 'an empty value must read as b"", but did not')
    b.write("k", b"one", expect=version)
    require(
        _data(a, "k") == b"one", "an empty value must be replaceable, but the new one is missing"
    )


def large_values_are_stored(place: StorePlace) -> None:
    """Write 6, 20 and 3 MiB: each is read back, and no other key is left behind."""
    a, b = place.connect_two()
    version = None
    # Shrinking to 3 MiB shows whether the parts of a larger value are removed.
    for size in (6, 20, 3):
        data = bytes(range(256)) * (size * MIB // 256)
        version = a.write("k", data, expect=version)
        require(
            _data(b, "k") == data, f"a value of {size} MiB must be read back, but other bytes were"
        )
    require(
        list(b.list("")) == ["k"],
        "a large value must not leave other keys behind, but some are listed",
    )


def all_bytes_are_stored(place: StorePlace) -> None:
    """Write text in several scripts, line ends, large numbers and all 256 bytes."""
    a, b = place.connect_two()
    # U+2028 and CRLF are changed by stores that treat the value as text.
    text = '{"a": "Grüße 你好 \U0001f600\\u2028", "n": 9223372036854775807, "f": 1e-7}\r\n'
    data = text.encode() + bytes(range(256))
    a.write("k", data, expect=None)
    require(_data(b, "k") == data, "read must return the written bytes, but they were changed")


def outdated_write_is_refused(place: StorePlace) -> None:
    """Write with a version that another client has replaced.

    The error names the current version, or none.
    """
    a, b = place.connect_two()
    seen = a.write("k", b"one", expect=None)
    new = b.write("k", b"two", expect=seen)
    error = expect_error(
        lambda: a.write("k", b"three", expect=seen),
        ConflictError,
        "a write with an outdated version",
    )
    require(
        error.actual in (new, None),
        "the ConflictError must name the current version or none, but names another one",
    )
    expect_error(
        lambda: a.write("gone", b"x", expect=seen),
        ConflictError,
        "a write that expects a version of a missing key",
    )
    require(
        _data(b, "k") == b"two" and b.read("gone") is None,
        "a refused write must have no effect, but changed a value",
    )


def creating_existing_key_is_refused(place: StorePlace) -> None:
    """Create a key that another client, or the same one, has created."""
    a, b = place.connect_two()
    a.write("k", b"one", expect=None)
    expect_error(
        lambda: b.write("k", b"two", expect=None),
        ConflictError,
        "creating a key that another client has created",
    )
    expect_error(
        lambda: a.write("k", b"one", expect=None),
        ConflictError,
        "creating a key that the same client has created",
    )
    require(_data(b, "k") == b"one", "a refused creation must keep the value, but changed it")


def one_creator_succeeds(place: StorePlace) -> None:
    """Let 32 clients create the same key at once: exactly one succeeds."""
    won: list[int] = []
    lost: list[int] = []
    failed: list[Exception] = []
    # All clients connect first, so that their writes are really concurrent.
    start = threading.Barrier(CREATORS)

    def create(number: int) -> None:
        store = place.connect()
        start.wait()
        try:
            store.write("k", str(number).encode(), expect=None)
            won.append(number)
        except ConflictError:
            lost.append(number)
        except Exception as error:  # noqa: BLE001 - reported by the check below
            failed.append(error)

    run_in_threads(create, CREATORS)
    require(
        not failed,
        f"concurrent creations must fail only with ConflictError, but also with {failed[:1]}",
    )
    require(
        len(won) == 1, f"one of {CREATORS} concurrent creations must succeed, but {len(won)} did"
    )
    require(
        _data(place.connect(), "k") == str(won[0]).encode(),
        "the value must be that of the successful creation, but is another one",
    )


def no_write_is_lost(place: StorePlace) -> None:
    """Let eight clients increment a number: the sum contains each acknowledged write.

    Some servers answer a concurrent write with an error that leaves its outcome open. Such a write
    may be in the sum.
    """
    start = place.connect().write("k", b"0", expect=None)
    failed: list[Exception] = []
    unknown: list[OutcomeUnknownError] = []

    def increment(_number: int) -> None:
        try:
            _increment_ten_times(place.connect(), start, unknown)
        except Exception as error:  # noqa: BLE001 - reported by the check below
            failed.append(error)

    run_in_threads(increment, 8)
    require(
        not failed,
        f"concurrent writes must fail only with ConflictError, but also with {failed[:1]}",
    )
    total = int(_data(place.connect(), "k") or 0)
    require(total >= 80, f"80 acknowledged writes must have an effect, but only {total} have")
    require(
        total <= 80 + len(unknown),
        f"refused writes must have no effect, but {total - 80 - len(unknown)} have",
    )


def _increment_ten_times(
    store: Store, version: Version, unknown: list[OutcomeUnknownError]
) -> None:
    """Add 1 to the number at `k` ten times; it is 0 at `version`. Collect unknown outcomes."""
    value, done = 0, 0
    while done < 10:
        try:
            version = store.write("k", str(value + 1).encode(), expect=version)
            value, done = value + 1, done + 1
        except (ConflictError, OutcomeUnknownError) as error:
            if isinstance(error, OutcomeUnknownError):
                unknown.append(error)
            # Read again after an unknown outcome too: the write may have had its effect.
            found = store.read("k")
            assert found is not None, "a key must be readable while it is replaced, but is missing"
            value, version = int(found.data), found.version


def readers_see_complete_values(place: StorePlace) -> None:
    """Read while another client replaces a large value: the old or the new one, never a mix."""
    a, b = place.connect_two()
    version = a.write("k", b"0" * MIB, expect=None)
    seen: list[bytes] = []
    done = threading.Event()

    def read(_number: int) -> None:
        while not done.is_set():
            data = _data(b, "k") or b""
            seen.append(data[:1] if len(set(data)) == 1 and len(data) == MIB else b"mixed")

    reader = threading.Thread(target=read, args=(0,))
    reader.start()
    try:
        for number in range(1, WRITES_WHILE_READING):
            version = a.write("k", str(number % 10).encode() * MIB, expect=version)
    finally:
        done.set()
        reader.join()
    require(
        b"mixed" not in seen,
        "a reader must see the old or the new value, but saw one that was never written",
    )


def listing_is_exact(place: StorePlace) -> None:
    """List with several prefixes: of a folder, of a name, of everything, and of nothing."""
    a, b = place.connect_two()
    for key in ("a/b", "a/c/d", "ab/e", "top"):
        a.write(key, b"x", expect=None)
    for prefix, expected in (
        ("a/", ["a/b", "a/c/d"]),
        ("a", ["a/b", "a/c/d", "ab/e"]),
        ("", ["a/b", "a/c/d", "ab/e", "top"]),
        ("none/", []),
    ):
        listed = list(b.list(prefix))
        require(listed == expected, f'list("{prefix}") must yield {expected}, but yielded {listed}')
    a.delete("a/b")
    require(list(a.list("a/")) == ["a/c/d"], "a deleted key must not be listed, but it still is")


def long_listing_is_complete(place: StorePlace) -> None:
    """Create many keys, list them, and delete them one by one."""
    a, b = place.connect_two()
    keys = [f"many/{number:05}" for number in range(place.many)]
    for key in keys:
        a.write(key, b"x", expect=None)
    found = list(b.list("many/"))
    require(
        found == keys,
        f"all {len(keys)} keys must be listed in order, but {len(found)} are, or in another order",
    )
    for key in found:
        b.delete(key)
    require(list(a.list("")) == [], "deleted keys must not be listed, but some still are")


def keys_stay_inside(place: StorePlace) -> None:
    """Use keys with `..` and the like: each is refused, or is a key like any other."""
    a, b = place.connect_two()
    for key in ("../escape", "a/../../escape", "/escape", "a//b", "."):
        with suppress(StoreError):
            a.write(key, b"x", expect=None)
            require(
                _data(b, key) == b"x",
                f'"{key}" must be refused or stored, but was written to another place',
            )
            require(
                key in list(b.list("")),
                f'"{key}" must be refused or listed, but was written and is not listed',
            )


def denied_access_is_an_error(place: StorePlace) -> None:
    """Use a place without permission to read: an error, never an empty state."""
    if place.denied is None:
        raise CaseSkipped("this place has no client without permission to read")
    store = place.denied()
    expect_error(lambda: store.read("k"), StoreAccessError, "a read without permission")
    expect_error(lambda: list(store.list("")), StoreAccessError, "a listing without permission")
    expect_error(
        lambda: store.write("k", b"x", expect=None), StoreAccessError, "a write without permission"
    )


def append_extends_value(place: StorePlace) -> None:
    """Append several times, then replace the value."""
    a, b = _connect_appending(place)
    version = a.write("k", b"one", expect=None)
    for part in (b" two", b"", b" three" * 1000):
        version = a.append("k", part, expect=version)
    found = b.read("k")
    require(
        found is not None and found.data == b"one two" + b" three" * 1000,
        "read must return the value with the appended bytes, but returned other bytes",
    )
    require(
        found is not None and found.version == version,
        "append must return the version of the whole value, but returned another one",
    )
    b.write("k", b"new", expect=version)
    require(
        _data(a, "k") == b"new",
        "a value must be replaceable after an append, but the new one is missing",
    )


def outdated_append_is_refused(place: StorePlace) -> None:
    """Append with a version that another client's write or append has replaced."""
    a, b = _connect_appending(place)
    expect_error(
        lambda: a.append("k", b"x", expect="0"), ConflictError, "an append to a missing key"
    )
    outdated = a.append("k", b"1", expect=a.write("k", b"0", expect=None))
    current = b.append("k", b"2", expect=outdated)
    expect_error(
        lambda: a.append("k", b"x", expect=outdated),
        ConflictError,
        "an append after another client's append",
    )
    current = b.write("k", b"claim", expect=current)
    expect_error(
        lambda: a.append("k", b"x", expect=outdated),
        ConflictError,
        "an append after another client's write",
    )
    current = b.append("k", b"!", expect=current)
    expect_error(
        lambda: a.write("k", b"x", expect=outdated),
        ConflictError,
        "a write after another client's append",
    )
    b.delete("k")
    expect_error(
        lambda: a.append("k", b"x", expect=current), ConflictError, "an append to a deleted key"
    )
    require(a.read("k") is None, "a refused append must have no effect, but created the key again")


def _connect_appending(place: StorePlace) -> tuple[AppendStore, AppendStore]:
    a, b = place.connect_two()
    if isinstance(a, AppendStore) and isinstance(b, AppendStore):
        return a, b
    raise CaseSkipped("this store does not append")


STORE_CASES: tuple[Case[StorePlace], ...] = (
    Case(("C01",), "a missing key reads as None", missing_key_reads_as_none),
    Case(("C02",), "a read returns what was written", read_returns_what_was_written),
    Case(("C03",), "a new client reads the last write", new_client_reads_last_write),
    Case(("C04",), "deleting a missing key succeeds", deleting_missing_key_succeeds),
    Case(("C05",), "an empty value can be stored and replaced", empty_value_is_stored),
    Case(("C06",), "large values are stored and leave nothing behind", large_values_are_stored),
    Case(("C07",), "all bytes are stored unchanged", all_bytes_are_stored),
    Case(
        ("C14", "C36", "G54"),
        "a write with an outdated version is refused",
        outdated_write_is_refused,
    ),
    Case(("C35",), "a delete with an outdated version is refused", outdated_delete_is_refused),
    Case(("G22",), "creating an existing key is refused", creating_existing_key_is_refused),
    Case(("G23",), "one of 32 concurrent creations succeeds", one_creator_succeeds),
    Case(("C14",), "no acknowledged write is lost", no_write_is_lost),
    Case(("C10", "G24"), "readers never see a partly written value", readers_see_complete_values),
    Case(("G25",), "a listing contains exactly the keys with the prefix", listing_is_exact),
    Case(("G26",), "denied access is an error, not an empty state", denied_access_is_an_error),
    Case(("G28",), "a long listing is complete and sorted", long_listing_is_complete),
    Case(("G30",), "no key leads outside the place", keys_stay_inside),
    Case(("C02",), "an append extends the value", append_extends_value),
    Case(
        ("C14", "C36"), "an append with an outdated version is refused", outdated_append_is_refused
    ),
)


def store_contract(make_place: Callable[[], StorePlace]) -> list[CaseResult]:
    """Run all cases, each in a new, empty place.

    Raises CaseFailedError that lists all failed cases.
    """
    return require_all_passed(list(run_cases(STORE_CASES, make_place)))
