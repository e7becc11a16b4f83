"""The command line: it parses arguments, calls one use case of `dtm.app`, and returns an exit code.

`main` holds the group of all commands and the entry point of the process. It imports the module of
a command when that command runs, so that `dtm version` and `dtm --help` stay fast. `common` holds
the options that all commands share, the `Context` of a command (what the user named, and the
renderer), and the way from an error to an exit code. `hints` completes the commands in hints with
the flags that chose the state. `streams` opens the standard streams.

Invariants:

- Nothing is decided here. A command calls a use case and shows its results through the renderer.
- A command returns its exit code: 0 done, 1 error, 2 changes or drift (if the command reports
  them), 3 the lock is held, 130 interrupted. None means 0.
- A command imports its use case inside its body.

    @click.command()
    @command()
    def drift(context: Context, **given: Any) -> int:
        from dtm.app.run import Run

        found = Run(context.open(), run_options(given)).drift()
        context.renderer.plan(found.plan, operation="drift")
        return 0 if found.plan.is_empty else 2
"""
