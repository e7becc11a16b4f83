"""Lockers built on something else: on any store, or on two other lockers.

Terms:

- A *record* is the JSON form of `engine.lock.LockInfo`. The *holder* is the client that wrote it.
- To *mark* a record is to overwrite it with `"Info": "released"`, before it is deleted (`object`).

Invariant: a locker changes a record only if it is the one that the caller expects. Otherwise it
raises LockHeldError with the current record, or LockError if there is none (`refusals`).

An example:

    locker = ObjectLocker(store)
    both = BothLockers(dynamodb_locker, locker)
    held = both.put("devstream.state", info, expect=None)
    both.remove("devstream.state", expect=held)
"""
