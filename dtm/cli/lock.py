"""`dtm lock`, `dtm force-unlock`."""

from __future__ import annotations

import click

from dtm.app.approval import ConfirmationPrompt
from dtm.cli.common import Context, approval, command, yes_option
from engine.lock import LockRecord


@click.command()
@command()
def lock(context: Context) -> int:
    """Show who holds the lock: exit 0 if nobody does, 3 if somebody does."""
    from dtm.app.locks import read_lock

    record = read_lock(context.open(need_config=False))
    context.renderer.lock(record)
    if record is None:
        return 0
    which = record.info.id if record.info else "--corrupt"
    context.renderer.notice(
        "info", "If nobody works there any more:", hint=f"dtm force-unlock {which}"
    )
    return 3


@click.command("force-unlock")
@click.argument("lock_id", required=False, default="")
@click.option(
    "--corrupt", is_flag=True, help="Break a lock whose record cannot be read and so has no ID."
)
@yes_option("--force")
@command()
def force_unlock(context: Context, lock_id: str, corrupt: bool, yes: bool) -> int:
    """Break a lock by its exact ID, as `dtm lock` shows it.

    Its holder is refused once somebody else has begun.
    """
    from dtm.app.locks import break_lock, record_to_break

    workspace = context.open(need_config=False)
    record = record_to_break(workspace, lock_id, corrupt=corrupt)
    context.renderer.lock(record)
    question = ConfirmationPrompt("Do you really want to break this lock? [y/n]")
    if not approval(context, yes).confirm(question):
        return 0
    break_lock(workspace, record)
    context.say(f"The lock was broken. {_consequence(record)}")
    return 0


def _consequence(record: LockRecord) -> str:
    if record.info and record.info.lease is None:  # only dtm promises to be alive
        return "It was Terraform's or another program's: that is not stopped by this."
    return "Whoever held it is refused at its next write once somebody else has begun."
