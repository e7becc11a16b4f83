"""Lockers made of other things: of any store, or of two lockers.

Terms: the *record* is the JSON form of `engine.lock.LockInfo`; its *holder* is the client that
wrote it.

Invariant: a locker changes a record only if it is the one that the caller expects. Otherwise it
raises LockHeldError with the record that is there, or LockError if there is none (`refusals`).

An example:

    locker = ObjectLocker(store)
    both = BothLockers(dynamodb_locker, locker)
"""
