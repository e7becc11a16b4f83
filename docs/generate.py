"""Write the pages that are made from the program: plugins, commands, schemas.

Without arguments they are written; with --check nothing is, stale ones are named and the exit code
is 1.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from inspect import cleandoc
from pathlib import Path

import click
import msgspec
from plugin_pages import reference_pages

from dtm.cli.main import root
from dtm.describe import FieldDoc, explain, field_docs
from dtm.jsonschema import config_schema
from dtm.plugins import BACKENDS, Plugins
from dtm.render.json_types import schema as events_schema
from engine.loading import file_schema

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"
KEYS = re.compile(r"(<!-- keys of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
HEAD = """\
# Commands

`dtm COMMAND --help` says the same. An address is written `name.instanceID` or `name/instanceID`.

| exit code | meaning |
|---|---|
| 0 | done, or nothing to do |
| 1 | an error, or wrong arguments |
| 2 | changes or drift, where a command says so |
| 3 | the lock is held by somebody else |
| 130 | interrupted |

## Options of every command
"""
TAIL = """
`-f`, `--var` and `--var-file` belong to the commands that read a configuration.
`dtm version` and `dtm completion` have only what stands at their heading."""


def pages() -> dict[str, str]:
    """Path below `docs/` -> text. Only shipped plugins, whatever else is installed."""
    shipped = Plugins(tuple)
    return {
        "decisions/index.md": decisions(),
        "reference/commands.md": commands(),
        "reference/configuration.md": configuration(),
        "reference/config.schema.json": json.dumps(config_schema(shipped), indent=2) + "\n",
        "reference/events.schema.json": events_schema(),
        **{f"reference/plugins/{name}": text for name, text in reference_pages(shipped).items()},
    }


def decisions() -> str:
    """An index of the decisions by the titles that they have."""
    found = sorted(DOCS.glob("decisions/[0-9]*.md"))
    titles = [
        (path.name, path.read_text("utf-8").partition("\n")[0].removeprefix("# ")) for path in found
    ]
    return (
        "\n".join(
            [
                "# Decisions",
                "",
                *(f"- [{title.replace('. ', ': ', 1)}]({name})" for name, title in titles),
            ]
        )
        + "\n"
    )


def configuration() -> str:
    """Return the written page with its tables of keys as the program reads them.

    A backend that has no table there is an error: its options would be nowhere in the reference.
    """
    written = (REFERENCE / "configuration.md").read_text("utf-8")
    named = (name for backend, name in BACKENDS.items() if backend != "memory")
    options = {found.__name__: found for found in (import_module(name).OPTIONS for name in named)}
    missing = options.keys() - {found[2] for found in KEYS.finditer(written)}
    if missing:
        raise SystemExit(f"configuration.md has no keys of {', '.join(sorted(missing))}")
    structs = vars(file_schema) | options
    return KEYS.sub(lambda found: found[1] + _keys(structs[found[2]]) + found[3], written)


def _keys(struct: type[msgspec.Struct]) -> str:
    return (
        "\n"
        + "\n".join(["| key | value | meaning |", "|---|---|---|", *_key_rows(field_docs(struct))])
        + "\n\n"
    )


def _key_rows(found: Sequence[FieldDoc], path: str = "") -> Iterator[str]:
    for item in found:
        meaning = explain(item, "required") if item.required else explain(item)
        yield f"| `{path}{item.key}` | {item.kind} | {meaning} |"
        yield from _key_rows(
            item.inner, f"{path}{item.key}{'[]' if item.within == 'list' else ''}."
        )


def commands() -> str:
    """List every command with every option; what all commands share comes once, at the top."""
    found = list(_commands(root, click.Context(root, info_name="dtm")))
    shared = _rows(
        next(command for command, _ in found if "--var" in _options(command)), found, shared=True
    )
    lines = [HEAD, *_table(shared), TAIL]
    for command, context in found:
        lines += [
            "",
            f"## {context.command_path}",
            "",
            _usage(command, context),
            "",
            *_text(command),
        ]
        if own := _rows(command, found, shared=False):
            lines += ["", *_table(own)]
    return "\n".join(lines) + "\n"


def _commands(
    group: click.Group, context: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        yield command, inner
        if isinstance(command, click.Group):
            yield from _commands(command, inner)


def _options(command: click.Command) -> dict[str, click.Option]:
    return {each.opts[-1]: each for each in command.params if isinstance(each, click.Option)}


def _rows(
    command: click.Command, found: list[tuple[click.Command, click.Context]], *, shared: bool
) -> list[tuple[str, str]]:
    """Options as (spelling, explanation): those that `dtm state list` has too, or the others."""
    common = _options(
        next(each for each, context in found if context.command_path == "dtm state list")
    )
    return [
        _row(option)
        for name, option in _options(command).items()
        if (name in common and common[name].help == option.help) is shared
    ]


def _row(option: click.Option) -> tuple[str, str]:
    value = "" if option.is_flag else f" {option.metavar or _value(option)}"
    return f"`{', '.join(option.opts)}{value}`", (option.help or "").replace("|", "\\|")


def _value(option: click.Option) -> str:
    return "/".join(option.type.choices) if isinstance(option.type, click.Choice) else "N"


def _table(rows: list[tuple[str, str]]) -> list[str]:
    return [
        "| option | meaning |",
        "|---|---|",
        *(f"| {spelling} | {meaning} |" for spelling, meaning in rows),
    ]


def _usage(command: click.Command, context: click.Context) -> str:
    return f"`{context.command_path} {' '.join(command.collect_usage_pieces(context))}`"


def _text(command: click.Command) -> list[str]:
    return cleandoc(command.help or "").split("\n")


def stale() -> list[str]:
    """Files below `docs/` that differ from what the program says now, or that it says no more."""
    wanted = pages()
    there = {f"reference/plugins/{path.name}" for path in REFERENCE.glob("plugins/*.md")}
    differing = [name for name, text in wanted.items() if not _same(DOCS / name, text)]
    return sorted({*differing, *(there - wanted.keys())})


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text


def write(names: list[str]) -> None:
    """Bring the named files up to date."""
    wanted = pages()
    for name in names:
        path = DOCS / name
        if name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name], "utf-8")
        else:
            path.unlink()


def main() -> int:
    """Write or check."""
    names = stale()
    if sys.argv[1:] == ["--check"]:
        for name in names:
            sys.stderr.write(f"docs/{name} is stale: run make docs\n")
        return 1 if names else 0
    write(names)
    return 0


if __name__ == "__main__":
    sys.exit(main())
