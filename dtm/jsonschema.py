"""The JSON Schema of a whole configuration, for editors.

It is generated from the Structs that dtm decodes a configuration with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from dtm.plugins import Plugins
from engine.loading import file_schema
from engine.schema import ALIASES

Schema: TypeAlias = dict[str, Any]

ONE: Final = {"type": "array", "minItems": 1, "maxItems": 1}
EXPRESSION: Final = {
    "anyOf": [
        {"type": "string", "pattern": r"\[\[|\$\{\{"},
        {**ONE, "items": {**ONE, "items": {"type": "string"}}},
    ]
}
"""`[[ x ]]`, which YAML parses as a list in a list unless it is quoted, or `${{ x }}`."""
NULL: Final = {"type": "null"}
TEXT: Final = {"type": ["string", "number", "boolean"]}
"""A text option also accepts a number or boolean, which keeps its spelling."""


def config_schema(plugins: Plugins) -> Schema:
    """Return a schema that accepts every file of a configuration.

    It accepts a main file, a variable file and a tool file, with one document or several.
    """
    options = {name: plugins[name].options for name in plugins}
    structs = [file_schema.ConfigFile, file_schema.ToolSection, *dict.fromkeys(options.values())]
    references, components = msgspec.json.schema_components(structs, ref_template="#/$defs/{name}")
    schemas = dict(zip(structs, references, strict=True))
    definitions = {
        f"#/$defs/{name}": _component(component) for name, component in components.items()
    }
    file = definitions[schemas[file_schema.ConfigFile]["$ref"]]
    choices = {name: schemas[struct] for name, struct in options.items()}
    _select_options_by_name(definitions[schemas[file_schema.ToolSection]["$ref"]], choices)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dtm configuration",
        "type": "object",
        # A map with none of the keys holds variables.
        "if": {"anyOf": [{"required": [key]} for key in file["properties"]]},
        "then": schemas[file_schema.ConfigFile],
        "$defs": {
            **{name.removeprefix("#/$defs/"): found for name, found in definitions.items()},
            "expression": EXPRESSION,
        },
    }


def _select_options_by_name(tool: Schema, options: Mapping[str, Schema]) -> None:
    """Extend the schema of a tool: its name selects a plugin and the schema of its options."""
    # A key without a value is null in YAML, and dtm treats it as absent.
    empty = {
        key: {"if": {"not": NULL}, "then": tool["properties"][key]}
        for key in ("dependsOn", "depends_on")
    }
    name = {"description": "which plugin", "enum": list(options)}
    tool["properties"] |= {**empty, "name": name, "options": {"type": ["object", "null"]}}
    tool["allOf"] += [_rule_for_name(name, each) for name, each in options.items()]


def _rule_for_name(name: str, options: Schema) -> Schema:
    """Return a rule: for this name, the options must match this schema."""
    wanted = {"properties": {"options": {"if": {"type": "object"}, "then": options}}}
    return {"if": {"properties": {"name": {"const": name}}}, "then": wanted}


def _component(schema: Schema) -> Schema:
    """Extend the schema of an options Struct.

    Keys get their old spellings, and values may be expressions.
    """
    properties: Schema = schema.get("properties", {})
    spelled = {key: _spellings(key, value) for key, value in properties.items()}
    found = {name: _value(properties[key]) for key, names in spelled.items() for name in names}
    needed = [_needed(key, spelled[key]) for key in schema.get("required", ())]
    kept = {
        key: value
        for key, value in schema.items()
        if key not in {"properties", "required", "title", "description"}
    }
    return {**kept, "properties": found, **({"allOf": needed} if needed else {})}


def _needed(key: str, names: list[str]) -> Schema:
    """Return a rule that requires one of the spellings.

    A validator names the first one as missing.
    """
    return {
        "if": {"not": {"anyOf": [{"required": [name]} for name in names]}},
        "then": {"required": [key]},
    }


def _spellings(key: str, schema: Schema) -> list[str]:
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: "_" + found[1].lower(), key)
    return list(dict.fromkeys((key, snake, *schema.get(ALIASES, ()))))


def _value(schema: Schema) -> Schema:
    """Return a schema that accepts an expression, or a value that matches the given schema.

    It has the form "if not an expression, then this", so that a validator reports what is wrong
    with the value.
    """
    notes = {key: value for key, value in schema.items() if key in {"description", "default"}}
    wanted = {key: value for key, value in schema.items() if key not in notes and key != ALIASES}
    if not wanted:
        return notes
    members = wanted.get("anyOf", [wanted])
    values = [_inner(member) for member in members if member != NULL]
    other = [{"$ref": "#/$defs/expression"}, *([NULL] if NULL in members else [])]
    return {
        **notes,
        "if": {"not": {"anyOf": other}},
        "then": values[0] if len(values) == 1 else {"anyOf": values},
    }


def _inner(schema: Schema) -> Schema:
    found: Schema = {**schema, **(TEXT if schema.get("type") == "string" else {})}
    parts = {
        key: _value(found[key])
        for key in ("items", "additionalProperties")
        if isinstance(found.get(key), dict)
    }
    return {**found, **parts}
