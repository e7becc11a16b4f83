"""Validation of CI files by the JSON Schemas of their vendors."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, TypeAlias

import jsonschema
import yaml

Resolvers: TypeAlias = dict[str, list[tuple[str, re.Pattern[str]]]]


class Loader(yaml.CSafeLoader):
    """A loader with the booleans of YAML 1.2, as CI systems read them: `on` is text."""

    yaml_implicit_resolvers: ClassVar[Resolvers] = {  # type: ignore[misc]
        first: [(tag, regexp) for tag, regexp in found if not tag.endswith(":bool")]
        for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


@cache
def validator(name: str) -> Any:
    schema = json.loads(
        files("check_jsonschema").joinpath(f"builtin_schemas/vendor/{name}.json").read_text("utf-8")
    )
    return jsonschema.validators.validator_for(schema)(schema)


def load(text: str) -> Any:
    return yaml.load(text, Loader)


def problems(name: str, text: str) -> list[str]:
    return [error.message[:200] for error in validator(name).iter_errors(load(text))]
