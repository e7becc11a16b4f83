"""`dtm init`, `validate`, `verify`, `drift`, `output`, `graph`."""

from __future__ import annotations

from typing import Any

import click

from dtm.app.choices import Choices
from dtm.app.graph_export import FORMS, Form
from dtm.cli.common import (
    Context,
    agreed,
    choices,
    command,
    lockable,
    new_state_option,
    parallelism,
    yes_option,
)
from dtm.render.text import count
from engine.errors import (
    ConfigError,
    DtmError,
    LockError,
    PlanError,
    PluginError,
    StateError,
    StoreAccessError,
    StoreError,
    UsageError,
)


@click.command(short_help="Check config, plugins and state.")
@click.option(
    "--create",
    is_flag=True,
    help="Make what the state needs (bucket, table, namespace) after asking, print who needs what.",
)
@yes_option()
@command()
def init(context: Context, create: bool, yes: bool) -> None:
    """Check config, plugins and state. Never required: apply does silently what this would."""
    from dtm.app import locks
    from dtm.app.sessions import look

    workspace = context.open()
    names = sorted({tool.address.name for tool in workspace.config.tools})
    for name in names:
        workspace.providers[name]
    context.renderer.notice(
        "info",
        f"Config: {count(len(workspace.config.tools), 'tool')}, plugins {', '.join(names) or 'none'}.",
    )
    if create and not _created(context, workspace, yes):
        return
    found = look(workspace, context.emit)
    what = (
        f"serial {found.state.id.serial}, {count(len(found.state.entries), 'tool')}"
        if found.exists
        else "empty"
    )
    context.renderer.notice("info", f"State: {found.location}, {what}.")
    lock = locks.chosen(workspace.place, probing=True)
    told = f"{lock.kind}, lease {lock.lease:g} s" if lock.locker else f"none, {lock.why}"
    context.renderer.notice("info" if lock.locker else "warning", f"Lock: {told}.", hint=lock.hint)
    if lock.locker:
        lock.locker.read(
            workspace.place.key
        )  # a table that is missing or closed is found here, not by the first apply
    _tried(context, workspace.place, lock.probe)
    context.say("Initialize finished.")


def _tried(context: Context, place: Any, known: Any) -> None:
    """Say what the store guarantees: as recorded if all is, else tried now. Raises StoreError where it is unfit."""
    from dtm.app import locks

    try:
        verdict = known if known and known.native else locks.try_out(place, racing=False)
    except StoreAccessError as error:
        context.renderer.notice(
            "warning", f"Store: it could not be tried: {error.message}", hint=error.hint
        )
        return
    for row in locks.rows(verdict):
        context.renderer.notice("info", f"Store: {row['what']}: {row['result']}")
    if refusal := verdict.refusal(lock_native=False):
        raise refusal


def _created(context: Context, workspace: Any, yes: bool) -> bool:
    """Make what is missing; False if the answer was no."""
    from dtm.app.place import creating

    place = workspace.place
    found = creating(place, workspace.base_dir)
    if found is None:
        context.renderer.notice("info", f"Nothing has to be made for a state at {place.location}.")
        return True
    missing = found.missing()
    for sentence in missing:
        context.renderer.notice("info", f"Missing: {sentence}.")
    if missing:
        if not agreed(context, yes, "Make it? [y/n]"):
            return False
        for made in found.create():
            context.say(f"Made {made}.")
    context.renderer.notice("info", "Whoever applies needs these permissions:")
    context.renderer.data(found.policy())
    return True


@click.command(short_help="Check the config alone.")
@command()
def validate(context: Context) -> None:
    """Check the config alone: every problem at once, no state, no provider asked."""
    from dtm.app import identities
    from dtm.app.workspace import load_config
    from dtm.plugins import catalog, providers

    config = load_config(context.request, catalog())
    identities.check(config, providers())
    for warning in config.warnings:
        context.renderer.notice("warning", warning)
    context.say(f"The config is valid: {count(len(config.tools), 'tool')}.")


@click.command(short_help="Say whether config, state and world agree.")
@click.option("--strict", is_flag=True, help="Exit 1 if they do not agree.")
@new_state_option
@parallelism("Reads")
@lockable
@command()
def verify(context: Context, strict: bool, lock: bool, new_state: bool, **given: Any) -> int:
    """Say whether config, plugins, state and world agree. Exits 0 whatever it finds, unless --strict."""
    from dtm.render import sentences

    context.renderer.notice("info", sentences.started("verify"))
    try:
        agree = _agree(context, lock, choices({**given, "lock": lock}, new_state=new_state))
    except LockError:
        raise
    except ConfigError as error:
        context.renderer.error(error)
        context.renderer.notice("error", "verify failed, error: there is no valid config.")
        agree = False
    except PluginError as error:
        context.renderer.error(error)
        context.renderer.notice("info", 'Maybe you forgot to run "dtm init" first?')
        agree = False
    except (StateError, StoreError) as error:
        context.renderer.error(error)
        context.renderer.notice("error", "Something is wrong with the state.")
        agree = False
    except UsageError:
        raise
    except DtmError as error:
        context.renderer.error(error)
        context.renderer.notice("error", "Get changes failed.")
        agree = False
    if agree:
        context.say(sentences.VERIFIED)
    else:
        context.renderer.notice("info", sentences.finished("verify"))
    return 1 if strict and not agree else 0


def _agree(context: Context, lock: bool, chosen: Choices) -> bool:
    from dtm.app.run import Run

    found = Run(context.open(), chosen, context.emit, context.redactor).plan(lock=lock)
    if not found.empty:
        context.renderer.plan(found, operation="verify")
    return bool(found.empty)


@click.command(short_help="Show what changed outside dtm.")
@new_state_option
@parallelism("Reads")
@lockable
@command()
def drift(context: Context, lock: bool, new_state: bool, **given: Any) -> int:
    """Show what changed outside dtm: exit 0 if nothing did, 2 if something did, 1 if that cannot be told."""
    from dtm.app.run import Run

    workspace = context.open(need_config=False)
    chosen = choices({**given, "lock": lock}, new_state=new_state)
    found = Run(workspace, chosen, context.emit, context.redactor).drift(lock=lock)
    nothing = (
        "Of what could be read, nothing changed outside dtm."
        if found.unread
        else "Nothing changed outside dtm."
    )
    context.renderer.plan(found.plan, operation="drift", nothing=nothing)
    if found.unread:
        raise PlanError(found.unread)
    return 0 if found.plan.empty else 2


@click.command(short_help="Print the outputs.")
@click.argument("name", required=False)
@command()
def output(context: Context, name: str | None) -> None:
    """Print the config's outputs as they were after the last apply; with NAME, that one alone."""
    from dtm.app.states import present

    outputs = present(context.open(need_config=False), context.emit).outputs
    if name is None:
        context.renderer.outputs(outputs)
        if not outputs:
            context.renderer.notice("info", "There are no outputs.")
        return
    if name not in outputs:
        from engine.suggestions import nearest

        raise UsageError(
            f'there is no output "{name}"',
            hint=nearest(name, sorted(outputs)) or "dtm output shows all there are",
        )
    context.renderer.value(outputs[name])


@click.command(short_help="Print the dependency graph.")
@click.option(
    "-o",
    "form",
    type=click.Choice(FORMS),
    default="dot",
    help="Format.  [default: dot]",
)
@command()
def graph(context: Context, form: Form) -> None:
    """Print the dependency graph of the config, written and implied edges alike."""
    from dtm.app.graph_export import export
    from dtm.app.workspace import load_config
    from dtm.plugins import catalog

    config = load_config(context.request, catalog())
    context.renderer.data(export({tool.address: tool.depends_on for tool in config.tools}, form))
