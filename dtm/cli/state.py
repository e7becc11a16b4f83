"""The commands `dtm state list`, `show`, `pull`, `push`, `mv`, `rm`, `history` and others."""

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

dry_run = click.option("--dry-run", is_flag=True, help="Show what would be done, without writing.")


def write_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a command that writes the state."""
    return lock_options(dry_run(function))


state = group("state", "Inspect and repair the state.")


@state.command("list")
@command()
def list_entries(context: Context) -> None:
    """List the tools in the state."""
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
        condition = "is empty" if found.exists else "does not exist yet"
        context.renderer.notice("info", f"The state at {found.location} {condition}.")


def _unfinished(entry: Any, found: Any) -> str | None:
    from dtm.render.sentences import in_progress

    action = entry.pending and entry.pending.action
    return in_progress(action, found.in_progress) if found.is_busy(entry) else action


@state.command()
@click.argument("address")
@click.option(
    "--serial", type=int, metavar="N", help="Show the entry in this serial of the history."
)
@command()
def show(context: Context, address: str, serial: int | None) -> None:
    """Show one entry of the state."""
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
    show_default=True,
    help="Print the state in this format.",
)
@command()
def pull(context: Context, form: str) -> None:
    """Print the state."""
    from dtm.app.states import current_state, format_state

    text = format_state(current_state(context.open(need_config=False)), form)
    if context.json:
        context.renderer.data(text, json.loads(text) if form == "json" else None)
    else:
        # Bypasses the renderer: a redacted copy of the state could not be pushed back.
        sys.stdout.write(text)


@state.command()
@click.argument("file", metavar="FILE|-")
@click.option("--force", is_flag=True, help="Push despite another lineage or a lower serial.")
@click.option("--adopt", is_flag=True, help="Make this location the home of the pushed copy.")
@write_options
@command()
def push(context: Context, file: str, adopt: bool, **given: Any) -> None:
    """Replace the state with FILE (same lineage, higher serial)."""
    from dtm.app.states import push as use

    try:
        # Bytes, not text: the locale must not decide how the file is decoded.
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    chosen = run_options(given)
    workspace = context.open(need_config=False)
    pushed = use(workspace, chosen, data, adopt=adopt)
    if pushed is None:
        context.say("Nothing to do: the pushed file equals the state.")
        return
    overridden = f" Overridden with --force: {pushed.overridden}." if pushed.overridden else ""
    context.say(
        f"{'Would push' if chosen.dry_run else 'Pushed'} serial {pushed.serial} "
        f"with {count(pushed.tools, 'tool')} to {pushed.location}.{overridden}"
    )


@state.command()
@click.argument("old")
@click.argument("new")
@write_options
@command()
def mv(context: Context, old: str, new: str, **given: Any) -> None:
    """Change the address of an entry."""
    from dtm.app.states import move_entry

    before, after, chosen = context.address(old), context.address(new), run_options(given)
    workspace = context.open(need_config=False)
    move_entry(workspace, chosen, before, after)
    context.say(f"{'Would move' if chosen.dry_run else 'Moved'} {before} to {after}.")


@state.command()
@click.argument("addresses", nargs=-1, required=True)
@click.option(
    "--force",
    is_flag=True,
    help="Remove entries that others depend on, and remove these dependencies.",
)
@write_options
@command()
def rm(context: Context, addresses: tuple[str, ...], **given: Any) -> None:
    """Remove entries without touching their resources."""
    from dtm.app.states import remove_entries

    gone = [context.address(text) for text in addresses]
    chosen = run_options(given)
    remove_entries(context.open(need_config=False), chosen, gone)
    context.say(
        f"{'Would remove' if chosen.dry_run else 'Removed'} {', '.join(map(str, gone))} "
        "from the state. No live resource was touched."
    )


def _without_fraction(at: str) -> str | None:
    """Return an RFC 3339 time to the second, None for the empty time of a DevStream state."""
    return re.sub(r"\.\d+", "", at) or None


@state.command()
@command()
def history(context: Context) -> None:
    """List the current state, then the history, highest serial first."""
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


@state.command()
@click.argument("old", type=int)
@click.argument("new", type=int, required=False)
@command()
def diff(context: Context, old: int, new: int | None) -> None:
    """Show the differences between two serials.

    Without NEW, OLD is compared with the current state.
    """
    from dtm.app.comparison import compare_states
    from dtm.app.states import state_at

    workspace = context.open(need_config=False)
    context.renderer.differences(compare_states(state_at(workspace, old), state_at(workspace, new)))


@state.command()
@click.argument("serial", type=int)
@write_options
@command()
def rollback(context: Context, serial: int, **given: Any) -> None:
    """Restore the tools and outputs of an earlier serial.

    They are written as a new serial. No resource is touched; the plan that follows is shown.
    """
    from dtm.app.run import Run
    from dtm.app.states import rollback as use

    workspace, chosen = context.open(need_config=False), run_options(given)
    written, old = use(workspace, chosen, serial)
    shows_plan = workspace.config is not None and not chosen.dry_run
    context.say(
        f"{'Would write' if chosen.dry_run else 'Wrote'} serial {written} "
        f"with the {count(len(old.entries), 'tool')} of serial {serial}. "
        "No live resource was touched."
        + ("" if shows_plan or chosen.dry_run else " Run dtm plan to see the next changes.")
    )
    if shows_plan:
        # The rollback is complete, and the plan is only shown, so it needs no lock.
        context.renderer.plan(Run(workspace, RunOptions(lock=False)).plan())


@state.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@write_options
@command()
def recover(context: Context, file: str, **given: Any) -> None:
    """Apply the results saved in a rescue file. Safe to repeat."""
    from dtm.app.states import recover as use

    workspace, chosen = context.open(need_config=False), run_options(given)
    for address in use(workspace, chosen, Path(file)):
        context.say(f"{'Would recover' if chosen.dry_run else 'Recovered'} {address}")


@state.command("move-log")
@click.argument("place", type=click.Choice(["inline", "beside"]))
@write_options
@command()
def move_log(context: Context, place: str, **given: Any) -> None:
    """Move the commit log into the state file or next to it.

    With inline it becomes a part of the state file, with beside an object next to it. Later runs
    keep it there.
    """
    from dtm.app.states import move_log as use

    workspace, chosen = context.open(need_config=False), run_options(given)
    state_file = f"the state file at {workspace.place.location}"
    inside = place == "inline"
    if not use(workspace, chosen, place):
        where = "inside" if inside else "next to"
        context.say(f"Nothing to do: the commit log is already {where} {state_file}.")
        return
    target = f"{'into' if inside else 'next to'} {state_file}"
    moved = f"{'Would move' if chosen.dry_run else 'Moved'} the commit log {target}."
    asked = workspace.place.settings.log
    if asked not in ("auto", place):
        moved += f" Set state.log: {place}, because runs with state.log: {asked} are refused."
    context.say(moved)


@state.command()
@command()
def probe(context: Context) -> None:
    """Test what the store guarantees."""
    from dtm.app.locks import probe_place, probe_rows

    verdict = probe_place(context.open(need_config=False).place)
    if not verdict.trials:
        context.renderer.notice(
            "info",
            f"Nothing was tested: there is no state at {verdict.location} yet, "
            "or a run is working on it.",
        )
    context.renderer.table(probe_rows(verdict))
    if refusal := verdict.refusal(lock_native=False):
        raise refusal
