"""Decoding of options by the Struct of their plugin, and building of that Struct.

msgspec stops at its first error, and it knows neither secrets nor values that wait for another
tool. So `decode` checks a Struct field by field and finds every fault. For a
Struct without secrets and environment variables it first tries msgspec's own conversion, which is
many times faster.

    values, faults = decode({"path": "a.txt"}, FileOptions, env=os.environ)
    options = build(values, FileOptions)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
import msgspec.inspect as shapes
from msgspec.structs import replace

from engine.errors import ConfigError, Problem
from engine.language.expressions import RawValue
from engine.language.references import Interpolation
from engine.language.scalars import Literal, read, to_text, unwrap_literal
from engine.options import fields as declared
from engine.options.fields import Option
from engine.suggestions import find_similar, suggest
from engine.values import (
    HIDDEN,
    UNKNOWN,
    Attributes,
    Deferred,
    Digest,
    Secret,
    Unknown,
    UnknownValueError,
    Value,
    ValuePath,
    is_plain,
    map_leaves,
)

O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - the options Struct of a provider
_LEADING_ZERO: Final = re.compile(r"[-+]?0\d+")
_MAX_SHOWN: Final = 40


class OptionFault(msgspec.Struct, frozen=True):
    """One problem of an option.

    `path` leads to the option, in the spelling of the user. `key`: the key is wrong, not its value.
    """

    path: ValuePath
    message: str
    hint: str = ""
    key: bool = False


def decode(
    raw: Mapping[str, RawValue],
    struct: type[msgspec.Struct],
    *,
    env: Mapping[str, str],
    has_no_literals: bool = False,
    noun: str = "option",
) -> tuple[Attributes, list[OptionFault]]:
    """Decode options by a Struct; return the values and all faults.

    The values have canonical names and declared types. Secrets are wrapped, and absent options are
    read from `env`. `has_no_literals`: the caller knows that `raw` contains no Literal, so that
    msgspec alone may decode it. `noun` is the word that messages use for an option,
    such as "key".
    """
    # msgspec alone is many times faster, but cannot mark secrets or read environment variables.
    if has_no_literals and not declared.has_secret_or_env(struct) and _is_convertible(raw, struct):
        return raw, []
    decoder = _Decoder(env, noun=noun)
    values = decoder.decode_struct(raw, struct, ())
    # The Struct's own checks may rely on the declared types, so they need values without faults.
    return values, decoder.faults or _run_own_checks(values, struct)


def canonicalize(options: Attributes, struct: type[msgspec.Struct]) -> Attributes:
    """Decode options as `decode` does, but ignore faults and keep unknown keys.

    This is for options in the state, which another version of dtm or DevStream may have recorded.
    """
    return _Decoder({}, tolerant=True).decode_struct(options, struct, ())


def build(options: Attributes, struct: type[O]) -> O:
    """Build the Struct that a provider gets, with secrets revealed.

    Deferred values and digests become UNKNOWN. Unknown keys are dropped. Raises ConfigError with
    all faults if the options do not match the Struct.
    """
    usable = options if is_plain(options) else _revealed_map(options)
    try:
        # The usual case: the options were checked when the config was loaded.
        return msgspec.convert(usable, struct)
    except (msgspec.ValidationError, UnknownValueError):
        decoder = _Decoder({}, tolerant=True)
        values = decoder.decode_struct(usable, struct, ())
    if not decoder.faults:
        try:
            return _construct(values, struct)
        except UnknownValueError:
            # A subclass of ValueError, but not a fault: the caller handles values not known yet.
            raise
        except (ValueError, TypeError) as error:
            decoder.faults.append(OptionFault((), str(error)))
    raise ConfigError(tuple(Problem("", fault.message, fault.hint) for fault in decoder.faults))


def decode_option(
    raw: RawValue, shape: shapes.Type, path: ValuePath, noun: str
) -> tuple[Value, list[OptionFault]]:
    """Decode one value by a declared type; `noun` and `path` name it in faults."""
    decoder = _Decoder({}, noun=noun)
    return decoder.decode_value(raw, shape, path), decoder.faults


def format_path(path: ValuePath) -> str:
    """Format a path for messages, such as `repos[0].url`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _is_convertible(raw: Mapping[str, RawValue], struct: type[msgspec.Struct]) -> bool:
    try:
        msgspec.convert(raw, struct)
    except (msgspec.ValidationError, UnknownValueError):
        return False
    return True


def _run_own_checks(values: Attributes, struct: type[msgspec.Struct]) -> list[OptionFault]:
    """Run the Struct's own checks (`__post_init__`), unless they need an unknown value."""
    if declared.has_own_rules(struct):
        try:
            _construct(_revealed_map(values), struct)
        except UnknownValueError:
            # The check runs again at apply, with the real values.
            return []
        except (ValueError, TypeError) as error:
            return [OptionFault((), str(error))]
    return []


def _revealed_map(values: Attributes) -> dict[str, Value]:
    return {key: map_leaves(value, _reveal_leaf) for key, value in values.items()}


def _reveal_leaf(leaf: Value) -> Value:
    match leaf:
        case Secret():
            return map_leaves(leaf.value, _reveal_leaf)
        case Deferred() | Digest():
            return UNKNOWN
        case _:
            return leaf


def _construct(values: Mapping[str, Value], struct: type[O]) -> O:
    fields = {
        option.field: _construct_field(values[option.key], option.shape)
        for option in declared.describe_options(struct)
        if option.key in values
    }
    return struct(**fields)


def _construct_field(value: Value, shape: shapes.Type) -> Any:
    for member in declared.union_members(shape):
        match member, value:
            case shapes.StructType(), dict():
                return _construct(value, member.cls)
            case shapes.DictType(), dict():
                return {
                    key: _construct_field(item, member.value_type) for key, item in value.items()
                }
            case shapes.ListType(), list():
                return [_construct_field(item, member.item_type) for item in value]
            case shapes.EnumType(), str() | int():
                return member.cls(value)
            case _, Secret():
                return _construct_field(value.value, shape)
            case _:
                continue
    return value


def _describe_value(raw: RawValue) -> str:
    match raw:
        case dict():
            return "a map"
        case list():
            return "a list"
        case str() | Interpolation():
            # A message must stay readable, even if the value is a whole file.
            text = str(raw)
            return f'"{text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."}"'
        case None:
            return "empty"
        case bool() | int() | float() | Literal():
            return to_text(raw)
        case _:
            return HIDDEN


def _bracket_hint(raw: RawValue) -> str:
    match raw:
        # `[ [ name ] ]` is a list in a list: the user probably wanted the variable.
        case [[str() as name]] if re.fullmatch(r"[\w.-]+", name):
            return f"to use the variable, write [[ {name} ]] with no space between the brackets"
        case _:
            return ""


class _Decoder(msgspec.Struct):
    """The decoding of the options of one tool.

    `tolerant`: keep unknown keys. `hidden`: the current value is part of a secret, so that faults
    must not show it.
    """

    env: Mapping[str, str]
    tolerant: bool = False
    noun: str = "option"
    hidden: bool = False
    faults: list[OptionFault] = []

    def decode_struct(
        self, raw: Mapping[str, RawValue], struct: type[msgspec.Struct], path: ValuePath
    ) -> dict[str, Value]:
        spellings = declared.options_by_spelling(struct)
        values: dict[str, Value] = {}
        seen: dict[str, str] = {}
        similar: set[str] = set()
        for key, item in raw.items():
            option = spellings.get(declared.fold_name(key))
            if option is None:
                similar.add(self._handle_unknown_key(key, item, struct, path, values))
            elif option.key in seen:
                self._report((*path, key), f'is already given as "{seen[option.key]}"', key=True)
            else:
                seen[option.key] = key
                self._decode_option(option, item, (*path, key), values)
        for option in declared.describe_options(struct):
            # A typo in a key is one problem: do not also report the similar option as missing.
            if option.key not in values and option.key not in similar:
                self._fill_absent(option, path, values, given=option.key in seen)
        return values

    def _report(self, path: ValuePath, message: str, hint: str = "", *, key: bool = False) -> None:
        self.faults.append(
            OptionFault(path, f'{self.noun} "{format_path(path)}" {message}', hint, key)
        )

    def _handle_unknown_key(
        self,
        key: str,
        raw: RawValue,
        struct: type[msgspec.Struct],
        path: ValuePath,
        values: dict[str, Value],
    ) -> str:
        """Report or keep an unknown key; return the option with a similar name, or ""."""
        if self.tolerant:
            # Another version of the plugin may know this key, so it is kept.
            values[key] = map_leaves(raw, unwrap_literal)
            return ""
        known = [option.key for option in declared.describe_options(struct)]
        self._report((*path, key), "is unknown", suggest(key, known), key=True)
        return find_similar(key, known)

    def _decode_option(
        self, option: Option, raw: RawValue, path: ValuePath, values: dict[str, Value]
    ) -> None:
        if raw is None and not declared.accepts_type(option.shape, shapes.NoneType):
            return  # an empty value counts as absent
        # Inside a secret option, faults show `(sensitive)` instead of values.
        outside, self.hidden = self.hidden, self.hidden or option.secret
        value = self.decode_value(raw, option.shape, path)
        self.hidden = outside
        if (
            option.secret
            and value is not None
            and not isinstance(value, Secret | Deferred | Unknown | Digest)
        ):
            value = Secret(value)
        values[option.key] = value

    def _fill_absent(
        self, option: Option, path: ValuePath, values: dict[str, Value], *, given: bool
    ) -> None:
        """Use the environment variable of an absent option, or report a missing option.

        `given`: the user wrote the key, but no value.
        """
        here = (*path, option.key)
        # An empty variable counts as absent: CI systems set a missing secret to "".
        if option.env and (text := self.env.get(option.env)):
            value = text if declared.accepts_type(option.shape, shapes.StrType) else read(text)
            self._decode_option(
                option,
                Secret(unwrap_literal(value), (f"env {option.env}",)) if option.secret else value,
                here,
                values,
            )
        elif option.required:
            hint = f"set it, or set the environment variable {option.env}" if option.env else ""
            self._report(here, "must not be empty" if given else "is required", hint)

    def decode_value(self, raw: RawValue, shape: shapes.Type, path: ValuePath) -> Value:
        """Decode a value by its declared type; report a value that does not match and keep it."""
        match raw:
            case Secret():
                # A fault inside must not show the value.
                outside, self.hidden = self.hidden, True
                inside = self.decode_value(raw.value, shape, path)
                self.hidden = outside
                return replace(raw, value=inside)
            # A text that contains references stays a text, whatever their outputs are.
            case Interpolation() if not declared.accepts_type(shape, shapes.StrType):
                return self._report_wrong_type(raw, shape, path)
            case dict() | list():
                return self._decode_container(raw, shape, path)
            case None | bool() | int() | float() | str() | Literal():
                return self._decode_scalar(raw, shape, path)
            case _:
                return raw

    def _decode_container(
        self, raw: dict[str, RawValue] | list[RawValue], shape: shapes.Type, path: ValuePath
    ) -> Value:
        for member in declared.union_members(shape):
            match member, raw:
                case shapes.AnyType(), _:
                    return self._decode_any(raw, path)
                case shapes.StructType(), dict():
                    return self.decode_struct(raw, member.cls, path)
                case shapes.DictType(), dict():
                    self._check_limits(member, raw, path)
                    return {
                        key: self.decode_value(item, member.value_type, (*path, key))
                        for key, item in raw.items()
                    }
                case shapes.ListType(), list():
                    self._check_limits(member, raw, path)
                    return [
                        self.decode_value(item, member.item_type, (*path, index))
                        for index, item in enumerate(raw)
                    ]
                case _:
                    continue
        return self._report_wrong_type(raw, shape, path)

    def _decode_any(self, raw: RawValue, path: ValuePath) -> Value:
        """Accept any value that JSON can represent."""
        match raw:
            case dict():
                return {key: self._decode_any(item, (*path, key)) for key, item in raw.items()}
            case list():
                return [self._decode_any(item, (*path, index)) for index, item in enumerate(raw)]
            case Literal() if not raw.is_storable:
                self._report(
                    path,
                    f"holds a number that cannot be stored: {self._redact(raw.text)}",
                    self._quotes_hint(raw.text),
                )
                return raw.text
            case _:
                return unwrap_literal(raw)

    def _decode_scalar(
        self, raw: None | bool | float | str | Literal, shape: shapes.Type, path: ValuePath
    ) -> Value:
        value = unwrap_literal(raw)
        for member in declared.union_members(shape):
            if isinstance(member, shapes.AnyType):
                return self._decode_any(raw, path)
            if declared.is_of_type(member, value):
                self._check_limits(member, value, path)
                return value
        # Try text only if no other member accepts the value: for `int | str`, 80 stays a number.
        text = "" if raw is None else to_text(raw)
        for member in declared.union_members(shape):
            if raw is not None and declared.is_of_type(member, text):
                return self._decode_text(member, text, path)
        return self._report_wrong_type(raw, shape, path)

    def _decode_text(self, member: shapes.Type, text: str, path: ValuePath) -> Value:
        """Accept a number or boolean, as the user wrote it, for an option of type text."""
        # YAML 1.1 reads `0644` as octal, YAML 1.2 as decimal: only the user knows what is intended.
        if _LEADING_ZERO.fullmatch(text):
            self._report(
                path,
                f"is text, but {self._redact(text)} without quotes is a number",
                self._quotes_hint(text),
            )
        else:
            self._check_limits(member, text, path)
        return text

    def _check_limits(self, member: shapes.Type, value: RawValue, path: ValuePath) -> None:
        if broken := declared.find_broken_limit(member, value):
            self._report(path, broken)

    def _report_wrong_type(self, raw: RawValue, shape: shapes.Type, path: ValuePath) -> Value:
        found = self._redact(_describe_value(raw))
        choices = [
            str(choice)
            for member in declared.union_members(shape)
            for choice in declared.allowed_values(member)
        ]
        similar = find_similar(raw, choices) if isinstance(raw, str) and choices else ""
        hint = f'check the spelling: "{similar}" is similar' if similar else _bracket_hint(raw)
        self._report(path, f"must be {declared.describe_type(shape)}, not {found}", hint)
        # Keep the wrong value, so that later checks do not also report the option as missing.
        return map_leaves(raw, unwrap_literal)

    def _redact(self, value: str) -> str:
        return HIDDEN if self.hidden else value

    def _quotes_hint(self, text: str) -> str:
        return "write it in quotes" + ("" if self.hidden else f': "{text}"')
