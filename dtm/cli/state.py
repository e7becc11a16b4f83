"""`dtm state list, show, pull, push, mv, rm, history, diff, rollback, recover, move-log, probe`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dtm.app.invocation import RunOptions
from dtm.cli.common import Context, command, group, lock_options, run_options
from dtm.render.text import count
from engine.errors import UsageError

dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, write nothing.")


def write_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that writes the state its options."""
    return lock_options(dry_run(function))


state = group("state", "Inspect and mend the state.")


@state.command("list")
@command()
def list_entries(context: Context) -> None:
    """List what the state remembers."""
    from dtm.app.sessions import read_and_warn

    found = read_and_warn(context.open(need_config=False))
    rows = [
        {
            "tool": str(address),
            "id": (entry.resource and entry.resource.id) or None,
            "unfinished": _unfinished(entry, found),
        }
        for address, entry in sorted(found.state.entries.items())
    ]
    context.renderer.table(rows)
    if not rows:
        told = "remembers nothing" if found.exists else "is not there yet"
        context.renderer.notice("info", f"The state at {found.location} {told}.")


def _unfinished(entry: Any, found: Any) -> str | None:
    from dtm.render.sentences import in_progress

    action = entry.pending and entry.pending.action
    return in_progress(action, found.in_progress) if found.is_busy(entry) else action


@state.command()
@click.argument("address")
@click.option("--serial", type=int, metavar="N", help="As it was then.")
@command()
def show(context: Context, address: str, serial: int | None) -> None:
    """Show one entry whole."""
    from dtm.app.comparison import entry_as_map
    from dtm.app.states import entry_of, state_at

    found = state_at(context.open(need_config=False), serial)
    context.renderer.document(
        entry_as_map(entry_of(found, context.address(address))), title=address
    )


@state.command()
@click.option(
    "-o",
    "form",
    type=click.Choice(["json", "yaml", "devstream"]),
    default="json",
    help="Format.  [default: json]",
)
@command()
def pull(context: Context, form: str) -> None:
    """Print the state."""
    from dtm.app.states import current_state, format_state

    text = format_state(current_state(context.open(need_config=False)), form)
    if context.json:
        context.renderer.data(text, json.loads(text) if form == "json" else None)
    else:
        sys.stdout.write(text)


@state.command()
@click.argument("file", metavar="FILE|-")
@click.option("--force", is_flag=True, help="Push what is no successor of the present state.")
@click.option("--adopt", is_flag=True, help="Make this place the home of a copy.")
@write_options
@command()
def push(context: Context, file: str, adopt: bool, **given: Any) -> None:
    """Make a document the state, if it succeeds the present one."""
    from dtm.app.states import push as use

    try:
        # Bytes, not text: the locale must not decide how the document is decoded.
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    chosen = run_options(given)
    workspace = context.open(need_config=False)
    pushed = use(workspace, chosen, data, adopt=adopt)
    if pushed is None:
        context.say("Nothing to do: the pushed document is the state.")
        return
    overridden = f" Overridden: {pushed.overridden}." if pushed.overridden else ""
    context.say(
        f"{'Would push' if chosen.dry_run else 'Pushed'} serial {pushed.serial}, "
        f"{count(pushed.tools, 'tool')} to {pushed.location}.{overridden}"
    )


@state.command()
@click.argument("old")
@click.argument("new")
@write_options
@command()
def mv(context: Context, old: str, new: str, **given: Any) -> None:
    """Give an entry another address."""
    from dtm.app.states import move_entry

    before, after, chosen = context.address(old), context.address(new), run_options(given)
    workspace = context.open(need_config=False)
    move_entry(workspace, chosen, before, after)
    context.say(f"{'Would move' if chosen.dry_run else 'Moved'} {before} to {after}.")


@state.command()
@click.argument("addresses", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Cut the edges of what depends on them.")
@write_options
@command()
def rm(context: Context, addresses: tuple[str, ...], **given: Any) -> None:
    """Forget entries; what they stand for is not touched."""
    from dtm.app.states import remove_entries

    gone = [context.address(text) for text in addresses]
    chosen = run_options(given)
    remove_entries(context.open(need_config=False), chosen, gone)
    context.say(
        f"{'Would forget' if chosen.dry_run else 'Forgot'} {', '.join(map(str, gone))}. "
        "What it stands for was not touched."
    )


def _without_fraction(at: str) -> str | None:
    """An RFC 3339 time to the second; None where DevStream wrote none."""
    return re.sub(r"\.\d+", "", at) or None


@state.command()
@command()
def history(context: Context) -> None:
    """List the states that were, newest first."""
    from dtm.app.states import list_history

    rows = [
        {
            "serial": found.number,
            "written": _without_fraction(found.state.writer.at) if found.state else None,
            "by": (found.state and found.state.writer.who) or None,
            "command": (found.state and found.state.writer.command) or None,
            "tools": len(found.state.entries) if found.state else None,
            "now": "now" if found.now else None if found.state else "damaged",
        }
        for found in list_history(context.open(need_config=False))
    ]
    context.renderer.table(rows)


@state.command(short_help="Show how two serials differ.")
@click.argument("old", type=int)
@click.argument("new", type=int, required=False)
@command()
def diff(context: Context, old: int, new: int | None) -> None:
    """Show how two serials differ; without NEW, how the present one does."""
    from dtm.app.comparison import compare_states
    from dtm.app.states import state_at

    workspace = context.open(need_config=False)
    context.renderer.differences(compare_states(state_at(workspace, old), state_at(workspace, new)))


@state.command(short_help="Write a new serial with an earlier one's tools.")
@click.argument("serial", type=int)
@write_options
@command()
def rollback(context: Context, serial: int, **given: Any) -> None:
    """Write a new serial with an earlier one's tools, then show the plan that follows."""
    from dtm.app.run import Run
    from dtm.app.states import rollback as use

    workspace, chosen = context.open(need_config=False), run_options(given)
    written, old = use(workspace, chosen, serial)
    context.say(
        f"{'Would write' if chosen.dry_run else 'Wrote'} serial {written} "
        f"with the {count(len(old.entries), 'tool')} of serial {serial}. "
        "The world was not touched; dtm plan shows what would follow."
    )
    if workspace.config is not None and not chosen.dry_run:
        # Without the lock: the rollback is done, and the plan is only shown.
        context.renderer.plan(Run(workspace, RunOptions(lock=False)).plan())


@state.command(short_help="Enter the outcomes of a rescue file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@write_options
@command()
def recover(context: Context, file: str, **given: Any) -> None:
    """Enter the outcomes of a rescue file where the state still waits for them.

    Twice is harmless.
    """
    from dtm.app.states import recover as use

    workspace, chosen = context.open(need_config=False), run_options(given)
    for address in use(workspace, chosen, Path(file)):
        context.say(f"{'Would recover' if chosen.dry_run else 'Recovered'} {address}")


@state.command("move-log", short_help="Move the commit log into the state file or beside it.")
@click.argument("place", type=click.Choice(["inline", "beside"]))
@write_options
@command()
def move_log(context: Context, place: str, **given: Any) -> None:
    """Move the commit log into the state file (inline) or beside it, once.

    Later runs keep it there.
    """
    from dtm.app.states import move_log as use

    workspace, chosen = context.open(need_config=False), run_options(given)
    where = f"{place}, at {workspace.place.location}"
    if not use(workspace, chosen, place):
        context.say(f"Nothing to do: the commit log is {where}.")
        return
    moved = f"{'Would move' if chosen.dry_run else 'Moved'} the commit log: it is {where}."
    asked = workspace.place.settings.log
    if asked not in ("auto", place):
        moved += f" Set state.log: {place}, since runs with state.log: {asked} are refused."
    context.say(moved)


@state.command()
@command()
def probe(context: Context) -> None:
    """Try what the store guarantees."""
    from dtm.app.locks import probe_place, probe_rows

    verdict = probe_place(context.open(need_config=False).place)
    if not verdict.trials:
        context.renderer.notice(
            "info",
            f"Nothing was tried: no state is at {verdict.location} yet, or a run is at work on it.",
        )
    context.renderer.table(probe_rows(verdict))
    if refusal := verdict.refusal(lock_native=False):
        raise refusal
