"""The part of dtm that decides, records and remembers.

It knows no SDK, no terminal and no command line. The modules here are the vocabulary, the values
and protocols that every room speaks in:

    address      Address: the name of one tool instance
    values       Value and its special leaves: Unknown, Secret, Digest, Deferred
    schema       Options, Outputs, Field, Catalog: how a plugin describes itself
    config       Config, ToolSpec, StateSettings: what the user asks for
    state        State, StateEntry, Resource: what dtm remembers and what is live
    plan         Plan, Change, Action, Reason: what would be done and why
    lock         LockInfo, LockRecord: who holds the lock on a state
    events       what happens in a run, as one stream
    errors       DtmError and all that derives from it
    ports        Store, Locker, Backend, Provider: the protocols of the adapters
    graph        order, readiness and cycles of a dependency graph
    suggestions  the nearest known name, for hints

The rooms, from the top:

    execution    carries out a plan: when a provider is called, and what is recorded of it
    planning     makes a plan of config, state and live resources; pure
    session      one run's hold on a state: lock, read, claim, record, release
    plugins      how a provider is called: options built, secrets marked, exceptions mapped
    log          the commit log on a store
    loading      from configuration files to a Config, or to every problem that they have
    options      the options of a plugin, as its Struct declares them
    secrets      digests in the state, redaction in texts
    language     from text to values: YAML, expressions, references
    stored       the bytes of a state file
    runtime      clock, sleep, randomness, retries

Rule one: the modules here are all of the engine that an adapter (`backends`, `providers`) imports.
Rule two: arrows point down. A room imports the modules here and the rooms of lower layers:

    execution > planning | session > plugins > log > loading > options | secrets
              > language | stored | runtime > the modules here

pyproject.toml holds both rules as import contracts. One way through the rooms:

    config = load(ConfigSource(path), catalog)
    plan = make_plan(config, state, live, operations)
    summary = apply(plan, config, session, operations, emit=emit)
"""
