"""Carry out a plan: decide when a provider is called, and record each call before and after it.

Besides reading (`refresh`), `executor.apply` is the only part of dtm that calls live systems.

Terms:

- *step*: one phase of one change. The phase REMOVE deletes or forgets the old resource, the phase
  APPLY does everything else. A replace has both.
- *job*: a step with everything that its call needs: options with real values, resource, timeout.
- *worker*: a thread that calls providers. Only the main thread decides, records and emits events.
- *step window*: the steps that may start now. Begin records are committed ahead of their calls, so
  that calls do not wait for the store; the window limits how far ahead.
- *call monitor*: the calls that are running, and when each one is given up.
- *lookup*: a read before a create, for a resource that the plan could not look up yet.
- *late outcome*: the outcome of a call that was given up before it ended.

The states of a step:

                 its dependencies              begin record              record is
                 are done                                                durable
        waiting ------------------> ready -------------------> begun -----------------> called
           |                       /  |                          |                        |
           | one of them    no call   | its job cannot           | the user stopped,      |
           | failed, or      needed   | be built                 | or the session was     |
           | the user       /         |                          | superseded             |
           | stopped       v          v                          v                        v
        skipped          done      failed                    cancelled     done | failed | unknown

Records: *done* writes the new entry. *failed* keeps the operation in the entry, with the error, as
unfinished. *cancelled* restores the entry from before, and the tool counts as skipped. *unknown*
writes nothing: the operation stays recorded as begun, and the next run examines it.

    rule                             | why                                  | enforced in
    ---------------------------------|--------------------------------------|----------------------
    One thread decides, records and  | Order and state need no further      | executor._Run
    emits; workers only call.        | locks.                               |
    A call is made only after its    | After a crash the next run would not | WorkerContext._perform
    begin record is durable.         | know of the resource.                |
    A begin record without identity  | After a crash in between, only the   | StepWindow.admit
    comes right before its call.     | user can find out what happened.     |
    At most `parallelism` calls run, | The systems and the user's limits    | WorkerPool
    besides those given up.          | must be respected.                   |
    A failed call is repeated only   | A repeated create could create a     | worker, with
    if the provider allows it.       | second resource.                     | retry_provider_call
    A failed create and an unknown   | A partly created resource must be    | WorkerContext._examine
    outcome are examined by a read.  | recorded, not created again.         | _failure
    A change gets only milder when   | The user has approved no more than   | JobBuilder.resolve_
    it is decided with real values.  | the plan.                            | change

Modules: `executor` has the main thread, `worker` the threads that call. `steps` orders a plan,
`step_window` says what may start, `jobs` builds jobs. `call_monitor` watches running calls,
`result_counter` counts changes, `run_settings` has the settings of a run. `refresh` reads what is
live.

An apply goes like this:

    control = RunControl(parallelism=10)
    live = refresh.read(config, session.state, operations)
    plan = make_plan(config, session.state, live, operations)
    summary = executor.apply(plan, config, session, operations, emit=emit, control=control)
"""
