"""Write the generated pages: plugins, commands, schemas, and the lists in `mkdocs.yml`.

With --check nothing is written; stale files are listed, and the exit code is 1.
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
from api_pages import api_page
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
NAVIGATION = re.compile(r"(( *)# generated: (\w+)\n).*?( *# end\n)", re.DOTALL)
DECISIONS = """\
# Decisions

Each page records one choice that a newcomer would question: the context, the choice and its
consequence. A new decision is a new file in `docs/decisions/`; `make docs` adds it to this page.
"""
HEAD = """\
# Commands

`dtm COMMAND --help` prints the same texts. Write the address of a tool as `name.instanceID` or
`name/instanceID`.

| exit code | meaning |
|---|---|
| 0 | done, or nothing to do |
| 1 | an error, or wrong arguments |
| 2 | changes or drift, for `plan --detailed-exitcode` and `drift` |
| 3 | another session holds the lock |
| 130 | interrupted |

## Options of every command
"""
TAIL = """
Only commands that read a configuration have `-f`, `--var` and `--var-file`.
`dtm version` and `dtm completion` have only the options in their own sections."""


def pages() -> dict[str, str]:
    """Return path relative to `docs/` -> text.

    Only shipped plugins have pages, so that the result does not depend on other installed packages.
    """
    shipped = Plugins(tuple)
    return {
        "../mkdocs.yml": navigation(shipped),
        "decisions/index.md": decisions(),
        "reference/commands.md": commands(),
        "reference/configuration.md": configuration(),
        "reference/config.schema.json": json.dumps(config_schema(shipped), indent=2) + "\n",
        "reference/events.schema.json": events_schema(),
        "reference/python-api.md": api_page(),
        **{f"reference/plugins/{name}": text for name, text in reference_pages(shipped).items()},
    }


def decisions() -> str:
    """Return the index of the decisions: number and title of each."""
    rows = [f"| {int(path.name[:4])} | [{_title(path)}]({path.name}) |" for path in _decisions()]
    return "\n".join([DECISIONS, "| number | decision |", "|---|---|", *rows]) + "\n"


def _decisions() -> list[Path]:
    return sorted(DOCS.glob("decisions/[0-9]*.md"))


def _title(path: Path) -> str:
    return path.read_text("utf-8").partition("\n")[0].removeprefix("# ")


def navigation(shipped: Plugins) -> str:
    """Return `mkdocs.yml` with a line for each plugin page and each decision."""
    lists = {
        "plugins": [f"reference/plugins/{name}.md" for name in shipped],
        "decisions": [f"decisions/{path.name}" for path in _decisions()],
    }
    written = (DOCS.parent / "mkdocs.yml").read_text("utf-8")
    return NAVIGATION.sub(
        lambda found: (
            found[1] + "".join(f"{found[2]}- {page}\n" for page in lists[found[3]]) + found[4]
        ),
        written,
    )


def configuration() -> str:
    """Return `configuration.md` with its tables of keys updated from the Structs.

    Raises SystemExit if a backend has no table, because the reference would not list its options.
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
    """Return the page of all commands and their options, with shared options listed once."""
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
    """Return (spelling, explanation) of options of a command.

    With `shared` these are the options that `dtm state list` has too, otherwise the others.
    """
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
    text = (option.help or "").replace("|", "\\|")
    if option.show_default:
        # As in click, a text replaces the default that is shown.
        default = option.show_default if isinstance(option.show_default, str) else option.default
        text += f" Default: `{default}`."
    return f"`{', '.join(option.opts)}{value}`", text


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
    """Return the generated files that are outdated, missing or no longer needed."""
    wanted = pages()
    present = {f"reference/plugins/{path.name}" for path in REFERENCE.glob("plugins/*.md")}
    differing = [name for name, text in wanted.items() if not _same(DOCS / name, text)]
    return sorted({*differing, *(present - wanted.keys())})


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text


def write(names: list[str]) -> None:
    """Write the named files, and delete those that are no longer generated."""
    wanted = pages()
    for name in names:
        path = DOCS / name
        if name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name], "utf-8")
        else:
            path.unlink()


def main() -> int:
    """Write or check the generated files, and return the exit code."""
    names = stale()
    if sys.argv[1:] == ["--check"]:
        for name in names:
            path = f"docs/{name}".removeprefix("docs/../")
            sys.stderr.write(f"{path} is stale: run make docs\n")
        return 1 if names else 0
    write(names)
    return 0


if __name__ == "__main__":
    sys.exit(main())
