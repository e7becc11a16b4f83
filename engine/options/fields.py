"""The fields of an options Struct: their names, types, marks and limits.

An example:

    describe_options(FileOptions)[0].key  # "path"
    secret_paths(CommandOptions)  # frozenset({("env", "*")})
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import msgspec.inspect as shapes

from engine.values import Value, ValuePath


class Option(msgspec.Struct, frozen=True):
    """One field of an options Struct.

    `field` is its name in Python, `key` its canonical name. `spellings` are all accepted names, as
    `fold_name` returns them. `env` is the environment variable that is used if
    the option is absent.
    """

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
    """Return the fields of a Struct, with the marks of `schema.Field`."""
    found = shapes.type_info(struct)
    assert isinstance(found, shapes.StructType)
    return tuple(_option(entry) for entry in found.fields)


@cache
def options_by_spelling(struct: type[msgspec.Struct]) -> dict[str, Option]:
    """Return the fields of a Struct by each of their folded spellings."""
    return {
        spelling: option for option in describe_options(struct) for spelling in option.spellings
    }


def _option(entry: shapes.Field) -> Option:
    # Only types that are annotated with schema.Field have an `extra`.
    extra: dict[str, Any] = getattr(entry.type, "extra", None) or {}
    return Option(
        entry.name,
        entry.encode_name,
        entry.type,
        entry.required,
        bool(extra.get("secret")),
        bool(extra.get("replace")),
        str(extra.get("env", "")),
        # Versions of DevStream spelled their options differently. All spellings are accepted.
        frozenset(map(fold_name, (entry.name, entry.encode_name, *extra.get("aliases", ())))),
    )


def fold_name(name: str) -> str:
    """Remove case and underscores, so that `image_repo`, `imageRepo` and `imageREPO` are equal."""
    return name.replace("_", "").lower()


def get_by_spelling(written: Mapping[str, Value], key: str) -> Value:
    """Return the value of a key in any spelling, None if it is absent."""
    return next((item for name, item in written.items() if fold_name(name) == fold_name(key)), None)


@cache
def replace_paths(struct: type[msgspec.Struct]) -> frozenset[tuple[str, ...]]:
    """Return the paths of the options whose change replaces the resource.

    Paths consist of canonical names; "*" matches any list item and any map value.
    """
    return frozenset(_marked_paths(struct, "replace"))


@cache
def secret_paths(struct: type[msgspec.Struct]) -> frozenset[tuple[str, ...]]:
    """Return the paths of the secret options, in the form of `replace_paths`."""
    return frozenset(_marked_paths(struct, "secret"))


@cache
def has_secret_or_env(struct: type[msgspec.Struct]) -> bool:
    """Return whether a field is secret or has an environment variable as its default."""
    return bool(secret_paths(struct)) or any(_marked_paths(struct, "env"))


@cache
def has_own_rules(struct: type[msgspec.Struct]) -> bool:
    """Return whether the Struct, or one inside it, has its own checks (`__post_init__`).

    To run these checks, the Struct must be built.
    """
    inner = [
        cls for option in describe_options(struct) for cls, _ in _inner_structs(option.shape, ())
    ]
    return hasattr(struct, "__post_init__") or any(map(has_own_rules, inner))


def _marked_paths(
    struct: type[msgspec.Struct], mark: str, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    for option in describe_options(struct):
        here = (*path, option.key)
        if getattr(option, mark):
            yield here
        for inner, below in _inner_structs(option.shape, here):
            yield from _marked_paths(inner, mark, below)


def _inner_structs(
    shape: shapes.Type, path: tuple[str, ...]
) -> Iterator[tuple[type[msgspec.Struct], tuple[str, ...]]]:
    for member in union_members(shape):
        if isinstance(member, shapes.StructType):
            yield member.cls, path
        elif isinstance(member, shapes.ListType):
            yield from _inner_structs(member.item_type, (*path, "*"))
        elif isinstance(member, shapes.DictType):
            yield from _inner_structs(member.value_type, (*path, "*"))


def union_members(shape: shapes.Type) -> Sequence[shapes.Type]:
    """Return the members of a union type without annotations; for other types the type itself."""
    # A type that is annotated twice is wrapped twice.
    while isinstance(shape, shapes.Metadata):
        shape = shape.type
    return (
        [inner for member in shape.types for inner in union_members(member)]
        if isinstance(shape, shapes.UnionType)
        else [shape]
    )


def accepts_type(shape: shapes.Type, kind: type[shapes.Type]) -> bool:
    """Return whether a declared type accepts values of a kind, such as `shapes.StrType`."""
    return any(isinstance(member, kind | shapes.AnyType) for member in union_members(shape))


def is_of_type(member: shapes.Type, value: Value) -> bool:
    """Return whether a scalar has a type; the limits of the type are not checked."""
    match member:
        case shapes.StrType():
            return isinstance(value, str)
        case shapes.BoolType():
            return isinstance(value, bool)
        case shapes.IntType():
            # In Python, bool is a subclass of int: `replicas: true` must not become 1.
            return isinstance(value, int) and not isinstance(value, bool)
        case shapes.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case shapes.NoneType():
            return value is None
        case shapes.LiteralType() | shapes.EnumType():
            # The type counts as well: in Python, True == 1.
            return any(
                value == choice and type(value) is type(choice) for choice in allowed_values(member)
            )
        case _:
            return False


def allowed_values(member: shapes.Type) -> Sequence[Value]:
    """Return the values that an enumeration or a literal type allows."""
    match member:
        case shapes.LiteralType():
            return member.values
        case shapes.EnumType():
            return [choice.value for choice in member.cls]
        case _:
            return ()


def describe_type(shape: shapes.Type) -> str:
    """Describe a declared type in words, such as "text or a list"."""
    words = [
        _describe_member(member)
        for member in union_members(shape)
        if not isinstance(member, shapes.NoneType)
    ]
    return " or ".join(dict.fromkeys(words))


def _describe_member(member: shapes.Type) -> str:
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
    """Describe the first limit of a type that a value breaks; return "" if it breaks none."""
    match member:
        case shapes.StrType() if isinstance(value, str):
            if member.pattern is not None and not re.search(member.pattern, value):
                return f"must match {member.pattern}"
            return _check_length(len(value), member.min_length, member.max_length, "characters")
        case shapes.ListType() | shapes.DictType() if isinstance(value, list | dict):
            return _check_length(len(value), member.min_length, member.max_length, "items")
        case shapes.IntType() | shapes.FloatType() if isinstance(value, int | float):
            return _check_bounds(member, value)
        case _:
            return ""


def _check_length(count: int, minimum: int | None, maximum: int | None, unit: str) -> str:
    if minimum is not None and count < minimum:
        return (
            "must not be empty"
            if minimum == 1
            else f"must have at least {minimum} {unit}, not {count}"
        )
    return (
        f"must have at most {maximum} {unit}, not {count}"
        if maximum is not None and count > maximum
        else ""
    )


def _check_bounds(member: shapes.IntType | shapes.FloatType, value: float) -> str:
    if member.ge is not None and value < member.ge:
        return f"must be at least {member.ge}"
    if member.gt is not None and value <= member.gt:
        return f"must be more than {member.gt}"
    if member.le is not None and value > member.le:
        return f"must be at most {member.le}"
    return f"must be less than {member.lt}" if member.lt is not None and value >= member.lt else ""


@cache
def type_at_path(struct: type[msgspec.Struct], path: ValuePath) -> shapes.Type | None:
    """Return the declared type at a path of canonical names, None if none is declared."""
    shape: shapes.Type = shapes.type_info(struct)
    for step in path:
        below = [found for member in union_members(shape) if (found := _inner_type(member, step))]
        if not below:
            return None
        shape = below[0]
    return shape


def _inner_type(member: shapes.Type, step: str | int) -> shapes.Type | None:
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
    """Return whether type `given` can be used for `wanted`; text accepts every scalar type."""
    return any(
        _accepts_member(member, other)
        for member in union_members(wanted)
        for other in union_members(given)
    )


def _accepts_member(wanted: shapes.Type, given: shapes.Type) -> bool:
    match wanted, given:
        case (shapes.AnyType(), _) | (_, shapes.AnyType()):
            return True
        case shapes.DictType() | shapes.StructType(), _:
            return isinstance(given, shapes.DictType | shapes.StructType)
        case shapes.ListType(), _:
            return isinstance(given, shapes.ListType)
        # Nothing becomes a number or a boolean by itself: text "80" for a port is a mistake.
        case ((shapes.BoolType() | shapes.IntType() | shapes.NoneType()), _):
            return isinstance(given, type(wanted))
        case shapes.FloatType(), _:
            return isinstance(given, shapes.FloatType | shapes.IntType)
        case _:
            return not isinstance(
                given, shapes.DictType | shapes.StructType | shapes.ListType | shapes.NoneType
            )
