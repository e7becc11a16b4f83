"""The use cases of the commands, without a command line and without a terminal.

Terms: a *workspace* is what a command works on: the config, the plugins and the place of the state.
A *place* is an opened location: a store, a key and the settings that chose them. An `Invocation`
holds what the user named on the command line, `RunOptions` how the run shall work. A use case
returns or yields its results as values and passes events to `emit` while it works. The command line
shows both; another program could do the same.

- opening: `invocation`, `workspace`, `place`, `empty_state` (refuses an empty state
  that is likely a mistake)
- runs: `run` (plan, apply, delete, destroy, drift, status), `verify`, `approval`, `signals`
- state: `states` (inspect and repair), `comparison`, `sessions`, `locks`
- debug log: `debug_log` (levels, lines, redaction), `logged_ports` (stores and lockers that log)
- others: `initialize`, `graph_export`, `secret_lookup` (reads a secret again), `identities`

Invariants:

- Nothing here prints, or imports `dtm.render`, `dtm.cli`, click or rich (an import contract).
- Every failure is a DtmError that names what the user wrote and the next step.
- Paths in an `Invocation` are absolute.

    workspace = open_workspace(Invocation(cwd, os.environ), emit, redactor)
    plan = Run(workspace, RunOptions(lock=False)).plan()
"""
