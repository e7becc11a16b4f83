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
    """One invocation: what was asked for and how to speak."""

    request: Invocation
    renderer: Renderer
    redactor: Redactor
    json: bool
    verbose: bool

    def emit(self, event: Event) -> None:
        """Show an event; that nobody reads it ends a run as Ctrl-C does."""
        try:
            self.renderer.event(event)
        except OSError:
            if not on_reader_gone():
                raise

    def open(self, *, need_config: bool = True, announce: bool = False) -> Workspace:
        """Find config, plugins and state; with `announce`, report which state is used.

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
        """`a.b` or `a/b`. Raises UsageError."""
        try:
            return Address.parse(text)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def say(self, text: str) -> None:
        """One line about what was done."""
        self.renderer.notice("success", text)


def lock_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that takes the lock its options."""
    no_lock = click.option(
        "--no-lock",
        is_flag=True,
        help="Work without the lock: the state stays safe, work may be wasted.",
    )
    return no_lock(_lock_wait_options(function))


def optional_lock_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that takes the lock where asked its options."""
    return click.option("--lock", is_flag=True, help="Hold the lock meanwhile.")(
        _lock_wait_options(function)
    )


def _lock_wait_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--no-takeover", is_flag=True, help="Never take over a lock whose holder looks dead."
        ),
        click.option(
            "--lock-timeout",
            default="0",
            metavar="DUR",
            help="How long to wait for the lock.  [default: 0]",
        ),
    ):
        function = option(function)
    return function


new_state_option = click.option(
    "--new-state", is_flag=True, help="Say that an empty state is meant."
)


def parallelism_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command `--parallelism`; `what` it does at once."""
    return click.option(
        "--parallelism",
        default=10,
        metavar="N",
        type=click.IntRange(1, 256),
        help=f"{what} at once.  [default: 10]",
    )


def group(name: str, summary: str) -> click.Group:
    """Make a group that prints its help when it is called without a command."""

    @click.group(name, help=summary, invoke_without_command=True)
    @click.pass_context
    def show_help(ctx: click.Context) -> None:
        if ctx.invoked_subcommand is None:
            click.echo(ctx.get_help())

    return show_help


def run_options(given: Mapping[str, Any]) -> RunOptions:
    """Turn the options of a command into choices."""
    same = ("parallelism", "force", "new_state", "dry_run", "with_dependents", "resolve")
    return RunOptions(
        lock=given.get("lock", not given.get("no_lock")),
        lock_timeout=parse_duration(given["lock_timeout"]),
        takeover=not given["no_takeover"],
        refresh=not given.get("no_refresh"),
        **{name: given[name] for name in same if name in given},
    )


def yes_option(*more: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command `-y`."""
    return click.option(
        "-y",
        "--yes",
        "--auto-approve",
        *more,
        "yes",
        is_flag=True,
        help="Answer the question with yes.",
    )


def approval(context: Context, yes: bool) -> Approval:
    """Answer with `-y`, else by the person at the terminal, who is told if nothing is done."""

    def ask(question: ConfirmationPrompt) -> bool:
        from dtm.render import sentences
        from dtm.render.prompt import confirm

        answer = confirm(sys.stdin, sys.stderr, question.text, question.exact_answer)
        if not answer:
            context.renderer.notice("info", sentences.CANCELLED)
        return answer

    can_ask = not context.json and sys.stdin.isatty()
    return Approval(yes, ask if can_ask else None)


Body: TypeAlias = Callable[..., int | None]
Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

CONFIG_OPTIONS: list[Decorator] = [
    click.option(
        "-f",
        "--config-file",
        metavar="PATH",
        help="A config file or a directory of them.  [default: config.yaml]",
    ),
    click.option(
        "--var",
        "variables",
        multiple=True,
        metavar="NAME=VALUE",
        help="Set a variable; wins over all files.",
    ),
    click.option(
        "--var-file",
        "var_files",
        multiple=True,
        metavar="FILE",
        help="A file of variables; wins over vars.",
    ),
]
COMMON_OPTIONS: list[Decorator] = [
    click.option(
        "--state",
        "state_url",
        default="",
        metavar="URL",
        help="Where the state is; wins over DTM_STATE and config.",
    ),
    click.option("--chdir", metavar="DIR", help="Change to this directory first."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object a line."),
    click.option("--no-color", is_flag=True, help="No colours; NO_COLOR does the same."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
    click.option("-v", "--verbose", is_flag=True, help="Say more."),
    click.option(
        "-q", "--quiet", is_flag=True, help="Say only what was asked for and what went wrong."
    ),
]


def command(*, config: bool = True) -> Callable[[Body], Callable[..., int]]:
    """Give a function the common options.

    It receives a Context first and returns its exit code (None is 0).
    """

    def wrap(body: Body) -> Callable[..., int]:
        @wraps(body)
        def run(**given: Any) -> int:
            return _run(body, given)

        options: list[Decorator] = [*(CONFIG_OPTIONS if config else []), *COMMON_OPTIONS]
        # click shows the option first that was applied last.
        for option in reversed(options):
            option(run)
        return run

    return wrap


def _run(body: Body, given: dict[str, Any]) -> int:
    debug = given.pop("debug")
    # Before any work: from here on a signal releases the lock on its way out.
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
            sys.stderr.write("\n")  # the terminal wrote ^C on this line
        renderer.notice("warning", f"Interrupted{stop}.")
        return 130
    except Exception as error:  # the last resort: a person gets a sentence, not a traceback
        if is_output_error(error):
            raise
        renderer.error(_internal_error(error), debug=debug)
        return 1
    finally:
        renderer.close()


def _on_terminal() -> bool:
    return sys.stderr.isatty() and sys.stdout.isatty()


def _renderer(given: dict[str, Any], redactor: Redactor) -> tuple[Renderer, bool, bool]:
    """Make the renderer that the options ask for; tells whether it writes JSON, and is verbose."""
    as_json, verbose, quiet = given.pop("as_json"), given.pop("verbose"), given.pop("quiet")
    color = not (given.pop("no_color") or os.environ.get("NO_COLOR"))
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
    told = DtmError(
        f"internal error: {type(error).__name__}: {error}",
        hint="this is a bug in dtm; run again with --debug and report what it prints",
    )
    told.__cause__ = error
    return told


def _invocation(given: dict[str, Any]) -> Invocation:
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


def parse_duration(text: str) -> float:
    """Seconds from `30`, `1.5s`, `5m`, `1h30m`. Raises UsageError."""
    from engine.language.duration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(str(error)) from error
