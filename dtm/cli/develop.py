"""`dtm develop create-plugin, validate-plugin`."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

import click

from dtm.cli.common import Context, command, group
from dtm.testing.conformance import CaseResult
from engine.errors import UsageError
from engine.values import Value

MARKS: Final = {"passed": "✔", "failed": "✖", "skipped": "-"}


develop = group("develop", "Write and check plugins.")


@develop.command("create-plugin", short_help="Write a package to start a plugin from.")
@click.argument("argument", metavar="[NAME]", default="")
@click.option("-n", "--name", default="", metavar="NAME", help="The same as NAME.")
@command(config=False)
def create_plugin(context: Context, argument: str, name: str) -> None:
    """Write a package with a plugin, its sample and a passing test, ready to be changed."""
    from dtm.scaffold import create_plugin as use

    if argument and name and argument != name:
        raise UsageError(f"which name, {argument} or {name}?")
    for path in use(argument or name, context.request.cwd):
        context.renderer.notice("info", f"Wrote {path.relative_to(context.request.cwd)}")
    context.say(f"Plugin {argument or name} created; its README.md says what to do next.")


@develop.command("validate-plugin", short_help="Try every promise of a plugin.")
@click.argument("argument", metavar="[NAME]", default="")
@click.option("-n", "--name", default="", metavar="NAME", help="The same as NAME.")
@click.option("-a", "--all", "everything", is_flag=True, help="Every plugin there is.")
@command(config=False)
def validate_plugin(context: Context, argument: str, name: str, everything: bool) -> int:
    """Try every promise of a plugin in a temporary world, one line each.

    Exit 1 if one is broken.
    """
    from dtm.plugins import installed

    if not everything and not (argument or name):
        raise UsageError('the name must be not "", you can specify it by --name flag')
    names = installed().names() if everything else [argument or name]
    failed = [plugin for plugin in names if not _validate(context, plugin)]
    return 1 if failed else 0


def _validate(context: Context, name: str) -> bool:
    from dtm.plugins import installed
    from dtm.trials.validation import validate_plugin as use

    results: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="dtm-validate-") as world:
        for result in use(name, installed(), Path(world)):
            results[_show(context, name, result)] += 1
    if results["failed"]:
        context.renderer.notice("error", f"Plugin <{name}> does NOT passed validation.")
    else:
        partly = (
            f": {results['passed']} checks passed, {results['skipped']} skipped"
            if results["skipped"]
            else ""
        )
        context.say(f"Plugin <{name}> passed validation{partly}.")
    return not results["failed"]


def _show(context: Context, name: str, result: CaseResult) -> str:
    """Print one line and return the outcome."""
    outcome, reason = result.outcome, result.reason
    row: dict[str, Value] = {
        "plugin": name,
        "check": result.name,
        "result": outcome,
        "reason": reason,
    }
    text = f"{MARKS[outcome]} {result.name}{': ' + reason if reason else ''}"
    context.renderer.data(text, row)
    return outcome
