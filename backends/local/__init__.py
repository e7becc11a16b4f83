"""State in a directory of this machine: files that survive a crash, and a lock.

Terms: the *short lock* (`.dtm.swap`) is held for the milliseconds of one compare-and-swap. The
*lock file* of a key (`.KEY.lock`) is kept locked for a whole operation; its *record* lies beside it
(`.KEY.lock.info`). A *tail* is a file kept open for the next append.

Invariants:

- A file is replaced whole, or appended to, under the short lock, and is durable on return.
- The kernel frees the lock of a process that died, so a record without a lock proves a death.
- A lock counts only while its file is the one at the path.

An example:

    place = store.open_backend({"stateFile": "devstream.state"}, base_dir, os.environ)
"""
