"""The commands `dtm lock` and `dtm force-unlock`."""

from __future__ import annotations

import click

from dtm.app.approval import ConfirmationPrompt
from dtm.cli.common import Context, approval, command, yes_option
from engine.lock import LockRecord


@click.command()
@command()
def lock(context: Context) -> int:
    """Show who holds the lock.

    Exits with 0 if the lock is free, 3 if it is held.
    """
    from dtm.app.locks import read_lock

    record = read_lock(context.open(need_config=False))
    context.renderer.lock(record)
    if record is None:
        return 0
    # A damaged record has no ID, so only --corrupt can break such a lock.
    which = record.info.id if record.info else "--corrupt"
    context.renderer.notice(
        "info",
        "If no run is working on this state any more, break the lock:",
        hint=f"dtm force-unlock {which}",
    )
    return 3


@click.command("force-unlock")
@click.argument("lock_id", required=False, default="")
@click.option(
    "--corrupt", is_flag=True, help="Break a lock whose record is damaged and so has no ID."
)
@yes_option("--force")
@command()
def force_unlock(context: Context, lock_id: str, corrupt: bool, yes: bool) -> int:
    """Break the lock with the ID that dtm lock shows.

    As soon as another run starts, the writes of the previous holder are refused.
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
    """Return what the break means for the previous holder."""
    if record.info and record.info.lease is None:  # only dtm writes a lease
        return "Its holder is Terraform or another program, which dtm cannot stop."
    return "As soon as another run starts, the writes of its previous holder are refused."
