"""Hold a state for one run: lock, read, claim, record, compact, release.

A session is the only way to change a state. It takes the lock, reads the state for the planner,
records what the executor does, and leaves a new snapshot behind. Reading without a session needs
no lock: `reading`.

Terms:

- *session*: one run that may write. Its *claim* is its first write to the commit log, made once a
  plan is approved.
- *lock*: a record that asks other sessions to wait. The *lock holder* renews it; the *lease* is the
  number of seconds after which a lock without a renewal counts as dead. A *takeover* acquires such
  a lock.
- *superseded*: said of a session after another one has claimed the state.
- *rescue file*: a local file with outcomes that a session could not commit.
- *working state*: the entries with all records of this session applied, durable or not.
- *copy*: a state file at another location than the one it belongs to, its *home*.

The states of a session:

    open_session
         |
         v                                begin, done, failed, cancelled, moved
      opened ---------- claim ----------> claimed <--+
         |                                |  |  |----+
         | leave:                         |  |
         | nothing was written            |  +-- another session claims --> superseded
         |                                |                                    |
         v                                | leave: flush, compact              | leave: outcomes
     released <---------------------------+                                    | to a rescue file
         ^                                                                     |
         +---------------------------------------------------------------------+

    rule                              | why                                 | enforced in
    ----------------------------------|-------------------------------------|-----------------------
    The commit log, not the lock,     | A lock can be broken, or expire     | Session.claim,
    protects the state.               | while its holder sleeps.            | engine.log
    A session that never claims       | A refused or empty plan must leave  | Session._recorder
    writes nothing to the state.      | no trace.                           |
    An operation is durably recorded  | Otherwise a crash would leave an    | Session.begin and the
    as begun before it is called.     | unknown resource.                   | wait of a worker
    Records reach the log in the      | Replaying them must give the        | WorkingState.lock
    order of the working state.       | working state.                      |
    Secrets are replaced by digests   | No state, log or history may hold   | SecretFilter
    before they are recorded.         | a secret.                           |
    The last session is over before   | Its running calls could otherwise   | opening._wait_for_
    a new one reads the state.        | create a resource twice.            | last_session
    Every way out releases the lock   | The next run must not wait for a    | opening._hold_lock,
    and saves outcomes.               | lease, nor lose an outcome.         | Session.leave

Modules: `opening` opens a session, `reading` reads a state without one, `session` records,
`working_state` has the entries with all records applied, `locking` acquires and keeps the lock,
`recover` applies a rescue file, `replacing` writes another state (push, rollback).

A run records one operation like this:

    with open_session(StateStore(store, key), locker, options, emit) as session:
        session.claim(plan.config_digest)
        session.begin(address, Action.CREATE, entry=entry).wait()
        session.done(address, entry)
"""
