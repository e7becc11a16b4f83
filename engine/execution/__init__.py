"""Carry out a plan: decide when a provider is called, and record each call before and after.

Terms: a *step* is one phase of one change: it ends a tool or makes it, and a replace is both. A
*job* is a step with everything that its call needs: options with real values, resource, timeout. A
*worker* is a thread that calls providers. The *window* holds what may start now, the *watch* the
calls that are running, the *tally* how changes ended. *Refresh* reads what is live.

                 its dependencies              begin record              record is
                 are done                                                durable
        waiting ------------------> ready -------------------> begun -----------------> called
           |                       /  |                          |                        |
           | one of them    no call   | no job can               | the user stopped,      |
           | failed, or      needed   | be made of it            | or the state is lost   |
           | the user       /         |                          |                        |
           | stopped       v          v                          v                        v
        skipped          done      failed                    cancelled     done | failed | unknown

Records: *done* writes the new entry. *failed* keeps the operation in the entry, with the error, as
unfinished. *cancelled* restores the entry from before, and the tool counts as skipped. *unknown*
writes nothing: the begin record stands, and the next run examines what became of it.

Invariants: one thread decides, records and emits; workers only call. A call is made only after its
begin record is durable. At most `parallelism` calls run, besides those that were given up. A failed
call is made again only if the provider allows it; after a failed create and after any unknown
outcome one `read` examines what is live. A begin record runs ahead of its call only if the resource
can be found again without its id.

    control = Control(parallelism=10)
    live = refresh.read(config, session.state, operations)
    plan = make_plan(config, session.state, live, operations)
    summary = executor.apply(plan, config, session, operations, emit=emit, control=control)
"""
