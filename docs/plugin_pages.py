"""The reference pages of the plugins: options, outputs and an example of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from inspect import cleandoc

from dtm.describe import FieldDoc, explain, field_docs, plugin_sample, plugin_summary
from dtm.plugins import Plugins


def reference_pages(plugins: Plugins) -> dict[str, str]:
    """Return file name -> Markdown: a page for each plugin name, and an index."""
    pages = {f"{name}.md": _page(name, plugins) for name in plugins}
    rows = [f"| [{name}]({name}.md) | {_cell(plugin_summary(name, plugins))} |" for name in plugins]
    index = [
        "# Plugins",
        "",
        "All plugins of this version. The `name` of a tool is one of these, or the name of a",
        "plugin from another package ([Write a plugin](../../how-to/write-a-plugin.md)).",
        "",
        *_table("name", "what it manages"),
        *rows,
    ]
    return {"index.md": "\n".join(index) + "\n", **pages}


def _page(name: str, plugins: Plugins) -> str:
    provider = plugins[name]
    lines = [f"# {name}", "", *_introduction(name, plugins), "", "## Options", ""]
    lines += [
        *_table("option", "type", "default", "meaning"),
        *_rows(field_docs(provider.options)),
        "",
        "## Outputs",
        "",
    ]
    if provider.outputs is None:
        lines += ["The outputs depend on the options: they are known after the first apply."]
    else:
        rows = [
            f"| `{item.key}` | {item.kind} | {_cell(item.text)} |"
            for item in field_docs(provider.outputs)
        ]
        lines += [*_table("output", "type", "meaning"), *rows]
    return (
        "\n".join(
            [
                *lines,
                "",
                "## Example",
                "",
                "```yaml",
                plugin_sample(name, plugins).rstrip("\n"),
                "```",
            ]
        )
        + "\n"
    )


def _introduction(name: str, plugins: Plugins) -> list[str]:
    provider = plugins[name]
    if provider.plugin != name and provider.plugin in plugins:
        return [
            f"Another name of [{provider.plugin}]({provider.plugin}.md). "
            "You may change the name of an existing tool from one to the other: its resource stays."
        ]
    others = [other for other in plugins if other != name and plugins[other].plugin == name]
    also = (
        ["", f"Other names: {', '.join(f'[{other}]({other}.md)' for other in others)}."]
        if others
        else []
    )
    return [*cleandoc(provider.__doc__ or "").split("\n"), *also]


def _table(*titles: str) -> list[str]:
    return [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]


def _rows(options: Sequence[FieldDoc], path: str = "") -> Iterator[str]:
    for item in options:
        default = (
            "required"
            if item.required
            else f"`{json.dumps(item.default)}`"
            if item.default is not None
            else ""
        )
        text = _cell(explain(item))
        yield f"| `{path}{item.key}` | {_cell(item.kind)} | {_cell(default)} | {text} |"
        yield from _rows(
            item.inner, f"{path}{item.key}{ {'': '', 'list': '[]', 'map': '.*'}[item.within] }."
        )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
