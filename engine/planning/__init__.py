"""Planning: compare the configuration, the state and the live resources, and return a plan.

Planning does no I/O. It reads what other rooms loaded, and returns a value.

Terms:

- *Change*: what a plan does with one tool: its action, its reason and the fields that differ.
- *Drift*: a difference between the recorded and the live resource that was made outside dtm.
- *Identity*: the natural key by which a provider finds a resource again, such as `file:out/a.txt`.
- *Recorded tool*: an entry of the state, together with what is known about its resource.
- *Resolution*: the user's decision (`--resolve`) on an operation with an unknown outcome.

The decision table. *Entry* is what the state records of the tool: `ok`, or an operation that was
begun and has not ended, or has failed. *Live* is what the provider reads now; *no identity* means
that it cannot look up the resource.

    config | entry                | live               | plan
    -------+----------------------+--------------------+-------------------------------------------
    yes    | none                 | absent             | create (new)
    yes    | none                 | present            | error: not recorded in this state
    yes    | ok                   | equal              | keep (unchanged)
    yes    | ok                   | options differ     | update or replace (changed)
    yes    | ok                   | only live differs  | update (drifted, or input if a file that
           |                      |                    | an option names has changed)
    yes    | ok                   | absent             | create (vanished)
    yes    | create begun         | present, complete  | recover (interrupted): record it
    yes    | create begun         | present, different | update or replace (interrupted)
    yes    | create failed        | present            | update or replace (failed)
    yes    | update begun, failed | present            | update or replace (interrupted, failed)
    yes    | replace begun        | present            | recover if equal, else update or replace
    yes    | replace failed       | present            | update or replace (failed)
    yes    | delete begun, failed | present            | recover if equal, else update or replace
    yes    | begun or failed      | absent             | create (interrupted, failed)
    yes    | begun, not an update | no identity        | recover: the user must give --resolve
    yes    | under an old name    | present            | move if equal (renamed), else as for ok
    no     | ok                   | any                | delete (removed)
    no     | begun or failed      | present            | delete (interrupted, failed)
    no     | begun or failed      | absent             | forget (interrupted, failed)
    no     | create begun         | no identity        | recover: the user must give --resolve
    no     | another begun        | no identity        | delete by the recorded ID (interrupted)

With `--resolve ADDR=adopt:ID`, dtm reads the resource with this ID and decides as if it were found.
With `retry` it creates or replaces the resource, or deletes it if the configuration no longer has
the tool. With `forget` it creates the resource (new), or forgets the tool if the configuration no
longer has it.

An option that is not known before the apply counts as changed. `execution.jobs` decides that change
again when the real value is known.

Where the code decides ...

- which action follows for a tool of the configuration: `decisions.decide`
- which action follows for a recorded tool that is to be deleted: `decisions.decide_removal`
- whether a changed option updates or replaces a tool: `decisions.update_or_replace`. A plugin
  declares an option with `Field(replace=True)`; `drift.option_changes` marks its change.
- which options and attributes differ from the record: `drift.option_changes`, `drift.live_changes`
- which fields of two values differ: `diff.diff`
- which tools share an identity, and which tool moved: `identities.IdentityIndex`,
  `identities.find_moves`
- the order of changes, and the outputs: `planner.make_plan`, `planner.plan_removal`
- which plans are refused, and which need a confirmation: `safety.check`

Invariants:

- The same inputs give the same plan.
- Planning takes linear time in the number of tools and dependencies.
- A change that is decided again with real values may only become milder: a replace may become an
  update, an update may become a keep.
- Every problem is reported, not only the first.

    plan = make_plan(config, state, live, operations)
    must_confirm = safety.check(plan)
"""
