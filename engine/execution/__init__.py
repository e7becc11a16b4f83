"""Carry out a plan: when a provider is called, and what is recorded of it.

Terms: a *step* is one phase (end or make) of one change. A *job* is a step with everything that its
call needs. A *worker* is a thread that calls providers.

    step: waiting --its dependencies are done--> ready --begin record--> begun --worker--> called
    called --> done | failed | unknown      begun --> cancelled (never called)

Invariants: one thread decides, records and emits; workers only call. A begin record is durable
before its call. After an unknown outcome one `read` decides, and if it cannot the begin stands.

    summary = apply(plan, config, session, operations, emit=emit)
"""
