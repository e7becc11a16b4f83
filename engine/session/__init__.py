"""One run's hold on a state: lock, read, claim, record, compact, release.

Terms: a *session* is one run that may write. Its *claim* is its first write to the log, made once a
plan is approved. A *lease* says after how long a silence a lock holder may be taken over. A *rescue
file* holds outcomes that could not be committed.

    open --claim--> claimed --begin, done, failed, cancelled, moved--> claimed --leave--> released
      |                |
      |                +-- superseded: nothing more is written; outcomes go to a rescue file
      +-- leave: nothing was written

Invariants: the lock is courtesy, the commit log is safety. A session that never claims writes
nothing. An operation is recorded as begun before its call is made. Leaving always gives the lock
back.

`opening` opens a session, `reading` reads a state without one, `session` records, `ledger` holds
the entries as the records make them, `locking` takes and keeps the lock, `recover` applies a rescue
file, `replacing` puts another state in place (push, rollback).

    with open_session(StateStore(store, key), locker, options, emit) as session:
        session.claim(plan.config_digest)
        session.begin(address, Action.CREATE, entry=entry).wait()
        session.done(address, entry)
"""
