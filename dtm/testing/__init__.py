"""Contract suites for the authors of plugins and backends: each promise of a protocol, tried.

A *contract* is a list of cases; a *case* is one promise with a name, tried in a world or place of
its own. No test runner is needed: a suite raises an AssertionError that lists all that is broken,
so one call makes a test for pytest, unittest or a script.

An author of a plugin prepares a *trial* (`provider.Trial`: options, other means to change the
thing) and calls

    from dtm.testing.provider import provider_contract

    def test_the_contract(tmp_path: Path) -> None:
        provider_contract(MyProvider(), trial, tmp_path)

An author of a backend says how a client of an empty *place* is made, and calls

    from dtm.testing.locker import LockerPlace, locker_contract
    from dtm.testing.session import session_contract
    from dtm.testing.store import StorePlace, store_contract

    def test_the_store(tmp_path: Path) -> None:
        store_contract(lambda: StorePlace(lambda: MyStore(fresh(tmp_path))))

    def test_the_lock(tmp_path: Path) -> None:
        locker_contract(lambda: LockerPlace(lambda: MyLocker(fresh(tmp_path))))

    def test_sessions(tmp_path: Path) -> None:
        session_contract(lambda: connect_to(fresh(tmp_path)))

`STORE_CASES`, `LOCKER_CASES` and `SESSION_CASES` hold the cases one by one. `clock` and `faults`
are fakes for tests of your own: a clock that moves only in `sleep`, a locker that fails as told.

Two clients take part in every case of a store or a lock, since a promise that holds for one client
alone protects nothing. Hours pass on the fake clock; a case that needs a real one says so.
"""
