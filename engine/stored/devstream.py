"""DevStream's state files: YAML, a map `name_instanceID` -> tool.

Keys have two spellings: up to v0.9 `instanceid`, `dependson`, `resource`; from v0.10 `instanceID`,
`dependsOn`, `resourceStatus`.
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
DEEPEST = 200
TEXT = "tag:yaml.org,2002:str"


class _Loader(yaml.CSafeLoader):
    """yaml.v3 quotes every text that looks like a date, so what stands unquoted is text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML declares it as an instance's
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def read_tools(data: bytes, location: str) -> dict[str, ToolForm]:
    """Read the tools of a DevStream state file. Raises StateError with the wrong place."""
    found: dict[str, ToolForm] = {}
    try:
        _check_depth(data, location)
        loader = _Loader(data)
        for key, value in _pairs(loader.get_single_node(), location):
            where = _place(location, key.start_mark)
            # Tool by tool, so that an error names the place of the tool.
            raw = cast("Any", loader).construct_document(value)  # untyped in its stubs
            tool = _tool(key.value, raw, where)
            if tool.key in found:
                raise _invalid(where, f"tool {tool.key} stands here twice")
            found[tool.key] = tool
    except yaml.YAMLError as error:
        raise _broken(error, location) from error
    return found


def _check_depth(data: bytes, location: str) -> None:
    """Refuse a deep nesting: libyaml recurses without a limit, which would end the process."""
    depth = 0
    for event in yaml.parse(data, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if depth > DEEPEST:
            raise _invalid(_place(location, event.start_mark), "it is nested too deep")


def _pairs(root: yaml.Node | None, location: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise _invalid(_place(location, root.start_mark), "a map of tools is expected")
    return cast("list[tuple[yaml.ScalarNode, yaml.Node]]", root.value)


def _tool(key: str, raw: object, where: str) -> ToolForm:
    if not isinstance(raw, dict):
        raise _invalid(
            where,
            f'"{key}" is no tool: '
            "a map with name, instanceid, dependson, options, resource is expected",
        )
    given = {SPELLINGS.get(str(k), str(k)): v for k, v in cast("dict[object, object]", raw).items()}
    # Null means that nothing was given: the form takes its default instead.
    form: dict[str, object] = {k: v for k, v in given.items() if v is not None}
    form.setdefault("options", {})
    form.setdefault("dependsOn", [])
    form["protected"] = False
    form["options"], resource = _literal(form["options"]), _literal(form.get("resource"))
    try:
        return msgspec.convert(form | {"resource": resource}, ToolForm)
    except msgspec.ValidationError as error:
        raise _invalid(where, f"tool {key}: {error}") from error


def _literal(value: Any) -> Any:
    """DevStream knows no secrets: a key that looks like ours is text."""
    return (
        {k: encode_value(v) for k, v in cast("dict[str, Any]", value).items()}
        if isinstance(value, dict)
        else value
    )


def _broken(error: yaml.YAMLError, location: str) -> StateError:
    return _invalid(
        _place(location, getattr(error, "problem_mark", None)),
        str(getattr(error, "problem", None) or error),
    )


def _place(location: str, mark: Any) -> str:
    """Give line and column, from 1, where PyYAML knows them."""
    return f"{location}:{mark.line + 1}:{mark.column + 1}" if mark else location


def _invalid(where: str, reason: str) -> StateError:
    return StateError(f"no valid state: {reason}", where=where)


class _Dumper(yaml.SafeDumper):
    """yaml.v3's style.

    Sequences are indented below their key, ambiguous texts stand in double quotes, texts of several
    lines in blocks.
    """

    def increase_indent(
        self,
        flow: bool = False,
        indentless: bool = False,  # noqa: ARG002 - PyYAML's signature
    ) -> None:
        """Indent always, sequences in maps too."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """yaml.v3 writes repeated values in full."""
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    untyped = cast("Any", dumper)  # PyYAML's stubs leave these two methods open
    ambiguous = (
        text in ("", "y", "Y", "n", "N")
        or untyped.resolve(yaml.ScalarNode, text, (True, False)) != TEXT
    )
    style = "|" if "\n" in text else '"' if ambiguous else None
    return cast("yaml.ScalarNode", untyped.represent_scalar(TEXT, text, style=style))


_Dumper.add_representer(str, _text)


def natural_sort_key(text: str) -> list[tuple[int, int, str]]:
    """Sort key of yaml.v3's map keys: runs of digits by number, so `b_9` stands before `b_10`."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part)
        for part in re.findall(r"[0-9]+|[^0-9]+", text)
    ]


def _ordered(value: object) -> Any:
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        return (
            HIDDEN
            if SECRET_KEY in found
            else {key: _ordered(found[key]) for key in sorted(found, key=natural_sort_key)}
        )
    if isinstance(value, list):
        return [_ordered(item) for item in cast("list[object]", value)]
    return value


def to_devstream(state: State) -> bytes:
    """Write the state in DevStream's layout (up to v0.9), for programs that read it.

    An empty state is zero bytes. DevStream's resources have no `id`, so ours are left out; secrets
    read `(sensitive)`.
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
            "options": _ordered(form.options),
            "resource": _ordered(resource),
        }
    if not layout:
        return b""
    return yaml.dump(
        layout, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31, encoding="utf-8"
    )
