"""The fields of an options Struct: their names, types, marks and limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import msgspec.inspect as shapes

from engine.values import Value, ValuePath


class Option(msgspec.Struct, frozen=True):
    """One field of an options Struct: `field` in Python, `key` outside, `spellings` folded."""

    field: str
    key: str
    shape: shapes.Type
    required: bool
    secret: bool
    replace: bool
    env: str
    spellings: frozenset[str]


@cache
def describe_options(struct: type[msgspec.Struct]) -> tuple[Option, ...]:
    """Describe the fields of a Struct, with the marks that `schema.Field` gave them."""
    found = shapes.type_info(struct)
    assert isinstance(found, shapes.StructType)
    return tuple(_option(entry) for entry in found.fields)


@cache
def options_by_spelling(struct: type[msgspec.Struct]) -> dict[str, Option]:
    """Map every folded spelling of every field to it."""
    return {
        spelling: option for option in describe_options(struct) for spelling in option.spellings
    }


def _option(entry: shapes.Field) -> Option:
    # Only annotated types, which schema.Field makes, have an `extra`.
    extra: dict[str, Any] = getattr(entry.type, "extra", None) or {}
    return Option(
        entry.name,
        entry.encode_name,
        entry.type,
        entry.required,
        bool(extra.get("secret")),
        bool(extra.get("replace")),
        str(extra.get("env", "")),
        # DevStream wrote its options in several spellings; all of them are accepted.
        frozenset(map(fold_name, (entry.name, entry.encode_name, *extra.get("aliases", ())))),
    )


def fold_name(name: str) -> str:
    """Drop case and underscores: `image_repo` and `imageRepo`, `baseUrl` and `baseURL` are one."""
    return name.replace("_", "").lower()


def get_by_spelling(written: Mapping[str, Value], key: str) -> Value:
    """Look a key up under any of its spellings; None if it is absent."""
    return next((item for name, item in written.items() if fold_name(name) == fold_name(key)), None)


@cache
def replace_paths(struct: type[msgspec.Struct]) -> frozenset[tuple[str, ...]]:
    """Collect the paths of the options whose change forces replacement.

    Paths hold canonical names; "*" stands for any list item or map value.
    """
    return frozenset(_marked(struct, "replace"))


@cache
def secret_paths(struct: type[msgspec.Struct]) -> frozenset[tuple[str, ...]]:
    """Collect the paths of the options that are secret, spelled as in `replace_paths`."""
    return frozenset(_marked(struct, "secret"))


@cache
def has_secret_or_env(struct: type[msgspec.Struct]) -> bool:
    """Tell if some field is secret or has an environment variable to fall back on."""
    return bool(secret_paths(struct)) or any(_marked(struct, "env"))


@cache
def has_own_rules(struct: type[msgspec.Struct]) -> bool:
    """Tell if the Struct, or one inside it, has rules of its own (`__post_init__`)."""
    inner = [cls for option in describe_options(struct) for cls, _ in _structs(option.shape, ())]
    return hasattr(struct, "__post_init__") or any(map(has_own_rules, inner))


def _marked(
    struct: type[msgspec.Struct], mark: str, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    for option in describe_options(struct):
        here = (*path, option.key)
        if getattr(option, mark):
            yield here
        for inner, below in _structs(option.shape, here):
            yield from _marked(inner, mark, below)


def _structs(
    shape: shapes.Type, path: tuple[str, ...]
) -> Iterator[tuple[type[msgspec.Struct], tuple[str, ...]]]:
    for member in union_members(shape):
        if isinstance(member, shapes.StructType):
            yield member.cls, path
        elif isinstance(member, shapes.ListType):
            yield from _structs(member.item_type, (*path, "*"))
        elif isinstance(member, shapes.DictType):
            yield from _structs(member.value_type, (*path, "*"))


def union_members(shape: shapes.Type) -> Sequence[shapes.Type]:
    """List the alternatives of a declared type, without their annotations."""
    while isinstance(shape, shapes.Metadata):
        shape = shape.type
    return (
        [inner for member in shape.types for inner in union_members(member)]
        if isinstance(shape, shapes.UnionType)
        else [shape]
    )


def accepts_type(shape: shapes.Type, kind: type[shapes.Type]) -> bool:
    """Tell if a declared type takes values of a kind (`shapes.StrType`, `shapes.NoneType`)."""
    return any(isinstance(member, kind | shapes.AnyType) for member in union_members(shape))


def is_of_type(member: shapes.Type, value: Value) -> bool:
    """Tell if a scalar is of a type, its limits aside."""
    match member:
        case shapes.StrType():
            return isinstance(value, str)
        case shapes.BoolType():
            return isinstance(value, bool)
        case shapes.IntType():
            # bool is a subclass of int in Python: `replicas: true` must not become 1.
            return isinstance(value, int) and not isinstance(value, bool)
        case shapes.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case shapes.NoneType():
            return value is None
        case shapes.LiteralType() | shapes.EnumType():
            return any(
                value == choice and type(value) is type(choice) for choice in allowed_values(member)
            )
        case _:
            return False


def allowed_values(member: shapes.Type) -> Sequence[Value]:
    """List the values that a closed type allows."""
    match member:
        case shapes.LiteralType():
            return member.values
        case shapes.EnumType():
            return [choice.value for choice in member.cls]
        case _:
            return ()


def describe_type(shape: shapes.Type) -> str:
    """Put a declared type into words: "text or a list"."""
    words = [
        _expected(member)
        for member in union_members(shape)
        if not isinstance(member, shapes.NoneType)
    ]
    return " or ".join(dict.fromkeys(words))


def _expected(member: shapes.Type) -> str:
    if allowed := allowed_values(member):
        return ("one of " if len(allowed) > 1 else "") + ", ".join(
            f'"{choice}"' for choice in allowed
        )
    names: dict[type[shapes.Type], str] = {
        shapes.StrType: "text",
        shapes.BoolType: "true or false",
        shapes.IntType: "an integer",
        shapes.FloatType: "a number",
        shapes.ListType: "a list",
        shapes.DictType: "a map",
        shapes.StructType: "a map",
    }
    return names.get(type(member), "something else")


def find_broken_limit(member: shapes.Type, value: Value) -> str:
    """Say which limit of its type a value breaks; "" if none."""
    match member:
        case shapes.StrType() if isinstance(value, str):
            if member.pattern is not None and not re.search(member.pattern, value):
                return f"must match {member.pattern}"
            return _length(len(value), member.min_length, member.max_length, "characters")
        case shapes.ListType() | shapes.DictType() if isinstance(value, list | dict):
            return _length(len(value), member.min_length, member.max_length, "items")
        case shapes.IntType() | shapes.FloatType() if isinstance(value, int | float):
            return _bounds(member, value)
        case _:
            return ""


def _length(count: int, least: int | None, most: int | None, unit: str) -> str:
    if least is not None and count < least:
        return (
            "must not be empty" if least == 1 else f"must have at least {least} {unit}, not {count}"
        )
    return (
        f"must have at most {most} {unit}, not {count}" if most is not None and count > most else ""
    )


def _bounds(member: shapes.IntType | shapes.FloatType, value: float) -> str:
    if member.ge is not None and value < member.ge:
        return f"must be at least {member.ge}"
    if member.gt is not None and value <= member.gt:
        return f"must be more than {member.gt}"
    if member.le is not None and value > member.le:
        return f"must be at most {member.le}"
    return f"must be less than {member.lt}" if member.lt is not None and value >= member.lt else ""


@cache
def type_at_path(struct: type[msgspec.Struct], path: ValuePath) -> shapes.Type | None:
    """Find the declared type at a canonical path; None where none is declared."""
    shape: shapes.Type = shapes.type_info(struct)
    for step in path:
        below = [found for member in union_members(shape) if (found := _below(member, step))]
        if not below:
            return None
        shape = below[0]
    return shape


def _below(member: shapes.Type, step: str | int) -> shapes.Type | None:
    match member:
        case shapes.StructType():
            return next(
                (option.shape for option in describe_options(member.cls) if option.key == step),
                None,
            )
        case shapes.DictType():
            return member.value_type
        case shapes.ListType():
            return member.item_type
        case _:
            return None


def is_assignable(wanted: shapes.Type, given: shapes.Type) -> bool:
    """Tell if a value of type `given` may become one of `wanted`: text takes every scalar."""
    return any(
        _takes(member, other) for member in union_members(wanted) for other in union_members(given)
    )


def _takes(wanted: shapes.Type, given: shapes.Type) -> bool:
    match wanted, given:
        case (shapes.AnyType(), _) | (_, shapes.AnyType()):
            return True
        case shapes.DictType() | shapes.StructType(), _:
            return isinstance(given, shapes.DictType | shapes.StructType)
        case shapes.ListType(), _:
            return isinstance(given, shapes.ListType)
        case ((shapes.BoolType() | shapes.IntType() | shapes.NoneType()), _):
            return isinstance(given, type(wanted))
        case shapes.FloatType(), _:
            return isinstance(given, shapes.FloatType | shapes.IntType)
        case _:
            return not isinstance(
                given, shapes.DictType | shapes.StructType | shapes.ListType | shapes.NoneType
            )
