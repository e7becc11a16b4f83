"""The group of all commands, and the entry point of the process."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from importlib import import_module

import click

COMMANDS = {
    "apply": "dtm.cli.lifecycle:apply",
    "completion": "dtm.cli.meta:completion",
    "delete": "dtm.cli.lifecycle:delete",
    "destroy": "dtm.cli.lifecycle:destroy",
    "develop": "dtm.cli.develop:develop",
    "drift": "dtm.cli.inspect:drift",
    "force-unlock": "dtm.cli.lock:force_unlock",
    "graph": "dtm.cli.inspect:graph",
    "init": "dtm.cli.inspect:init",
    "list": "dtm.cli.show:list_group",
    "lock": "dtm.cli.lock:lock",
    "output": "dtm.cli.inspect:output",
    "plan": "dtm.cli.lifecycle:plan",
    "show": "dtm.cli.show:show",
    "state": "dtm.cli.state:state",
    "validate": "dtm.cli.inspect:validate",
    "verify": "dtm.cli.inspect:verify",
    "version": "dtm.cli.meta:version",
}
SUMMARIES = {
    "apply": "Plan, ask for approval, and apply the changes.",
    "completion": "Print the completion script for a shell.",
    "delete": "Delete the config's tools, dependents first.",
    "destroy": "Delete every tool in the state.",
    "develop": "Create and check plugins.",
    "drift": "Show what changed outside dtm.",
    "force-unlock": "Break the lock with the given ID.",
    "graph": "Print the dependency graph.",
    "init": "Check config, plugins, state, lock and store.",
    "list": "List the plugins.",
    "lock": "Show who holds the lock.",
    "output": "Print the outputs of the last apply.",
    "plan": "Show what apply would do.",
    "show": "Show a sample config, the schema, or the status of tools.",
    "state": "Inspect and repair the state.",
    "validate": "Check the config only.",
    "verify": "Check whether config, state and live resources agree.",
    "version": "Print the version.",
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in alphabetical order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the command's module. Shells show the summary when they complete a command."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, attribute = target.split(":")
        command: click.Command = getattr(import_module(module), attribute)
        command.short_help = SUMMARIES[cmd_name]
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does. Explain that an option of a command follows the command."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name
            raise click.UsageError(
                f"No such option '{name}' here. "
                f"Write it after a command, for example: dtm plan {name}",
                ctx,
            ) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does. Suggest a similar name for an unknown command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from engine.suggestions import find_similar

            if meant := find_similar(args[0], COMMANDS):
                raise click.UsageError(f'{error.message} Did you mean "{meant}"?', ctx) from error
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands from the table, without importing their modules."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(SUMMARIES.items()))


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start in an empty folder: dtm show config > config.yaml, then dtm plan, then dtm apply."
    " Exit codes: 0 done or nothing to do, 1 error, 2 changes or drift, "
    "3 the lock is held, 130 interrupted.",
)
@click.option("--version", is_flag=True, help="Print the version and exit.")
@click.pass_context
def root(ctx: click.Context, version: bool) -> None:
    """Declarative engine for DevOps toolchains.

    Describe tools in YAML. dtm plans and applies the changes and records them in a state.
    """
    if version:
        from dtm import __version__

        click.echo(__version__)
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run the command line and exit with its code.

    The exit code of a usage error is 1, as in DevStream.
    """
    from dtm.app.signals import ignore_signals, silence_output
    from dtm.cli.streams import is_output_error, open_streams

    open_streams()
    # A command keeps nearly all objects that it creates, so frequent collections find nothing and
    # cost a fifth of the time.
    gc.set_threshold(100_000, 50, 50)
    try:
        code = _invoke()
        # Flushed here, so that a full disk ends with exit code 1. At exit, Python would use 120.
        sys.stdout.flush()
    except OSError as error:
        if not is_output_error(error):
            raise
        code = 1
        if not isinstance(error, BrokenPipeError):
            with suppress(OSError):
                os.write(2, f"dtm: cannot write to {error.filename}: {error.strerror}\n".encode())
        # Python flushes again at exit, and would print an error of its own.
        silence_output()
    ignore_signals()
    sys.exit(code)


def _invoke() -> int:
    try:
        # standalone_mode would print errors and choose exit codes itself.
        code = root.main(prog_name="dtm", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.Abort:
        code = 130
    except click.ClickException as error:
        _show_usage_error(error)
        code = 1
    return code if isinstance(code, int) else 0


def _show_usage_error(error: click.ClickException) -> None:
    """Show what is wrong with the arguments.

    With --json it is a line like all others, otherwise the text of click.
    """
    # Parsing failed, so click does not know whether the option was given.
    if "--json" not in sys.argv:
        error.show()
        return
    from dtm.render.renderers import make_renderer
    from dtm.render.screen import Screen
    from engine.errors import UsageError

    context = getattr(error, "ctx", None)  # only usage errors have one, and not all of them
    hint = f"{context.command_path} --help" if isinstance(context, click.Context) else ""
    make_renderer("json", Screen(sys.stdout, sys.stderr, str)).error(
        UsageError(error.format_message(), hint=hint)
    )
