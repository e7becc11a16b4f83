"""Use cases: what the commands do, without a command line and without a terminal.

A *workspace* is what a command works on: the config, the plugins and the *place* of the state (a
store, a key, settings). An `Invocation` says which of them the user named; `Choices` say how a run
goes about its work. Everything a use case learns is returned or yielded as a value, and everything
that happens meanwhile is an event handed to `emit`: the command line shows both, and so could
another program.

- opening: `choices`, `workspace`, `place`, `moved` (an empty state where a full one was meant)
- runs: `run` (plan, apply, delete, destroy, drift, status), `verify`, `approval`, `signals`
- state: `states` (look and mend), `comparison`, `sessions`, `locks`
- others: `initialize`, `graph_export`, `recall` (secrets again, by their source), `identities`

Invariants:
- Nothing here prints, or imports `dtm.render`, `dtm.cli`, click or rich (an import contract).
- Every failure is a DtmError that names what the user wrote and the next step.
- Paths in an `Invocation` are absolute.

    workspace = open_workspace(Invocation(cwd, os.environ), emit, redactor)
    plan = Run(workspace, Choices(lock=False)).plan()
"""
