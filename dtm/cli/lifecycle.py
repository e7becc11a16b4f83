"""The commands `dtm plan`, `apply`, `delete`, `destroy`."""

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
    """Add the options of a command that changes live resources."""
    for option in (
        click.option(
            "--resolve",
            multiple=True,
            metavar="ADDR=HOW",
            help="Resolve an interrupted tool: adopt:ID, retry or forget.",
        ),
        parallelism_option("operations"),
    ):
        function = option(function)
    return lock_options(yes_option()(function))


@click.command()
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there are changes.")
@click.option(
    "--no-refresh",
    is_flag=True,
    help="Compare with the state only, without reading live resources.",
)
@click.option("--destroy", "removal", is_flag=True, help="Show what destroy would do.")
@new_state_option
@parallelism_option("reads")
@optional_lock_options
@command()
def plan(context: Context, detailed_exitcode: bool, removal: bool, **given: Any) -> int:
    """Show what apply would do, and change nothing.

    Without --lock, the state is read without taking the lock.
    """
    from dtm.app.run import Run

    found = Run(context.open(need_config=not removal), run_options(given)).plan(destroy=removal)
    context.renderer.plan(found)
    return 2 if detailed_exitcode and not found.is_empty else 0


@click.command()
@click.option(
    "--force", is_flag=True, help="Approve in advance that many tools are deleted or replaced."
)
@new_state_option
@execution_options
@command()
def apply(context: Context, yes: bool, **given: Any) -> int:
    """Plan, ask for approval, and apply the changes."""
    return _execute(context, "apply", yes, run_options(given))


@click.command()
@click.option(
    "--force",
    is_flag=True,
    help="Also delete tools that are not in the state but are found by identity.",
)
@click.option(
    "--with-dependents",
    is_flag=True,
    help="Also delete tools outside the config that depend on deleted ones.",
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
    """Delete every tool in the state, dependents first.

    It needs no config: name the state with --state URL.
    """
    return _execute(context, "destroy", yes, run_options(given))


def _execute(context: Context, operation: str, yes: bool, chosen: RunOptions) -> int:
    """Plan, ask and apply. The summary of the changes is an event, so it is not returned."""
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
    # Before the state is opened: a run that cannot be approved must not take the lock.
    answer.require_answerable()
    context.emit(RunStarted(operation))
    # A destroy needs only the state, so that it works after the config is lost.
    run = Run(context.open(need_config=operation != "destroy", announce=True), chosen)
    try:
        summary = run.execute(operation, show=show, confirm=confirm)
    except KeyboardInterrupt:
        # The text completes the sentence that `dtm.cli.common` prints.
        raise KeyboardInterrupt(
            ", finished changes are recorded" if run.approved else ", nothing was changed"
        ) from None
    if summary is None or summary.is_complete:
        return 0
    return CancelledError.exit_code if summary.interrupted else 1
