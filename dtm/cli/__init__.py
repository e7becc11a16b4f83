"""The command line: arguments in, one use case of `dtm.app` called, an exit code out.

`main` holds the group of commands and the process's entry point; each command's module is imported
when the command is asked for, so that `dtm version` and `dtm --help` load nothing heavy. `common`
is shared: the options of every command, a `Context` (what was asked for, and the renderer), and the
way from an error to an exit code. `hints` puts the flags that chose the state into the commands of
a hint; `streams` opens the standard streams.

Invariants:
- Nothing is decided here. A command calls a use case and shows its values through the renderer.
- A command returns its exit code: 0 done, 1 error, 2 changes or drift where asked for, 3 the lock
  is held, 130 interrupted. None means 0.
- A command imports the use case inside its body.

    @click.command()
    @command()
    def drift(context: Context, **given: Any) -> int:
        from dtm.app.run import Run

        found = Run(context.open(), choices(given)).drift()
        context.renderer.plan(found.plan, operation="drift")
        return 0 if found.plan.is_empty else 2
"""
