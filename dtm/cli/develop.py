"""The commands `dtm develop create-plugin` and `validate-plugin`."""

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


develop = group("develop", "Create and check plugins.")


@develop.command("create-plugin")
@click.argument("argument", metavar="[NAME]", default="")
@click.option(
    "-n",
    "--name",
    default="",
    metavar="NAME",
    help="Use this plugin name. The argument NAME has the same effect.",
)
@command(config=False)
def create_plugin(context: Context, argument: str, name: str) -> None:
    """Create a package for a new plugin.

    It contains a working plugin and a passing test, ready to be changed.
    """
    from dtm.scaffold import create_plugin as use

    if argument and name and argument != name:
        raise UsageError(
            f"two different names are given: {argument} and {name}", hint="leave one of them out"
        )
    for path in use(argument or name, context.request.cwd):
        context.renderer.notice("info", f"Wrote {path.relative_to(context.request.cwd)}")
    context.say(f"Plugin {argument or name} created. Its README.md lists the next steps.")


@develop.command("validate-plugin")
@click.argument("argument", metavar="[NAME]", default="")
@click.option(
    "-n",
    "--name",
    default="",
    metavar="NAME",
    help="Use this plugin name. The argument NAME has the same effect.",
)
@click.option("-a", "--all", "everything", is_flag=True, help="Check every installed plugin.")
@command(config=False)
def validate_plugin(context: Context, argument: str, name: str, everything: bool) -> int:
    """Run every provider check against a plugin.

    The checks run in a temporary directory, and each result is printed on one line. Exits with 1 if
    a check fails.
    """
    from dtm.plugins import installed

    if not everything and not (argument or name):
        # The wording of DevStream, which scripts may search for.
        raise UsageError('the name must be not "", you can specify it by --name flag')
    names = installed().names() if everything else [argument or name]
    failed = [plugin for plugin in names if not _validate(context, plugin)]
    return 1 if failed else 0


def _validate(context: Context, name: str) -> bool:
    from dtm.plugins import installed
    from dtm.trials.validation import validate_plugin as use

    results: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="dtm-validate-") as folder:
        for result in use(name, installed(), Path(folder)):
            results[_show(context, name, result)] += 1
    if results["failed"]:
        # DevStream's sentence, to the letter.
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
    """Print the result of one check and return its outcome."""
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
