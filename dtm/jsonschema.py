"""The JSON Schema of a whole configuration, for editors: plugin options from their Structs, the rest from here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from dtm.plugins import Plugins
from engine.address import INSTANCE, NAME
from engine.schema import ALIASES

Schema: TypeAlias = dict[str, Any]

EXPRESSION: Final = {"$ref": "#/$defs/expression"}
TEXT: Final = {"type": ["string", "number", "boolean"]}
"""Where text is wanted, a number keeps the spelling it was written in."""


def _map(properties: Mapping[str, Any], description: str, *required: str) -> Schema:
    text = {"description": description} if description else {}
    return {"type": "object", **text, "properties": dict(properties), "required": list(required), "additionalProperties": False}


_ANY_MAP: Final = {"type": "object"}
_LOCK: Final = _map(
    {"kind": {"enum": ["auto", "dynamodb", "native", "both", "none"]}, "url": TEXT, "lease": TEXT}, "who may write at a time"
)
_LOG: Final = {"enum": ["auto", "beside", "inline"]}
_STATE: Final = {
    "description": "where dtm remembers what it made: a URL, or a backend with its options",
    "anyOf": [
        {"type": "string"},
        _map({"backend": TEXT, "options": _ANY_MAP, "lock": _LOCK, "log": _LOG, "history": {"type": "integer"}}, ""),
    ],
}  # fmt: skip
_VARIABLE: Final = _map(
    {"type": TEXT, "default": {}, "sensitive": {"type": "boolean"}, "validation": {}, "description": TEXT}, "a variable"
)
_STEP: Final = _map({"type": TEXT, "templateName": TEXT, "options": _ANY_MAP, "vars": _ANY_MAP}, "", "type")
_APP: Final = _map(
    {
        "name": TEXT, "spec": _map({"language": TEXT, "framework": TEXT}, ""), "repo": _ANY_MAP, "repoTemplate": _ANY_MAP,
        "ci": {"type": "array", "items": _STEP}, "cd": {"type": "array", "items": _STEP},
    },
    "an application: becomes a repository and its pipelines",
    "name",
)  # fmt: skip


def config_schema(plugins: Plugins) -> Schema:
    """A schema that every file of a configuration fits: main, variables or tools, one document or several."""
    schemas = {name: plugins[name].options for name in plugins}
    structs = list(dict.fromkeys(schemas.values()))
    references, components = msgspec.json.schema_components(structs, ref_template="#/$defs/{name}")
    options = {name: references[structs.index(struct)] for name, struct in schemas.items()}
    keys = _top_level()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dtm configuration",
        "type": "object",
        "if": {"anyOf": [{"required": [key]} for key in keys]},  # a map with none of the keys holds variables
        "then": {"properties": keys, "additionalProperties": False},
        "$defs": {
            **{name: _component(component) for name, component in components.items()},
            "expression": {"anyOf": [{"type": "string", "pattern": r"\[\[|\$\{\{"}, {"type": "array", "maxItems": 1}]},
            "address": {"type": "string", "pattern": f"^{NAME.pattern}[./]{INSTANCE.pattern}$"},
            "tool": _tool(options),
        },
    }


def _top_level() -> Schema:
    """Keys of the file itself; the first four may also stand under `config`."""
    config = {"state": _STATE, "varFile": TEXT, "toolFile": TEXT, "pluginDir": TEXT}
    return {
        "config": _map(config, "settings"),
        **config,
        "vars": {"type": "object", "description": "values for [[ name ]]"},
        "variables": {"type": "object", "description": "declarations of variables", "additionalProperties": _VARIABLE},
        "tools": {"type": "array", "items": {"$ref": "#/$defs/tool"}},
        "apps": {"type": "array", "items": _APP},
        "pipelineTemplates": {
            "type": "array",
            "items": _map({"name": TEXT, "type": TEXT, "options": _ANY_MAP}, "", "name", "type"),
        },
        "outputs": {"type": "object", "description": "values to print and to hand on, as ${{ tool.instance.outputs.key }}"},
    }


def _tool(options: Mapping[str, Schema]) -> Schema:
    """One entry of `tools`: its name decides what its options are."""
    keys = {
        "name": {"description": "which plugin", "enum": list(options)},
        "instanceID": {**TEXT, "description": "tells several tools of one plugin apart"},
        "dependsOn": {"type": ["array", "null"], "items": {"$ref": "#/$defs/address"}, "description": "tools that come first"},
        "options": {"type": ["object", "null"]},
        "lifecycle": _map({"preventDestroy": {"type": "boolean"}}, "protection that outlives the config"),
        "timeouts": _map(
            dict.fromkeys(("read", "create", "update", "delete"), TEXT), "how long an operation may take, as in 90s"
        ),
    }
    chosen = [
        {"if": {"properties": {"name": {"const": name}}}, "then": {"properties": {"options": {"if": _ANY_MAP, "then": schema}}}}
        for name, schema in options.items()
    ]
    return {**_map(keys, "", "name", "instanceID"), "allOf": chosen}


def _component(schema: Schema) -> Schema:
    """An options Struct's schema, with the old spellings of its keys and with expressions for values."""
    properties: Schema = schema.get("properties", {})
    spelled = {key: _spellings(key, value) for key, value in properties.items()}
    found = {name: _value(properties[key]) for key, names in spelled.items() for name in names}
    needed = [{"anyOf": [{"required": [name]} for name in spelled[key]]} for key in schema.get("required", ())]
    kept = {key: value for key, value in schema.items() if key not in {"properties", "required", "title", "description"}}
    return {**kept, "properties": found, **({"allOf": needed} if needed else {})}


def _spellings(key: str, schema: Schema) -> list[str]:
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: "_" + found[1].lower(), key)
    return list(dict.fromkeys((key, snake, *schema.get(ALIASES, ()))))


def _value(schema: Schema) -> Schema:
    """What may stand where an option wants this: the value, or an expression for it."""
    told = {key: value for key, value in schema.items() if key in {"description", "default"}}
    wanted = {key: value for key, value in schema.items() if key not in told and key != ALIASES}
    if not wanted:
        return told
    return {**told, "anyOf": [_inner(wanted), EXPRESSION]}


def _inner(schema: Schema) -> Schema:
    found = dict(schema)
    if found.get("type") == "string":
        found |= TEXT
    if "anyOf" in found:
        found["anyOf"] = [_inner(member) for member in found["anyOf"]]
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _value(found[key])
    return found
