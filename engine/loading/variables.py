"""The rendering of values: `[[ name ]]` and `[[ env NAME ]]` are replaced by their values.

A value from the environment, and a variable declared sensitive, becomes a Secret here. A text that
contains a Secret becomes a Secret, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
import msgspec.inspect as shapes
from msgspec.structs import replace

from engine.language import references, scalars, yaml
from engine.language.expressions import (
    DOTTED,
    NAME,
    Expression,
    RawValue,
    TemplateKey,
    TextTemplate,
)
from engine.language.references import Interpolation, Reference
from engine.language.scalars import Literal
from engine.loading.problems import Report
from engine.options.decode import decode_option
from engine.suggestions import suggest
from engine.values import (
    UNKNOWN,
    Deferred,
    Secret,
    Unknown,
    Value,
    collect_sources,
    find_leaves,
    is_plain,
    map_leaves,
    reveal,
)

_NAME: Final = re.compile(rf"\.?({DOTTED})")
_CALL: Final = re.compile(rf"({NAME})\s+(.*)")
_ENV_NAME: Final = re.compile(r"""(\\?["']|)([A-Za-z_]\w*)\1""")
_DEFAULT: Final = re.compile(r"\s*default\s*:\s*(.*)")
_QUOTED: Final = re.compile(r"""(\\?["'])(.*)\1""")
_TYPES: Final[Mapping[str, shapes.Type]] = {
    "string": shapes.StrType(),
    "number": shapes.FloatType(),
    "bool": shapes.BoolType(),
    "list": shapes.ListType(shapes.AnyType()),
    "map": shapes.DictType(shapes.StrType(), shapes.AnyType()),
}


def _nowhere() -> str:
    return ""


class Declaration(msgspec.Struct, frozen=True):
    """One entry of `variables:`. `validation` holds its rules under their canonical names."""

    type: str = "any"
    sensitive: bool = False
    description: str = ""
    validation: Mapping[str, Value] = {}
    where: Callable[[], str] = _nowhere


class Binding(msgspec.Struct, frozen=True):
    """A variable's value before rendering, and its place."""

    value: RawValue
    where: Callable[[], str] = _nowhere
    declared: Declaration = Declaration()


def bind_text(text: str, declared: Declaration, where: str) -> Binding:
    """Parse a value from the command line or the environment; `where` names its source.

    If the variable is declared as a string, the text is the value. If it is declared as a list or
    map, the text is parsed as YAML. Otherwise it is parsed as a scalar. Raises ConfigError.
    """
    # Without a declaration, `--var tag=[a` is a text that begins with a bracket, not broken YAML.
    if declared.type == "string":
        value: RawValue = text
    elif declared.type in ("list", "map"):
        value = next(iter(yaml.parse(where, text).documents), None)
    else:
        value = scalars.read(text)
    return Binding(value, lambda: where, declared)


class _VariableUse(msgspec.Struct, frozen=True):
    """One expression that uses a variable. `optional`: it has a `default`, even an empty one."""

    expression: Expression
    optional: bool
    default: Value


class Scope(msgspec.Struct):
    """The variables that expressions can use. Each is rendered at its first use.

    A name is looked up in `before` (variables of a pipeline step), then in `bindings`, then in
    `after` (the `spec` of an app).

        scope = Scope({"name": Binding("web")}, os.environ, report)
        scope.render(value)  # "[[ name ]]/x" becomes "web/x"
    """

    bindings: Mapping[str, Binding]
    env: Mapping[str, str]
    report: Report
    before: Mapping[str, Value] = {}
    after: Mapping[str, Value] = {}
    _rendered: dict[str, Value] = {}
    _in_progress: list[str] = []

    def nested(self, before: Mapping[str, Value], after: Mapping[str, Value]) -> Scope:
        """Return a scope with the same bindings and other `before` and `after` variables."""
        # `_rendered` is shared: a variable that many apps use is rendered and reported once.
        return Scope(self.bindings, self.env, self.report, before, after, self._rendered)

    def render(self, value: RawValue) -> Value:
        """Replace every expression in a value. An invalid one is reported and becomes UNKNOWN."""
        match value:
            case str() | None:
                return value
            case dict():
                return self._render_map(value)
            case list():
                return [self.render(item) for item in value]
            case TextTemplate():
                return self._render_template(value)
            case _:
                return value

    def _render_map(self, value: dict[str, RawValue]) -> Value:
        rendered: dict[str, Value] = {}
        for key, item in value.items():
            name = self._render_key(key) if isinstance(key, TemplateKey) else key
            if name in rendered and isinstance(key, TemplateKey):
                message = f'key "{name}" is given twice: it is the value of {key}'
                self._report_at(key.template, message)
            rendered[name] = self.render(item)
        return rendered

    def _render_key(self, key: TemplateKey) -> str:
        value = self._render_template(key.template)
        if isinstance(value, str | bool | int | float | Literal):
            return scalars.to_text(value)
        if not isinstance(value, Unknown):
            problem = (
                "is a secret"
                if isinstance(value, Secret)
                else "is known only after apply"
                if isinstance(value, Deferred)
                else "is not text"
            )
            self._report_at(key.template, f"{key} cannot be used as a key: its value {problem}")
        return str(key)

    def _report_at(self, template: TextTemplate, message: str, hint: str = "") -> None:
        first = next(part for part in template.parts if isinstance(part, Expression))
        self.report.add(first.where, message, hint)

    def _render_template(self, template: TextTemplate) -> Value:
        values = [part if isinstance(part, str) else self.evaluate(part) for part in template.parts]
        # A single expression keeps the type of its value. In a longer text it becomes text.
        if len(values) == 1:
            return values[0]
        # The invalid expression is reported already. One message is enough.
        if find_leaves(reveal(values), Unknown):
            return UNKNOWN
        pieces = [
            piece
            for part, value in zip(template.parts, values, strict=True)
            for piece in self._pieces(part, value)
        ]
        if any(isinstance(piece, Unknown) for piece in pieces):
            return UNKNOWN
        known = [piece for piece in pieces if isinstance(piece, str | Secret | Reference)]
        if any(isinstance(piece, Reference) for piece in known):
            return Interpolation(tuple(known))
        return references.join_parts(
            [piece for piece in known if not isinstance(piece, Reference)], str(template)
        )

    def _pieces(
        self, part: str | Expression, value: Value
    ) -> Sequence[str | Secret | Reference | Unknown]:
        """Return the pieces that a value contributes to a longer text."""
        match value:
            case Interpolation():
                return value.parts
            case Secret():
                # Each piece keeps the sources of the secret, so that dtm can look it up alone.
                inner = self._pieces(part, value.value)
                return [
                    replace(value, value=piece) if isinstance(piece, str) else piece
                    for piece in inner
                ]
            case Reference() | Unknown():
                return [value]
            case str() | bool() | int() | float() | Literal():
                return [scalars.to_text(value)]
            case dict() | list() if not references.referenced_addresses(value):
                return [
                    references.join_parts(
                        [map_leaves(value, scalars.unwrap_literal)],
                        part if isinstance(part, str) else part.text,
                    )
                ]
            case _:
                assert isinstance(part, Expression)  # a part that is not an expression is text
                problem, hint = (
                    ("is null", "set it to a text or a number")
                    if value is None
                    else ("contains ${{ }}", f"use {part.text} alone as the value")
                )
                message = f"{part.text} cannot be part of a text: its value {problem}"
                self.report.add(part.where, message, hint)
                return [UNKNOWN]

    def evaluate(self, expression: Expression) -> Value:
        """Evaluate one expression.

        `${{ }}` that is not a reference belongs to another program, such as GitHub Actions: it is
        kept as text.
        """
        if expression.text.startswith("$"):
            reference = references.parse(expression.text[3:-2])
            return expression.text if reference is None else reference
        head, bar, tail = expression.text[2:-2].strip().partition("|")
        default = _DEFAULT.fullmatch(tail)
        if bar and not default:
            return self._report_invalid(
                expression,
                f'unknown filter "{tail.strip()}" in {expression.text}',
                "the only filter is default, as in [[ name | default: value ]]",
            )
        use = _VariableUse(
            expression, bool(default), _parse_default(default[1].strip()) if default else None
        )
        if name := _NAME.fullmatch(head.strip()):
            return self._variable(name[1], use)
        call = _CALL.fullmatch(head.strip())
        if not call or call[1] != "env":
            problem = f'unknown function "{call[1]}" in' if call else "invalid expression"
            return self._report_invalid(
                expression,
                f"{problem} {expression.text}",
                "write [[ name ]], [[ env NAME ]] or [[ name | default: value ]]",
            )
        return self._environment(call[2].strip(), use)

    def _report_invalid(self, expression: Expression, message: str, hint: str = "") -> Unknown:
        self.report.add(expression.where, message, hint)
        return UNKNOWN

    def _environment(self, argument: str, use: _VariableUse) -> Value:
        name = _ENV_NAME.fullmatch(argument)
        if not name:
            message = f'"{argument}" is not a valid name of an environment variable'
            return self._report_invalid(use.expression, message)
        variable = f"environment variable {name[2]}"
        # Empty counts as not set: CI systems pass a secret that does not exist as an empty text.
        if text := self.env.get(name[2]):
            if not _is_encodable(text):
                return self._report_invalid(use.expression, f"{variable} is not valid UTF-8")
            return Secret(text, (f"env {name[2]}",))
        if use.optional:
            return use.default
        problem = "is empty" if name[2] in self.env else "is not set"
        return self._report_invalid(
            use.expression, f"{variable} {problem}", f"export {name[2]}=..."
        )

    def _variable(self, dotted: str, use: _VariableUse) -> Value:
        name, *path = dotted.split(".")
        if name in self.before:
            value = self.before[name]
        elif name in self.bindings:
            value = self.value(name, use.expression)
        elif name in self.after:
            value = self.after[name]
        elif use.optional:
            return use.default
        else:
            hint = suggest(name, [*self.before, *self.bindings, *self.after], few=0)
            return self._report_invalid(
                use.expression,
                f'variable "{name}" is not defined',
                hint or f"define it under vars: or with --var {name}=...",
            )
        return self._value_at(value, path, dotted, use)

    def _value_at(self, value: Value, path: list[str], name: str, use: _VariableUse) -> Value:
        """Return the value at a path inside a variable. Inside a secret, it is a Secret, too."""
        secrets: list[Secret] = []
        for index, step in enumerate(path):
            # A value inside a secret is a secret, too: the secrets on the way are collected.
            if isinstance(value, Secret):
                secrets.append(_extend_sources(value, path[index:]))
                value = value.value
            if isinstance(value, Unknown):
                return UNKNOWN
            entries = _items_by_name(value)
            if step in entries:
                value = entries[step]
            elif use.optional:
                return use.default
            else:
                parent = ".".join(name.split(".")[: index + 1])
                message = f'variable "{parent}" has no entry "{step}"'
                return self._report_invalid(use.expression, message, suggest(step, list(entries)))
        if isinstance(value, Secret):
            if not secrets and is_plain(value.value):
                return value  # returned unchanged, to keep its parts and sources
            secrets.append(value)
            value = value.value
        return _merge_secrets(value, reversed(secrets)) if secrets else value

    def value(self, name: str, expression: Expression | None = None) -> Value:
        """Render a variable's own value and check it against its declaration."""
        if name in self._rendered:
            return self._rendered[name]
        # Without this check, a cycle would end in a RecursionError that names no variable.
        if name in self._in_progress:
            cycle = " → ".join([*self._in_progress[self._in_progress.index(name) :], name])
            assert expression is not None  # only an expression of another variable leads back here
            message = f'variable "{name}" uses itself: {cycle}'
            return self._report_invalid(expression, message, "remove one of these uses")
        binding = self.bindings[name]
        self._in_progress.append(name)
        value = self._check_value(name, Scope.render(self.global_scope, binding.value), binding)
        self._in_progress.pop()
        self._rendered[name] = value
        return value

    @property
    def global_scope(self) -> Scope:
        """The scope for the values of variables: without the variables of steps and apps."""
        # Both are shared, so that each variable is rendered once and cycles are found.
        return Scope(
            self.bindings,
            self.env,
            self.report,
            _rendered=self._rendered,
            _in_progress=self._in_progress,
        )

    def _check_value(self, name: str, value: Value, binding: Binding) -> Value:
        """Convert a value to its declared type, check its rules and mark it if it is sensitive."""
        declared = binding.declared
        if declared.type != "any":
            value, faults = decode_option(value, _TYPES[declared.type], (name,), "variable")
            for fault in faults:
                self.report.add(binding.where(), fault.message, fault.hint)
        # Checked after the conversion: `min` compares a number, not the length of its text.
        problem = _describe_violation(reveal(value), declared.validation)
        if problem:
            # A secret must not be printed, not even in the message about it.
            shown = (
                ""
                if declared.sensitive or isinstance(value, Secret)
                else f" ({references.to_json(value)})"
            )
            self.report.add(binding.where(), f'variable "{name}"{shown} {problem}')
        if declared.sensitive and references.referenced_addresses(value):
            self.report.add(
                binding.where(),
                f'variable "{name}" is sensitive and cannot use ${{{{ }}}}',
                "use the reference in the options of the tool instead of the variable",
            )
        return Secret(value, (f"var {name}",)) if declared.sensitive else value


def _extend_sources(outer: Secret, path: Sequence[str]) -> Secret:
    """Extend the sources of a sensitive variable by a path inside it."""
    deeper = (
        ".".join([source, *path]) if source.startswith("var ") else source
        for source in outer.sources
    )
    return replace(outer, sources=tuple(deeper))


def _merge_secrets(value: Value, around: Iterable[Secret]) -> Secret:
    """Return the value as one Secret, with the sources of all secrets inside and around it."""
    return Secret(reveal(value), collect_sources([*find_leaves(value, Secret), *around]))


def _items_by_name(value: Value) -> Mapping[str, Value]:
    """Return the items that a dotted name can select: by key in a map, by index in a list."""
    match value:
        case dict():
            return value
        case list():
            return {str(index): item for index, item in enumerate(value)}
        case _:
            return {}


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _parse_default(text: str) -> Value:
    quoted = _QUOTED.fullmatch(text)
    return quoted[2] if quoted else scalars.read(text)


def _describe_violation(value: Value, rules: Mapping[str, Value]) -> str:
    """Describe the rule that a value breaks; "" if none, or if the value is not known yet."""
    plain = scalars.unwrap_literal(value)
    broken = (
        "" if not rules or isinstance(plain, Unknown | Deferred) else _broken_rule(plain, rules)
    )
    return str(rules["message"]) if broken and "message" in rules else broken


def _broken_rule(value: Value, rules: Mapping[str, Value]) -> str:
    pattern, choices = rules.get("pattern"), rules.get("oneOf")
    if isinstance(pattern, str) and not re.search(
        pattern, value if isinstance(value, str) else references.to_json(value)
    ):
        return f"must match {pattern}"
    if isinstance(choices, list) and value not in choices:
        return f"must be one of {', '.join(references.to_json(choice) for choice in choices)}"
    return _out_of_bounds(value, rules.get("min"), rules.get("max"))


def _out_of_bounds(value: Value, least: Value, most: Value) -> str:
    size, what = (
        (len(value), "have a length of") if isinstance(value, str | list | dict) else (value, "be")
    )
    if not isinstance(size, int | float):
        return ""
    if isinstance(least, int | float) and size < least:
        return f"must {what} at least {least:g}"
    return f"must {what} at most {most:g}" if isinstance(most, int | float) and size > most else ""
