"""From config, state and live resources to a plan, without I/O.

Terms: a *change* is what a plan does with one tool: its action, its reason and the fields that
differ. *Drift* is a difference between recorded and live resource, made outside dtm. An *identity*
is the natural key by which a provider finds a resource again. A *subject* is a recorded tool with
what is known of it. A *resolution* is the user's word on an operation whose outcome is not known.

Invariants: the same inputs give the same plan. A plan takes linear time in tools and edges. When a
change is decided again with real values, it may only get milder. Every problem is reported, not
only the first.

Where is it decided ...

- which action follows from config, entry and live resource? `decisions.decide`
- which one for a tool that is not wanted any more? `decisions.decide_removal`
- that a changed option replaces a tool? `decisions.update_or_replace`
- which options and attributes differ from the record? `drift.option_changes`, `drift.live_changes`
- which fields of two values differ? `diff.diff`
- which tools are one thing, or one that moved? `identities.IdentityIndex`, `identities.find_moves`
- in which order, and with which outputs? `planner.make_plan`, `planner.plan_removal`
- which plans are refused, or need more than a yes? `safety.check`

The rows of the table stand in `tests/engine/planning/test_planner.py`: a tool whose resource is
gone, for instance, is created again whatever its options say. An option that is not known before
the run counts as changed; `execution.jobs` decides that change again with the real value. The user
can ask for a replacement, too: `--resolve ADDR=retry` of an operation whose outcome is not known.

An option is declared with `Field(replace=True)` by its plugin; `option_changes` marks its field as
one that `replaces`, and `update_or_replace` makes a replacement of a change that has such a field.

    plan = make_plan(config, state, live, operations)
    must_confirm = safety.check(plan)
"""
