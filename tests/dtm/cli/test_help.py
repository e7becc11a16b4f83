"""The help texts of all commands and options."""

from collections.abc import Iterator
from inspect import cleandoc

import click
import pytest

from dtm.cli.main import COMMANDS, SUMMARIES, root

MAX_LENGTH = 80


def commands(group: click.Group, path: str = "dtm") -> Iterator[tuple[str, click.Command]]:
    """Yield the path and the object of every command, groups included."""
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


HELP_TEXTS = {
    **{path: cleandoc(command.help or "").partition("\n\n")[0] for path, command in commands(root)},
    **{
        f"{path} {parameter.opts[-1]}": parameter.help or ""
        for path, command in commands(root)
        for parameter in command.params
        if isinstance(parameter, click.Option)
    },
    **{f"summary of {name}": text for name, text in SUMMARIES.items()},
}


@pytest.mark.parametrize("text", HELP_TEXTS.values(), ids=HELP_TEXTS)
def test_help_text_is_one_short_sentence(text: str) -> None:
    assert text, "the help text is missing"
    assert text[0].isupper() and text.endswith(".")
    assert len(text) <= MAX_LENGTH
    assert "\n" not in text


def test_every_command_has_a_summary() -> None:
    assert SUMMARIES.keys() == COMMANDS.keys()


def test_help_lists_every_summary_in_full() -> None:
    text = root.get_help(click.Context(root, info_name="dtm", terminal_width=100))
    assert all(summary in text for summary in SUMMARIES.values())
