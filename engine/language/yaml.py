r"""The reference reader of YAML: PyYAML by the core schema of 1.2, with the place of every value.

PyYAML decides what a text means and where things stand. Most texts never reach it: `fast_yaml`
reads those that mean the same to both readers. Places are looked up only when a message needs one.

    text = parse("config.yaml", "a: [1, 1.10]\n")
    text.documents           # [{"a": [1, Literal(1.1, "1.10")]}]
    text.at(0, ("a", 1))     # "config.yaml:1:8"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.config import SourceLocation
from engine.errors import ConfigError, Problem
from engine.language import fast_yaml, scalars
from engine.language.expressions import RawValue, ScannedText, SourceText, replace_expressions
from engine.language.nesting import is_deep
from engine.values import ValuePath

_MAX_ALIASED: Final = 100_000
"""Nodes that aliases may add to a file: a "billion laughs" stops here."""
_PLAIN: Final = "plain"
_TAG: Final = "tag:yaml.org,2002:"
_RESOLVED: Final = frozenset(
    {_PLAIN, *(f"{_TAG}{name}" for name in ("int", "float", "bool", "null"))}
)


class ParsedFile(msgspec.Struct, eq=False, dict=True):
    """One parsed file.

    `documents` hold their values, None where one is empty; `literals`: some values are Literals.
    """

    source: SourceText
    scanned: ScannedText
    documents: list[RawValue]
    literals: bool
    _roots: list[Any] = []

    @cached_property
    def has_no_literals(self) -> bool:
        """True if no value of this file is a Literal, or can become one by rendering."""
        return not self.literals and not self.scanned.has_variables

    def places(self) -> Iterator[tuple[FilePlace, RawValue]]:
        """Yield every document with its place."""
        for index, document in enumerate(self.documents):
            yield FilePlace(self, index), document

    def at(self, document: int, path: ValuePath, *, key: bool = False) -> str:
        """Give `file:line:column` of a value, or of its key.

        What has no place of its own, a merged value for example, has that of the value around it.
        """
        if not self._roots:
            self._roots = list(_compose(self.scanned.text))
        return _spell(self.source.name, _find(self._roots[document], path, key=key))


class FilePlace(msgspec.Struct):
    """A value in a file; line and column are looked up when a message needs them.

    Not frozen: one is made per tool, and a frozen Struct takes longer to make.
    """

    text: ParsedFile
    document: int = 0
    path: ValuePath = ()

    def step(self, *steps: str | int) -> FilePlace:
        """Give the place of a value inside."""
        return FilePlace(self.text, self.document, (*self.path, *steps))

    def at(self, *steps: str | int, key: bool = False) -> str:
        """Give `file:line:column` of the value or of its key."""
        return self.text.at(self.document, (*self.path, *steps), key=key)

    @property
    def where(self) -> SourceLocation:
        """The place as the config keeps it."""
        return SourceLocation(self.text.source.name, self.document, self.path)


def parse(name: str, text: str) -> ParsedFile:
    """Parse a file's text; `name` is how messages call it.

    Raises ConfigError with the first syntax error, or with everything else that is wrong.
    """
    source = SourceText(name, text.removeprefix("\ufeff"))
    scanned = replace_expressions(source)
    documents, literals = fast_yaml.read(scanned.text), False
    if documents is None:
        reader = _Reader(name)
        documents, literals = reader.documents(scanned.text), reader.literals
    if scanned.expressions:
        documents = [scanned.restore(document) for document in documents]
    return ParsedFile(source, scanned, documents, literals)


def locate(where: SourceLocation, parsed: dict[str, ParsedFile] | None = None) -> str:
    """Read a file again and give `file:line:column` of a place in it.

    Gives only the file's name if it cannot be read any more. `parsed` keeps files between calls.
    """
    try:
        text = (parsed or {}).get(where.file) or parse(
            where.file, Path(where.file).read_text("utf-8")
        )
        if parsed is not None:
            parsed[where.file] = text
        return text.at(where.document, where.path)
    except (OSError, UnicodeDecodeError, ConfigError, IndexError):
        return where.file


def _spell(name: str, mark: Any) -> str:
    return f"{name}:{mark.line + 1}:{mark.column + 1}"


def _compose(text: str) -> Iterator[Any]:
    """Yield PyYAML's node of every document; plain scalars carry the tag "plain".

    Raises yaml.YAMLError, RecursionError.
    """
    import yaml

    # libyaml overflows its stack on deep nesting, which ends the process without an error.
    base = yaml.BaseLoader if is_deep(text) else getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    # One resolver that fits everything: its tag tells plain scalars from quoted ones.
    loader_class: Any = type(
        "_Loader", (base,), {"yaml_implicit_resolvers": {None: [(_PLAIN, re.compile(""))]}}
    )
    loader = loader_class(text)
    try:
        while loader.check_node():
            yield loader.get_node()
    finally:
        loader.dispose()


def _find(node: Any, path: ValuePath, *, key: bool) -> Any:
    """Find the mark of the value at `path`, or of its key."""
    mark = node.start_mark
    for step in path:
        entry = _child(node, step)
        if entry is None:
            return mark
        node = entry[1]
        mark = (
            entry[0].start_mark
            if key and step is path[-1] and entry[0] is not None
            else node.start_mark
        )
    return mark


def _child(node: Any, step: str | int) -> tuple[Any, Any] | None:
    """Find (key node or None, value node): the last of equal keys, then those of merged maps."""
    if node.id == "sequence":
        return (
            (None, node.value[step]) if isinstance(step, int) and step < len(node.value) else None
        )
    if node.id != "mapping":
        return None
    found = [(key, value) for key, value in node.value if key.id == "scalar" and key.value == step]
    for key, value in node.value:
        if not found and key.id == "scalar" and key.tag == _PLAIN and key.value == "<<":
            merged = value.value if value.id == "sequence" else [value]
            found = [entry for inner in merged if (entry := _child(inner, step))][:1]
    return found[-1] if found else None


class _Reader(msgspec.Struct):
    """Turns PyYAML's nodes into values and keeps every problem."""

    name: str
    literals: bool = False
    problems: list[Problem] = []
    _open: set[int] = msgspec.field(default_factory=set[int])
    _seen: set[int] = msgspec.field(default_factory=set[int])
    _aliased: int = 0

    def documents(self, text: str) -> list[RawValue]:
        """Read every document. Raises ConfigError."""
        import yaml

        try:
            documents = [self.value(node) for node in _compose(text)]
        except yaml.MarkedYAMLError as error:
            self._syntax(error, text)
        except yaml.YAMLError as error:
            offset = getattr(error, "position", 0)
            self.problems.append(
                Problem(
                    f"{self.name}:{text.count(chr(10), 0, offset) + 1}:1",
                    f"not valid YAML: {getattr(error, 'reason', error)}",
                )
            )
        except RecursionError:
            self.problems.append(Problem(self.name, "the values are nested too deeply"))
        else:
            if not self.problems:
                return documents
        raise ConfigError(tuple(self.problems))

    def _fail(self, node: Any, message: str, hint: str = "") -> None:
        self.problems.append(Problem(_spell(self.name, node.start_mark), message, hint))

    def _syntax(self, error: Any, text: str) -> None:
        mark, start = error.problem_mark or error.context_mark, error.context_mark
        context = f" ({error.context}" + (
            f" that starts at {_spell(self.name, start)})" if start else ")"
        )
        lines: list[str] = text.split("\n")
        hint = _syntax_hint(
            [lines[found.line] for found in (mark, start) if found and found.line < len(lines)]
        )
        message = f"not valid YAML: {error.problem}{context if error.context else ''}"
        self.problems.append(Problem(_spell(self.name, mark), message, hint))

    def value(self, node: Any) -> RawValue:
        """Read the value of a node; None in place of what is wrong."""
        # Aliases make the nodes a graph: a node may stand in several places, or inside itself.
        if id(node) in self._open:
            self._fail(node, "a value must not contain itself")
            return None
        if id(node) in self._seen:
            self._aliased += 1
            if self._aliased >= _MAX_ALIASED:
                raise RecursionError
        self._seen.add(id(node))
        if node.id == "scalar":
            return self._scalar(node)
        self._open.add(id(node))
        value = self._list(node) if node.id == "sequence" else self._map(node)
        self._open.discard(id(node))
        return value

    def _scalar(self, node: Any) -> RawValue:
        if node.tag in _RESOLVED:
            value = scalars.read(node.value)
            self.literals = self.literals or isinstance(value, scalars.Literal)
            return value
        if node.tag != f"{_TAG}str":
            self._tag(node)
        return str(node.value)

    def _tag(self, node: Any) -> None:
        tag = node.tag.replace(_TAG, "!!")
        self._fail(
            node, f"the tag {tag} has no meaning here", "write the value without it, or in quotes"
        )

    def _list(self, node: Any) -> RawValue:
        if node.tag != f"{_TAG}seq":
            self._tag(node)
        return [self.value(item) for item in node.value]

    def _map(self, node: Any) -> RawValue:
        if node.tag != f"{_TAG}map":
            self._tag(node)
        values: dict[str, RawValue] = {}
        merged: dict[str, RawValue] = {}
        first: dict[str, Any] = {}
        for key, item in node.value:
            if key.id != "scalar":
                self._fail(
                    key,
                    "a key must be text, not a list or map",
                    "a value that starts with { or [ needs quotes to be text",
                )
            elif key.tag == _PLAIN and key.value == "<<":
                self._merge(item, merged)
            elif key.value in first:
                before = _spell(self.name, first[key.value].start_mark)
                self._fail(
                    key,
                    f'key "{key.value}" is given twice, first at {before}',
                )
            else:
                first[key.value] = key
                values[str(key.value)] = self.value(item)
        return (
            {**{key: item for key, item in merged.items() if key not in values}, **values}
            if merged
            else values
        )

    def _merge(self, node: Any, merged: dict[str, RawValue]) -> None:
        for source in node.value if node.id == "sequence" else [node]:
            if source.id != "mapping":
                self._fail(source, "<< merges a map or a list of maps")
                continue
            value = self.value(source)
            assert isinstance(value, dict | None)  # None: a map that contains itself
            for key, item in (value or {}).items():
                merged.setdefault(key, item)


def _syntax_hint(lines: list[str]) -> str:
    if any("[[" in line and "]]" not in line.split("[[")[-1] for line in lines):
        return "[[ is not closed by ]] on the same line"
    if any("\t" in line for line in lines):
        return "indent with spaces, not with tabs"
    return ""
