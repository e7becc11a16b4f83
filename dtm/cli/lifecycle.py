"""`dtm plan`, `apply`, `delete`, `destroy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from dtm.app.approval import ConfirmationPrompt
from dtm.app.invocation import RunOptions
from dtm.cli.common import (
    Context,
    approval,
    command,
    lock_options,
    new_state_option,
    optional_lock_options,
    parallelism_option,
    run_options,
    yes_option,
)
from engine.errors import CancelledError
from engine.events import RunStarted
from engine.plan import Plan


def execution_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the executor's options."""
    for option in (
        click.option(
            "--resolve",
            multiple=True,
            metavar="ADDR=WHAT",
            help="What became of an interrupted tool that cannot be found again: "
            "adopt:ID, retry or forget.",
        ),
        parallelism_option("Operations"),
    ):
        function = option(function)
    return lock_options(yes_option()(function))


@click.command()
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 if there are changes.")
@click.option("--no-refresh", is_flag=True, help="Compare with the state alone, ask no provider.")
@click.option("--destroy", "removal", is_flag=True, help="Show what destroy would do.")
@new_state_option
@parallelism_option("Reads")
@optional_lock_options
@command()
def plan(context: Context, detailed_exitcode: bool, removal: bool, **given: Any) -> int:
    """Show what apply would do. Nothing is changed and, without --lock, nothing is locked."""
    from dtm.app.run import Run

    found = Run(context.open(need_config=not removal), run_options(given)).plan(destroy=removal)
    context.renderer.plan(found)
    return 2 if detailed_exitcode and not found.is_empty else 0


@click.command()
@click.option("--force", is_flag=True, help="Answer the question about large deletions too.")
@new_state_option
@execution_options
@command()
def apply(context: Context, yes: bool, **given: Any) -> int:
    """Plan, ask, and make the world what the config says."""
    return _execute(context, "apply", yes, run_options(given))


@click.command()
@click.option(
    "--force",
    is_flag=True,
    help="Look tools that are not in the state up by identity, and delete what is found.",
)
@click.option(
    "--with-dependents",
    is_flag=True,
    help="Also delete tools outside the config that depend on them.",
)
@new_state_option
@execution_options
@command()
def delete(context: Context, yes: bool, **given: Any) -> int:
    """Delete the config's tools that are in the state, dependents first."""
    return _execute(context, "delete", yes, run_options(given))


@click.command()
@new_state_option
@execution_options
@command()
def destroy(context: Context, yes: bool, **given: Any) -> int:
    """Delete everything that the state remembers, dependents first.

    A state alone suffices: --state URL.
    """
    return _execute(context, "destroy", yes, run_options(given))


def _execute(context: Context, operation: str, yes: bool, chosen: RunOptions) -> int:
    """Plan, ask, do; the summary of what was done is an event."""
    from dtm.app.run import Run
    from dtm.render import sentences
    from dtm.render.prompt import CONTINUE

    def show(found: Plan) -> None:
        nothing = sentences.NOTHING_TO_DELETE if operation == "delete" else ""
        context.renderer.plan(found, nothing=nothing)

    def confirm(lost: int) -> bool:
        return answer.confirm(
            ConfirmationPrompt(*sentences.large_loss(lost))
            if lost
            else ConfirmationPrompt(CONTINUE)
        )

    answer = approval(context, yes)
    # Before the state is opened: a run that nobody can approve should not take the lock.
    answer.require_answerable()
    context.emit(RunStarted(operation))
    run = Run(context.open(need_config=operation != "destroy", announce=True), chosen)
    try:
        summary = run.execute(operation, show=show, confirm=confirm)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            ", what was done is recorded" if run.approved else ", nothing was changed"
        ) from None
    if summary is None or summary.is_complete:
        return 0
    return CancelledError.exit_code if summary.interrupted else 1
