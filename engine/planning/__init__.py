"""Planning: compare the configuration, the state and the live resources, and return a plan.

Planning does no I/O. It reads what other rooms loaded, and returns a value.

Terms:

- *Change*: what a plan does with one tool: its action, its reason and the fields that differ.
- *Drift*: a difference between the recorded and the live resource that was made outside dtm.
- *Identity*: the natural key by which a provider finds a resource again, such as `file:out/a.txt`.
- *Recorded tool*: an entry of the state, together with what is known about its resource.
- *Resolution*: the user's decision (`--resolve`) on an operation with an unknown outcome.

The decision table. *Entry* is what the state records of the tool: `ok`, or the operation that is
begun or failed there. *Live* is what the provider reads now.

    config | entry                | live               | plan
    -------+----------------------+--------------------+-------------------------------------------
    yes    | none                 | absent             | create (new)
    yes    | none                 | present            | error: not recorded in this state
    yes    | ok                   | equal              | keep (unchanged)
    yes    | ok                   | options differ     | update or replace (changed)
    yes    | ok                   | only live differs  | update (drifted, or input)
    yes    | ok                   | absent             | create (vanished)
    yes    | create begun         | present, complete  | recover (interrupted): record it
    yes    | create begun         | present, different | update or replace (interrupted)
    yes    | create failed        | present            | update (failed)
    yes    | create begun, failed | absent             | create (interrupted, failed)
    yes    | update begun         | present            | update (interrupted)
    yes    | replace begun        | present            | compared: recover, update or replace
    yes    | delete begun         | present            | compared: recover, update or replace
    yes    | any of them begun    | absent             | create (interrupted)
    yes    | under an old name    | present            | move (renamed), then compared as ok
    no     | ok                   | any                | delete (removed)
    no     | begun or failed      | present            | delete (interrupted, failed)
    no     | begun or failed      | absent             | forget (interrupted, failed)
    any    | begun, not an update | cannot be read     | recover: the user must give --resolve

With `--resolve`, the last row becomes: `adopt:ID`: compared with the resource of this ID. `retry`:
create or replace. `forget`: create (new), or forget without a config.

An option that is not known before the apply counts as changed. `execution.jobs` decides that change
again when the real value is known.

Where the code decides ...

- which action follows for a tool of the configuration: `decisions.decide`
- which action follows for a recorded tool that left it: `decisions.decide_removal`
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
- A change that is decided again with real values may only become milder.
- Every problem is reported, not only the first.

    plan = make_plan(config, state, live, operations)
    must_confirm = safety.check(plan)
"""
