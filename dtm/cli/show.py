"""The commands `dtm show config`, `schema`, `status` and `dtm list plugins`."""

from __future__ import annotations

import click

from dtm.app.invocation import RunOptions
from dtm.cli.common import Context, command, group
from engine.address import Address
from engine.errors import UsageError

show = group("show", "Show a sample config, the schema, or the status of tools.")


@show.command()
@click.option(
    "-p",
    "--plugin",
    default="",
    metavar="NAME",
    help="Print a sample for this plugin, with every option explained.",
)
@click.option(
    "-t",
    "--template",
    default="",
    metavar="NAME",
    help="Print a whole toolchain: quickstart, gitops or apps.",
)
@command(config=False)
def config(context: Context, plugin: str, template: str) -> None:
    """Print a commented config that can be applied unchanged."""
    from dtm.describe import config_sample, plugin_sample
    from dtm.plugins import installed

    if plugin and template:
        raise UsageError("--plugin and --template cannot be combined", hint="leave one of them out")
    # A plugin of DevStream that is missing here gets a better error than an unknown name.
    if plugin in installed().unshipped() and plugin not in installed():
        raise UsageError(
            f'plugin "{plugin}" is not part of this version',
            hint="list the plugins with dtm list plugins",
        )
    context.renderer.data(plugin_sample(plugin, installed()) if plugin else config_sample(template))


@show.command()
@command(config=False)
def schema(context: Context) -> None:
    """Print the JSON Schema of the config, for editors."""
    import json

    from dtm.jsonschema import config_schema
    from dtm.plugins import installed

    found = config_schema(installed())
    context.renderer.data(json.dumps(found, indent=2), found)


@show.command()
@click.option("-p", "--plugin", default="", metavar="NAME", help="Show only tools of this plugin.")
@click.option(
    "-i",
    "--id",
    "instance",
    default="",
    metavar="ID",
    help="Show only tools with this instance ID.",
)
@click.option(
    "-a", "--all", "everything", is_flag=True, help="Show all tools. This is the default."
)
@command()
def status(context: Context, plugin: str, instance: str, everything: bool) -> None:
    """Show each tool as recorded and as it is live."""
    from dtm.app.run import Run

    shown = {
        address: document
        for address, document in Run(context.open(need_config=False), RunOptions()).status().items()
        if everything or _named(address, plugin, instance)
    }
    if not shown:
        if plugin or instance:
            raise UsageError(
                # The wording of DevStream, which scripts may search for.
                f"state with (id: {instance or '*'}, plugin: {plugin or '*'}) not found",
                hint="list the tools with dtm state list",
            )
        context.renderer.notice("info", "No resources found.")
    for address, document in shown.items():
        context.renderer.document(document, title=str(address))


def _named(address: Address, plugin: str, instance: str) -> bool:
    return plugin in ("", address.name) and instance in ("", address.instance)


list_group = group("list", "List the plugins.")


@list_group.command()
@click.option(
    "-r",
    "--filter",
    "pattern",
    default="",
    metavar="REGEX",
    help="List only names that match this regular expression.",
)
@command(config=False)
def plugins(context: Context, pattern: str) -> None:
    """List the plugins, one name per line."""
    import re

    from dtm.plugins import installed

    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--filter {pattern}: {error}") from error
    names = [name for name in installed().names() if wanted.search(name)]
    context.renderer.data("".join(f"{name}\n" for name in names), [*names])
