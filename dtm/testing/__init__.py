"""Contract suites for authors of plugins and backends: each rule of a protocol is a test case.

Terms:

- A *contract* is a list of cases. A *case* checks one rule. Its name states the rule, and its
  failure message says what happened instead.
- A *place* is an empty store or lock, with a function that connects a new client to it.
- A *trial* (`provider.Trial`) is one resource to test a provider with: its options, and functions
  that change the resource without the provider.

Invariants:

- No test runner is needed. A suite raises an AssertionError that lists all failed cases (that of
  sessions: the first one), so that one call is a whole test for pytest, unittest or a script.
- Each case runs in a new place, or in a new directory.
- Two clients take part in each case of a store or a locker: a rule that holds only for a single
  client protects nothing.
- In the locker contract time passes on a fake clock, so that hours take milliseconds. A case that
  needs the real clock says so. The session contract uses the real clock and short leases.

An author of a plugin writes a function that returns a trial, and calls

    from dtm.testing.provider import provider_contract

    def test_provider_contract(tmp_path: Path) -> None:
        provider_contract(MyProvider(), make_trial, tmp_path)

An author of a backend connects clients to an empty place, and calls

    from dtm.testing.locker import LockerPlace, locker_contract
    from dtm.testing.session import Client, session_contract
    from dtm.testing.store import StorePlace, store_contract

    def test_store_contract(tmp_path: Path) -> None:
        store_contract(lambda: StorePlace(lambda: MyStore(fresh(tmp_path))))

    def test_locker_contract(tmp_path: Path) -> None:
        locker_contract(lambda: LockerPlace(lambda: MyLocker(fresh(tmp_path))))

    def test_session_contract(tmp_path: Path) -> None:
        session_contract(lambda: connect_clients_to(fresh(tmp_path)))

`STORE_CASES`, `LOCKER_CASES` and `SESSION_CASES` contain the single cases. `clock` and `faults` are
fakes for your own tests: a clock that moves only in `sleep`, and a locker that fails on request.
"""
