"""The engine of dtm: it plans changes, carries them out and records them in the state.

It knows no SDK, no terminal and no command line. The modules in this folder are the vocabulary: the
values and protocols that all rooms share.

    address      Address: the name of one tool
    values       Value and its special leaves: Unknown, Secret, Digest, Deferred
    schema       Options, Outputs, Field, Catalog: how a plugin describes itself
    config       Config, ToolSpec, StateSettings: what the user asks for
    state        State, StateEntry, Resource: what dtm recorded and what providers report
    plan         Plan, Change, Action, Reason: what an apply would change, and why
    lock         LockInfo, LockRecord: the holder of the lock on a state
    events       the events of a run, as one stream
    errors       DtmError and all errors that derive from it
    ports        Store, Locker, Backend, Provider: the protocols that adapters implement
    graph        order, readiness and cycles of a dependency graph
    suggestions  similar names, for hints

Terms: a *room* is a folder of the engine. An *adapter* is a module of `backends` or `providers`,
which connects the engine to one system. docs/explanation/glossary.md defines all other terms.

The rooms, from the top:

    execution    carries out a plan: calls the providers and records what they did
    planning     makes a plan from config, state and live resources; pure
    session      one run's access to a state: lock, read, claim, record, release
    plugins      calls providers: builds options, marks secrets, maps exceptions
    log          the commit log on a store
    loading      turns configuration files into a Config, or reports all their problems
    options      checks and decodes the options of a plugin by their Struct
    secrets      digests for the state, redaction for texts
    language     turns text into values: YAML, expressions, references
    stored       reads and writes the bytes of a state file
    runtime      clock, sleep, randomness, retries

Invariants:

- All values are immutable, so that threads can share them.
- Adapters (`backends`, `providers`) import only the modules in this folder, no room.
- A room imports only the modules in this folder and rooms of lower layers:

    execution > planning | session > plugins > log > loading > options | secrets
              > language | stored | runtime > the modules in this folder

The import contracts in pyproject.toml check the last two invariants.

An example, from a configuration to an applied plan:

    config = load(ConfigSource(path), catalog)
    plan = make_plan(config, state, live, operations)
    summary = apply(plan, config, session, operations, emit=emit)
"""
