"""The common part of all commands: options, renderer, and the way from an error to an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click
import msgspec

from dtm.app.approval import Approval, ConfirmationPrompt
from dtm.app.invocation import Invocation, RunOptions
from dtm.app.signals import install_signal_handlers, on_reader_gone
from dtm.cli.hints import location_flags, with_hint_flags
from dtm.cli.streams import is_output_error
from dtm.render.port import Renderer
from dtm.render.renderers import Kind, make_renderer
from dtm.render.screen import Screen
from engine.address import Address
from engine.errors import DtmError, UsageError
from engine.events import BackendUsed, Event
from engine.secrets.redaction import Redactor

if TYPE_CHECKING:
    from dtm.app.workspace import Workspace  # heavy


class Context(msgspec.Struct, frozen=True):
    """One invocation of a command: what the user named, and how to show results.

    `redactor` knows the secrets that no text may show.
    """

    request: Invocation
    renderer: Renderer
    redactor: Redactor
    json: bool
    verbose: bool

    def emit(self, event: Event) -> None:
        """Show an event. If the reader of the output has gone, request the stop of the run."""
        try:
            self.renderer.event(event)
        except OSError:
            if not on_reader_gone():
                raise

    def open(self, *, need_config: bool = True, announce: bool = False) -> Workspace:
        """Open the workspace: config, plugins and state.

        Raises what `dtm.app.workspace.open_workspace` raises.
        """
        from dtm.app.workspace import open_workspace

        workspace = open_workspace(self.request, self.emit, self.redactor, need_config=need_config)
        if announce or self.verbose:
            settings = workspace.place.settings
            chosen_by = settings.source if self.verbose else ""
            self.emit(BackendUsed(settings.backend, workspace.place.location, chosen_by))
        return workspace

    def address(self, text: str) -> Address:
        """Parse an address, `a.b` or `a/b`. Raises UsageError."""
        try:
            return Address.parse(text)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def say(self, text: str) -> None:
        """Show one line about a success."""
        self.renderer.notice("success", text)


def lock_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the lock options to a command that takes the lock."""
    no_lock = click.option(
        "--no-lock",
        is_flag=True,
        help="Run without the lock. The state stays safe, but work may be wasted.",
    )
    return no_lock(_lock_wait_options(function))


def optional_lock_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the lock options to a command that takes the lock only with `--lock`."""
    return click.option("--lock", is_flag=True, help="Hold the lock during the command.")(
        _lock_wait_options(function)
    )


def _lock_wait_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--no-takeover", is_flag=True, help="Never take over a lock whose lease has expired."
        ),
        click.option(
            "--lock-timeout",
            default="0",
            show_default=True,
            metavar="DURATION",
            help="Wait this long for the lock, for example 30s or 5m.",
        ),
    ):
        function = option(function)
    return function


new_state_option = click.option("--new-state", is_flag=True, help="Start with a new, empty state.")


def parallelism_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds `--parallelism`; `what` is done in parallel."""
    return click.option(
        "--parallelism",
        default=10,
        show_default=True,
        metavar="N",
        type=click.IntRange(1, 256),
        help=f"Run at most N {what} at once.",
    )


def group(name: str, summary: str) -> click.Group:
    """Return a group that prints its help if it is called without a command."""

    @click.group(name, help=summary, invoke_without_command=True)
    @click.pass_context
    def show_help(ctx: click.Context) -> None:
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())

    return show_help


def run_options(given: Mapping[str, Any]) -> RunOptions:
    """Convert the options of a command to RunOptions."""
    same = ("parallelism", "force", "new_state", "dry_run", "with_dependents", "resolve")
    return RunOptions(
        # Commands that write have --no-lock, commands that read have --lock.
        lock=given.get("lock", not given.get("no_lock")),
        lock_timeout=_seconds(given["lock_timeout"]),
        takeover=not given["no_takeover"],
        refresh=not given.get("no_refresh"),
        **{name: given[name] for name in same if name in given},
    )


def yes_option(*more: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds `-y`, also under the names in `more`."""
    return click.option(
        "-y",
        "--yes",
        "--auto-approve",
        *more,
        "yes",
        is_flag=True,
        help="Approve in advance, without a question.",
    )


def approval(context: Context, yes: bool) -> Approval:
    """Return the source of the approval: `-y`, or the user at the terminal.

    If the user declines, a notice says that nothing was changed.
    """

    def ask(question: ConfirmationPrompt) -> bool:
        from dtm.render import sentences
        from dtm.render.prompt import confirm

        answer = confirm(sys.stdin, sys.stderr, question.text, question.exact_answer)
        if not answer:
            context.renderer.notice("info", sentences.CANCELLED)
        return answer

    # With --json, a question would mix with the lines for programs.
    can_ask = not context.json and sys.stdin.isatty()
    return Approval(yes, ask if can_ask else None)


Body: TypeAlias = Callable[..., int | None]
Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

CONFIG_OPTIONS: list[Decorator] = [
    click.option(
        "-f",
        "--config-file",
        metavar="PATH",
        show_default="config.yaml",
        help="Read the config from this file or directory.",
    ),
    click.option(
        "--var",
        "variables",
        multiple=True,
        metavar="NAME=VALUE",
        help="Set a variable. Overrides every file.",
    ),
    click.option(
        "--var-file",
        "var_files",
        multiple=True,
        metavar="FILE",
        help="Read variables from a file. Overrides vars in the config.",
    ),
]
COMMON_OPTIONS: list[Decorator] = [
    click.option(
        "--state",
        "state_url",
        default="",
        metavar="URL",
        help="Use the state at this URL. Overrides DTM_STATE and the config.",
    ),
    click.option("--chdir", metavar="DIR", help="Change to this directory first."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line."),
    click.option(
        "--no-color", is_flag=True, help="Print without colors, like the variable NO_COLOR."
    ),
    click.option("--debug", is_flag=True, help="Show the tracebacks of errors."),
    click.option(
        "-v", "--verbose", is_flag=True, help="Show long values whole, and debug messages."
    ),
    click.option("-q", "--quiet", is_flag=True, help="Show only results, warnings and errors."),
]


def command(*, config: bool = True) -> Callable[[Body], Callable[..., int]]:
    """Return a decorator that adds the common options to a function.

    The function receives a Context first and returns its exit code (None is 0).
    """

    def wrap(body: Body) -> Callable[..., int]:
        @wraps(body)
        def run(**given: Any) -> int:
            return _run(body, given)

        options: list[Decorator] = [*(CONFIG_OPTIONS if config else []), *COMMON_OPTIONS]
        # click lists first the option that it gets last, so they are applied in reverse order.
        for option in reversed(options):
            option(run)
        return run

    return wrap


def _run(body: Body, given: dict[str, Any]) -> int:
    debug = given.pop("debug")
    # Before any work: from here on a signal raises, so that a held lock is released.
    install_signal_handlers()
    redactor = Redactor()
    renderer, as_json, verbose = _renderer(given, redactor)
    try:
        context = Context(_invocation(given), renderer, redactor, as_json, verbose)
        return body(context, **given) or 0
    except DtmError as error:
        renderer.error(error, debug=debug)
        return error.exit_code
    except KeyboardInterrupt as stop:
        if _on_terminal():
            sys.stderr.write("\n")  # the terminal wrote ^C on the current line
        renderer.notice("warning", f"Interrupted{stop}.")
        return 130
    except Exception as error:  # an internal error: show a message instead of a traceback
        if is_output_error(error):
            raise
        renderer.error(_internal_error(error), debug=debug)
        return 1
    finally:
        renderer.close()


def _on_terminal() -> bool:
    return sys.stderr.isatty() and sys.stdout.isatty()


def _renderer(given: dict[str, Any], redactor: Redactor) -> tuple[Renderer, bool, bool]:
    """Make the renderer that the options ask for. Return also whether JSON and verbose are on."""
    as_json, verbose, quiet = given.pop("as_json"), given.pop("verbose"), given.pop("quiet")
    color = not (given.pop("no_color") or os.environ.get("NO_COLOR"))
    # Both streams must be terminals: a live table in a log file would be unreadable.
    terminal = _on_terminal()
    kind: Kind = "json" if as_json else "rich" if terminal else "plain"
    screen = Screen(
        sys.stdout,
        sys.stderr,
        redactor.redact,
        color=color and terminal,
        verbose=verbose,
        quiet=quiet,
    )
    renderer = with_hint_flags(make_renderer(kind, screen), location_flags(given, os.environ))
    return renderer, as_json, verbose


def _internal_error(error: Exception) -> DtmError:
    internal = DtmError(
        f"internal error: {type(error).__name__}: {error}",
        hint="report this bug of dtm with the output of the same command with --debug",
    )
    internal.__cause__ = error
    return internal


def _invocation(given: dict[str, Any]) -> Invocation:
    # Before any path is resolved: relative paths start at the new directory.
    if chdir := given.pop("chdir"):
        try:
            os.chdir(chdir)
        except OSError as error:
            raise UsageError(f"--chdir {chdir}: {error.strerror}") from error
    cwd = Path.cwd()
    config_file = given.pop("config_file", None)
    return Invocation(
        config_file=cwd / Path(config_file).expanduser() if config_file else None,
        state_url=given.pop("state_url"),
        variables=tuple(_parse_variable(text) for text in given.pop("variables", ())),
        var_files=tuple(cwd / Path(name).expanduser() for name in given.pop("var_files", ())),
        cwd=cwd,
        env=os.environ,
    )


def _parse_variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--var {text}: expected NAME=VALUE")
    return name, value


def _seconds(duration: str) -> float:
    """Return the seconds of `30`, `1.5s`, `5m` or `1h30m`. Raises UsageError."""
    from engine.language.duration import parse_duration

    try:
        return parse_duration(duration)
    except ValueError as error:
        raise UsageError(str(error)) from error
