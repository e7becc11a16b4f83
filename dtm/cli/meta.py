"""The commands `dtm version` and `dtm completion`."""

from __future__ import annotations

import sys

import click

from dtm import __version__


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def version(as_json: bool) -> None:
    """Print the version."""
    if not as_json:
        click.echo(__version__)
        return
    from dtm.render.renderers import make_renderer
    from dtm.render.screen import Screen

    make_renderer("json", Screen(sys.stdout, sys.stderr, str)).version(__version__)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    For bash, run `source <(dtm completion bash)`.
    """
    from click.shell_completion import get_completion_class

    from dtm.cli.main import root

    found = get_completion_class(shell)
    assert found is not None  # the choices are shells that click supports
    click.echo(found(root, {}, "dtm", "_DTM_COMPLETE").source())
