"""The commands `dtm init`, `validate`, `verify`, `drift`, `output`, `graph`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dtm.app.approval import ConfirmationPrompt
from dtm.app.graph_export import GRAPH_FORMATS, GraphFormat
from dtm.cli.common import (
    Context,
    approval,
    command,
    new_state_option,
    optional_lock_options,
    parallelism_option,
    run_options,
    yes_option,
)
from dtm.render.text import Level, count
from engine.errors import (
    ConfigError,
    DtmError,
    PlanError,
    PluginError,
    StateError,
    StoreError,
)

if TYPE_CHECKING:
    from dtm.app.initialize import CreationStep, InitStep, ProbeSkipped
    from engine.log.probe import Probe
    from engine.session.reading import Reading


@click.command()
@click.option(
    "--create",
    is_flag=True,
    help="Create what the state needs (asks first), and print the permissions.",
)
@yes_option()
@command()
def init(context: Context, create: bool, yes: bool) -> None:
    """Check config, plugins, state, lock and store.

    Running it is optional: apply makes the same checks.
    """
    from dtm.app.initialize import initialize

    def confirm() -> bool:
        return approval(context, yes).confirm(ConfirmationPrompt("Create it? [y/n]"))

    for step in initialize(context.open(), confirm=confirm if create else None):
        _show_step(context, step)


def _show_step(context: Context, step: InitStep) -> None:
    from dtm.app import initialize as steps
    from dtm.app.locks import LockChoice
    from engine.session.reading import Reading

    notice = context.renderer.notice
    match step:
        case steps.ConfigRead():
            plugins = ", ".join(step.plugins) or "none"
            notice("info", f"Config: {count(step.tools, 'tool')}, plugins {plugins}.")
        case steps.CreationStep():
            _show_creation(context, step)
        case Reading():
            notice("info", f"State: {step.location}, {_describe_state(step)}.")
        case LockChoice():
            text = f"{step.kind}, lease {step.lease:g} s" if step.locker else f"none, {step.why}"
            notice("info" if step.locker else "warning", f"Lock: {text}.", hint=step.hint)
        case steps.InitFinished():
            context.say("Initialize finished.")
        case _:
            _show_store(context, step)


def _show_creation(context: Context, step: CreationStep) -> None:
    match step.kind:
        case "nothing":
            text = f"Nothing has to be created for a state at {step.text}."
            context.renderer.notice("info", text)
        case "missing":
            context.renderer.notice("info", f"Missing: {step.text}.")
        case "created":
            context.say(f"Created {step.text}.")
        case "permissions":
            context.renderer.notice("info", "A user who runs apply needs these permissions:")
            context.renderer.data(step.text)


def _show_store(context: Context, step: ProbeSkipped | Probe) -> None:
    from dtm.app.initialize import ProbeSkipped
    from dtm.app.locks import probe_rows

    if isinstance(step, ProbeSkipped):
        text = f"Store: could not be tested: {step.message}"
        context.renderer.notice("warning", text, hint=step.hint)
        return
    for row in probe_rows(step):
        context.renderer.notice("info", f"Store: {row['what']} ({row['result']})")


def _describe_state(found: Reading) -> str:
    if not found.exists:
        return "does not exist yet"
    state = found.state
    return f"serial {state.id.serial}, {count(len(state.entries), 'tool')}"


@click.command()
@command()
def validate(context: Context) -> None:
    """Check the config and list every problem.

    It reads no state and asks no provider.
    """
    from dtm.app.workspace import load_checked_config

    config = load_checked_config(context.request)
    for warning in config.warnings:
        context.renderer.notice("warning", warning)
    context.say(f"The config is valid: {count(len(config.tools), 'tool')}.")


@click.command()
@click.option("--strict", is_flag=True, help="Exit with 1 if they do not agree.")
@new_state_option
@parallelism_option("reads")
@optional_lock_options
@command()
def verify(context: Context, strict: bool, **given: Any) -> int:
    """Check whether config, plugins, state and live resources agree.

    Exits with 0 whatever it finds, unless --strict is given.
    """
    from dtm.app.verify import verify as use
    from dtm.render import sentences

    # `verify` opens the workspace itself, so that a broken config is a result and not an error.
    found = use(context.open, run_options(given))
    if found.error:
        context.renderer.error(found.error)
        context.renderer.notice(*_describe_failed_part(found.error))
    elif found.plan and not found.in_sync:
        context.renderer.plan(found.plan, operation="verify")
    if found.in_sync:
        context.say(sentences.VERIFIED)
    return 1 if strict and not found.in_sync else 0


def _describe_failed_part(error: DtmError) -> tuple[Level, str]:
    """Return the level and the message about the part that could not be verified."""
    match error:
        case ConfigError():
            return "error", "verify failed, error: there is no valid config."
        case PluginError():
            return "info", 'Maybe you forgot to run "dtm init" first?'
        case StateError() | StoreError():
            return "error", "Something is wrong with the state."
        case _:
            return "error", "Get changes failed."


@click.command()
@new_state_option
@parallelism_option("reads")
@optional_lock_options
@command()
def drift(context: Context, **given: Any) -> int:
    """Show what changed outside dtm.

    Exits with 0 if nothing changed, 2 if something did, 1 if a tool could not be read.
    """
    from dtm.app.run import Run

    found = Run(context.open(need_config=False), run_options(given)).drift()
    nothing = (
        "Nothing changed outside dtm among the tools that could be read."
        if found.unread
        else "Nothing changed outside dtm."
    )
    context.renderer.plan(found.plan, operation="drift", nothing=nothing)
    # Exit code 1 wins over 2: a tool that could not be read may have changed too.
    if found.unread:
        raise PlanError(found.unread)
    return 0 if found.plan.is_empty else 2


@click.command()
@click.argument("name", required=False)
@command()
def output(context: Context, name: str | None) -> None:
    """Print the outputs of the last apply.

    With NAME, print only that output.
    """
    from dtm.app.states import current_state
    from dtm.app.states import output as use

    # The state records the outputs, so a broken config does not matter.
    state = current_state(context.open(need_config=False))
    if name is not None:
        context.renderer.value(use(state, name))
        return
    context.renderer.outputs(state.outputs)
    if not state.outputs:
        context.renderer.notice("info", "There are no outputs.")


@click.command()
@click.option(
    "-o",
    "form",
    type=click.Choice(GRAPH_FORMATS),
    default="dot",
    show_default=True,
    help="Print the graph in this format.",
)
@command()
def graph(context: Context, form: GraphFormat) -> None:
    """Print the dependency graph of the config.

    It contains the dependencies in dependsOn and those that follow from references.
    """
    from dtm.app.graph_export import export_graph
    from dtm.app.workspace import load_config

    config = load_config(context.request)
    context.renderer.data(
        export_graph({tool.address: tool.depends_on for tool in config.tools}, form)
    )
