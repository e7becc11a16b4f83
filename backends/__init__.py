"""The room of stores and lockers: one folder or module per kind of place that holds a state.

Terms:

- A *backend* turns the options of `state:` into a place: `open_backend` returns
  `OpenedBackend`, which is a store, the key of the state in it, and the lockers that can guard it.
- A *store* keeps bytes under keys, and replaces them only at the expected version.
- A *locker* keeps one lock record per key. It never waits, and never judges a lease.
- A *state URL* (`s3://bucket/key`) is another spelling of a backend and its options: `url`.

A backend may import `engine.<module>`, an SDK, `backends.lockers` and `backends.keys`, and no other
backend. It loads its SDK at the first request, so that opening a place stays cheap. It sends each
request once and leaves retries to the engine. It raises the errors of `engine.errors` only, and
tells "certainly without effect" (StoreUnavailableError) from "nobody knows" (OutcomeUnknownError):
the state is safe only as far as this is right.

To add a backend `foo`:

1. Write `backends/foo.py`, or a folder with a page like this one: a Struct `OPTIONS` and
   `open_backend`, as in `memory.py`, the smallest one. `engine/ports.py` says what must hold. With
   compare-and-swap in the store, `lockers.object.ObjectLocker` is its lock. The location of the
   store and the key, joined by "/", are the state's URL: it must still lead there tomorrow.
2. Name it in `dtm/plugins.py` and in the contract "backends do not lean on each other" of
   `pyproject.toml`; its URL in `url.py`; its options in `docs/reference/configuration.md`. If they
   hold paths: `dtm/app/place.py` makes those of a URL absolute, and `dtm/app/identities.py` keeps
   tools away from the files.
3. Run the suites of `dtm.testing` on it: a place in `tests/contracts/test_store_and_locker.py`
   (what it is made of stands in `FAKES` of `tests/conformance.py`, for the page that
   `make conformance` writes), its URL in `tests/backends/test_url.py`, a life of it in `tests/e2e`.

An example:

    place = memory.open_backend({"name": "demo"}, Path(), {})
    version = place.store.write(place.key, b"{}", expect=None)
"""
