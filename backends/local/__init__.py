"""State in a directory of this machine: files that survive a crash, and a lock per state.

Terms:

- The *short lock* is a lock on the file `.dtm.swap`. It is held for the few milliseconds of one
  compare-and-swap.
- The *lock file* of a key (`.KEY.lock`) stays locked for a whole run. The *record*, which names the
  lock holder, is stored next to it (`.KEY.lock.info`).
- A *tail* is a file that the store keeps open for the next append.

Invariants:

- A file is replaced as a whole or appended to, under the short lock, and is durable on return.
- The kernel releases the lock of a process that died. So a record whose lock file is not locked
  proves that its holder is dead.
- A lock counts only as long as the locked file is the file at the path.

An example:

    place = store.open_backend({"stateFile": "devstream.state"}, base_dir, os.environ)
    version = place.store.write(place.key, b"{}", expect=None)
"""
