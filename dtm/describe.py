"""Descriptions of plugins, generated from their Structs.

They are the source of the samples of `dtm show config` and of the reference pages.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import msgspec.inspect as shapes
import yaml

from dtm.plugins import Plugins
from engine.errors import UsageError
from engine.options import fields as declared
from engine.suggestions import suggest

SAMPLES: Final = Path(__file__).with_name("samples")
TEMPLATES: Final = ("quickstart", "gitops", "apps")
SAMPLE_INSTANCE: Final = "sample"
"""The instanceID of every tool in a sample.

An example may refer to `${{ other-plugin.sample.outputs.key }}`.
"""
WIDTH: Final = 110


class FieldDoc(msgspec.Struct, frozen=True):
    """The description of one option or output.

    `default` and `example` are None if there is none. `inner` holds the nested options. `within`
    says where they are: "" in one map, "list" in each map of a list, "map" in each value of a map.
    """

    key: str
    text: str
    kind: str
    required: bool
    default: Any
    example: Any
    notes: tuple[str, ...]
    inner: tuple[FieldDoc, ...]
    within: str


def field_docs(struct: type[msgspec.Struct]) -> tuple[FieldDoc, ...]:
    """Return the descriptions of the fields of an options or outputs Struct, in order."""
    found = shapes.type_info(struct)
    assert isinstance(found, shapes.StructType)
    return tuple(map(_field_doc, found.fields))


def _field_doc(entry: shapes.Field) -> FieldDoc:
    marks: dict[str, Any] = getattr(entry.type, "extra", None) or {}
    documented: dict[str, Any] = getattr(entry.type, "extra_json_schema", None) or {}
    inner, within = _inner_docs(entry.type)
    default = (
        None
        if entry.default is msgspec.NODEFAULT or isinstance(entry.default, msgspec.Struct)
        else entry.default
    )
    return FieldDoc(
        entry.encode_name,
        str(documented.get("description", "")),
        _kind(entry.type),
        entry.required,
        default,
        marks.get("example"),
        tuple(_notes(marks)),
        inner,
        within,
    )


def explain(item: FieldDoc, *first: str) -> str:
    """Return the text of a field with its notes, those in `first` before the others.

    If the text is a sentence, each note becomes a sentence. Otherwise semicolons separate them.
    """
    notes = [*first, *item.notes]
    if not item.text.endswith("."):
        return "; ".join([item.text, *notes])
    return " ".join([item.text, *(f"{note[0].upper()}{note[1:]}." for note in notes)])


def _kind(shape: shapes.Type) -> str:
    return (
        "any value"
        if declared.accepts_type(shape, shapes.AnyType)
        else declared.describe_type(shape)
    )


def _notes(marks: Mapping[str, Any]) -> Iterator[str]:
    if marks.get("replace"):
        yield "a change replaces the tool"
    if marks.get("secret"):
        yield "secret"
    if marks.get("env"):
        yield f"if absent: environment variable {marks['env']}"
    if marks.get("aliases"):
        yield f"also written {', '.join(marks['aliases'])}"


def _inner_docs(shape: shapes.Type) -> tuple[tuple[FieldDoc, ...], str]:
    for member in declared.union_members(shape):
        match member:
            case shapes.StructType():
                return field_docs(member.cls), ""
            case shapes.ListType() if inner := _inner_docs(member.item_type)[0]:
                return inner, "list"
            case shapes.DictType() if inner := _inner_docs(member.value_type)[0]:
                return inner, "map"
            case _:
                continue
    return (), ""


def plugin_sample(name: str, plugins: Plugins) -> str:
    """Return a config with one tool of that plugin, every option explained.

    It can be applied unchanged.

    Tools that it refers to come first. Raises UsageError for an unknown name.
    """
    if name not in plugins:
        raise UsageError(f"illegal plugin name : < {name} >", hint=plugins.hint(name))
    options = option_lines(field_docs(plugins[name].options), _examples().get(name))
    tools = [_tool(name, options, plugins)]
    needed = _referenced_plugins(options)
    # The list is reversed below, so that a tool comes after those that it refers to.
    while needed:
        other = needed.pop(0)
        example = _yaml(_example(other, plugins))
        needed += _referenced_plugins(example)
        tools.append(_tool(other, example, plugins))
    return "\n".join(["tools:", *dict.fromkeys(reversed(tools))]) + "\n"


def _referenced_plugins(lines: Sequence[str]) -> list[str]:
    return re.findall(rf"\$\{{\{{ ([a-z0-9-]+)\.{SAMPLE_INSTANCE}\.", "\n".join(lines))


def _tool(name: str, options: Sequence[str], plugins: Plugins) -> str:
    empty = " {}" if all(map(_is_comment, options)) else ""
    head = [
        *_comment(f"{name}: {plugin_summary(name, plugins)}", "  "),
        f"  - name: {name}",
        f"    instanceID: {SAMPLE_INSTANCE}",
    ]
    return "\n".join([*head, f"    options:{empty}", *("      " + line for line in options)])


def _example(name: str, plugins: Plugins) -> Mapping[str, Any]:
    """Return the options that a sample sets, without explanations."""
    shown = {
        item.key: item.example
        for item in field_docs(plugins[name].options)
        if item.example is not None
    }
    return _examples().get(name, shown)


@cache
def _examples() -> Mapping[str, Mapping[str, Any]]:
    """Read the options that the samples of some plugins set.

    Options of these plugins exclude each other or refer to another tool. For all other plugins, the
    examples in the Struct are used.
    """
    found: dict[str, dict[str, Any]] = yaml.safe_load(
        SAMPLES.joinpath("plugins.yaml").read_text("utf-8")
    )
    return found


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def plugin_summary(name: str, plugins: Plugins) -> str:
    """Return the first paragraph of the provider's docstring, on one line."""
    provider = plugins[name]
    alias = f" ({name} is another name of {provider.plugin}.)" if provider.plugin != name else ""
    return " ".join(cleandoc(provider.__doc__ or "").partition("\n\n")[0].split()) + alias


def option_lines(options: Sequence[FieldDoc], given: Mapping[str, Any] | None = None) -> list[str]:
    """Return YAML of the options, each explained.

    Options in `given` are set, the others are comments. Without `given`, the required options and
    those with an example are set.
    """
    lines: list[str] = []
    for item in options:
        is_set = (
            item.key in given if given is not None else item.required or item.example is not None
        )
        value = given[item.key] if given is not None and is_set else item.example
        lines += _comment(explain(item, "required") if item.required else explain(item), "")
        body = _setting(item, value, is_set)
        lines += body if is_set else [f"# {line}" for line in body]
    return lines


def _setting(item: FieldDoc, value: Any, is_set: bool) -> list[str]:
    if not item.inner or not _is_expandable(value) or (item.within and is_set):
        shown = item.default if value is None else value
        return [f"{item.key}: <{item.kind}>"] if shown is None else _yaml({item.key: shown})
    # Keys of options are text.
    inner = option_lines(item.inner, cast("dict[str, Any] | None", value))
    lead = {"": [], "list": ["  -"], "map": ["  <name>:"]}[item.within]
    empty = " {}" if is_set and all(map(_is_comment, inner)) else ""
    return [f"{item.key}:{empty}", *lead, *((" " * (4 if lead else 2)) + line for line in inner)]


def _is_expandable(value: Any) -> bool:
    """Return whether a setting can be shown option by option."""
    return value is None or isinstance(value, dict)


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_on_hyphens=False,
    )


class _Dumper(yaml.SafeDumper):
    """A dumper that writes a text of several lines as a block."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Represent one line plain or quoted, several lines as a literal block."""
        return self.represent_scalar(  # pyright: ignore[reportUnknownMemberType] - its stub leaves `value` untyped
            "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
        )


_Dumper.add_representer(str, _Dumper.represent_text)


def _yaml(value: Any) -> list[str]:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return text.rstrip("\n").split("\n")


def config_sample(template: str = "") -> str:
    """Return a commented config that can be applied unchanged.

    It is the general one, or one of TEMPLATES. Raises UsageError.
    """
    if template and template not in TEMPLATES:
        raise UsageError(
            f"illegal template name : < {template} >", hint=suggest(template, TEMPLATES)
        )
    return SAMPLES.joinpath(f"{template or 'config'}.yaml").read_text("utf-8")
