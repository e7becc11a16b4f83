"""The state files of DevStream: YAML with a map from `name_instanceID` to tools.

The keys of a tool have two spellings: `instanceid`, `dependson`, `resource` up to v0.9;
`instanceID`, `dependsOn`, `resourceStatus` since v0.10.

    forms = read_tools(data, "devstream.state")
    data = to_devstream(state)
"""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec
import yaml

from engine.errors import StateError
from engine.state import State
from engine.stored.forms import ToolForm, encode_value, tool_form
from engine.values import HIDDEN, SECRET_KEY

SPELLINGS = {"instanceid": "instanceID", "dependson": "dependsOn", "resourceStatus": "resource"}
MAX_DEPTH = 200
TEXT_TAG = "tag:yaml.org,2002:str"


class _Loader(yaml.CSafeLoader):
    """Reads unquoted dates as text: a state contains JSON values only, which have no dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def read_tools(data: bytes, location: str) -> dict[str, ToolForm]:
    """Return the tools of a DevStream state file. Raises StateError with the invalid place."""
    found: dict[str, ToolForm] = {}
    try:
        _check_depth(data, location)
        loader = _Loader(data)
        for key, value in _entries(loader.get_single_node(), location):
            where = _place(location, key.start_mark)
            # Construct each tool separately, so that an error has the place of that tool.
            raw = cast("Any", loader).construct_document(value)  # untyped in its stubs
            tool = _parse_tool(key.value, raw, where)
            if tool.key in found:
                raise _invalid_error(where, f"tool {tool.key} is listed twice")
            found[tool.key] = tool
    except yaml.YAMLError as error:
        raise _syntax_error(error, location) from error
    return found


def _check_depth(data: bytes, location: str) -> None:
    """Refuse deep nesting: libyaml recurses without a limit, and a stack overflow ends dtm."""
    depth = 0
    for event in yaml.parse(data, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if depth > MAX_DEPTH:
            raise _invalid_error(_place(location, event.start_mark), "it is nested too deeply")


def _entries(root: yaml.Node | None, location: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise _invalid_error(_place(location, root.start_mark), "expected a map of tools")
    return cast("list[tuple[yaml.ScalarNode, yaml.Node]]", root.value)


def _parse_tool(key: str, raw: object, where: str) -> ToolForm:
    if not isinstance(raw, dict):
        raise _invalid_error(
            where,
            f'"{key}" is not a tool: '
            "expected a map with name, instanceid, dependson, options, resource",
        )
    given = {SPELLINGS.get(str(k), str(k)): v for k, v in cast("dict[object, object]", raw).items()}
    # Null means that the value is absent, so that the form uses its default.
    form: dict[str, object] = {k: v for k, v in given.items() if v is not None}
    form.setdefault("options", {})
    form.setdefault("dependsOn", [])
    form["protected"] = False
    form["options"], resource = _escape_keys(form["options"]), _escape_keys(form.get("resource"))
    try:
        return msgspec.convert(form | {"resource": resource}, ToolForm)
    except msgspec.ValidationError as error:
        raise _invalid_error(where, f"tool {key}: {error}") from error


def _escape_keys(value: Any) -> Any:
    """Escape inner keys such as `$secret`: DevStream has no secrets, so they are plain text."""
    return (
        {k: encode_value(v) for k, v in cast("dict[str, Any]", value).items()}
        if isinstance(value, dict)
        else value
    )


def _syntax_error(error: yaml.YAMLError, location: str) -> StateError:
    return _invalid_error(
        _place(location, getattr(error, "problem_mark", None)),
        str(getattr(error, "problem", None) or error),
    )


def _place(location: str, mark: Any) -> str:
    """Return the location with line and column, counted from 1, if PyYAML knows them."""
    return f"{location}:{mark.line + 1}:{mark.column + 1}" if mark else location


def _invalid_error(where: str, reason: str) -> StateError:
    return StateError(f"not a valid state file: {reason}", where=where)


class _Dumper(yaml.SafeDumper):
    """Writes YAML in the style of yaml.v3, the Go package that DevStream uses.

    Sequences are indented below their key. Ambiguous texts are in double quotes, texts of several
    lines in block scalars.
    """

    def increase_indent(
        self,
        flow: bool = False,
        indentless: bool = False,  # noqa: ARG002 - PyYAML's signature
    ) -> None:
        """Indent always, also sequences in maps."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Return True, since yaml.v3 writes repeated values in full."""
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    untyped = cast("Any", dumper)  # PyYAML's stubs do not type these two methods
    ambiguous = (
        text in ("", "y", "Y", "n", "N")
        or untyped.resolve(yaml.ScalarNode, text, (True, False)) != TEXT_TAG
    )
    style = "|" if "\n" in text else '"' if ambiguous else None
    return cast("yaml.ScalarNode", untyped.represent_scalar(TEXT_TAG, text, style=style))


_Dumper.add_representer(str, _represent_text)


def natural_sort_key(text: str) -> list[tuple[int, int, str]]:
    """Return the sort key of yaml.v3 for map keys: numbers by value, so `b_9` before `b_10`."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.findall(r"[0-9]+|[^0-9]+", text)
    ]


def _sort_keys(value: object) -> Any:
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        return (
            HIDDEN
            if SECRET_KEY in found
            else {key: _sort_keys(found[key]) for key in sorted(found, key=natural_sort_key)}
        )
    if isinstance(value, list):
        return [_sort_keys(item) for item in cast("list[object]", value)]
    return value


def to_devstream(state: State) -> bytes:
    """Return the state in the layout of DevStream up to v0.9, for programs that read it.

    An empty state is zero bytes. The IDs of resources are left out, since DevStream has none. Each
    secret is replaced by `(sensitive)`.
    """
    layout: dict[str, Any] = {}
    forms = {entry.address.key: tool_form(entry) for entry in state.entries.values()}
    for key in sorted(forms, key=natural_sort_key):
        form = forms[key]
        resource = {
            name: value
            for name, value in (form.resource or {}).items()
            if name != "id" and (name, value) != ("outputs", {})
        }
        layout[key] = {
            "name": form.name,
            "instanceid": form.instance,
            "dependson": form.depends_on,
            "options": _sort_keys(form.options),
            "resource": _sort_keys(resource),
        }
    if not layout:
        return b""
    return yaml.dump(
        layout, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31, encoding="utf-8"
    )
