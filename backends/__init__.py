"""Stores and lockers: one folder or module for each kind of place that holds a state.

Terms:

- A *backend* turns the options under `state:` into a place. Its function `open_backend` returns an
  `OpenedBackend`: a store, the key of the state in it, and the lockers that can guard it.
- A *store* keeps bytes under keys, and replaces them only if their version is the expected one.
- A *locker* keeps one lock record per key. It never waits, and never judges
  whether a lease has expired.
- A *state URL* (`s3://bucket/key`) is another notation for a backend and its options (`url`).

Invariants:

- A backend imports only `engine.<module>`, an SDK, `backends.lockers` and `backends.keys`, and no
  other backend.
- It loads its SDK at the first request, so that opening a place is fast.
- It sends each request once. The engine is responsible for retries.
- It raises only errors of `engine.errors`. It distinguishes "certainly without effect"
  (StoreUnavailableError) from "outcome unknown" (OutcomeUnknownError). The state is safe only if
  this distinction is right: after the former dtm repeats the write, after the latter it first reads
  what is stored.

To add a backend `foo`:

1. Write `backends/foo.py`, or a folder with a page like this one: a Struct `OPTIONS` and a function
   `open_backend`. The smallest example is `memory.py`; `engine/ports.py` specifies the protocols.
   If the store has conditional writes, `lockers.object.ObjectLocker` is its lock. The location of
   the store and the key, joined by "/", form the URL of the state. This URL must never change.
2. Register it in `dtm/plugins.py` and in the contracts "backends do not import each other" and
   "shared modules of backends import no backend" of `pyproject.toml`. Add its URL to `url.py` and
   its options to `docs/reference/configuration.md`. If the options contain paths, extend two
   modules: `dtm/app/place.py`, so that it makes the paths of a URL absolute, and
   `dtm/app/identities.py`, so that it refuses tools that manage the same files.
3. Run the suites of `dtm.testing` on it: add a place to `tests/contracts/test_store_and_locker.py`
   (and its description to `FAKES` in `tests/conformance.py`, for the page that `make conformance`
   writes), its URL to `tests/backends/test_url.py`, and a test of a whole run to `tests/e2e`.

An example:

    place = memory.open_backend({"name": "demo"}, Path(), {})
    version = place.store.write(place.key, b"{}", expect=None)
"""
