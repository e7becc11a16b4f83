r"""The reader of YAML files: values by the core schema of YAML 1.2, and the place of each value.

PyYAML defines how a text is understood. It is slow, so that `fast_yaml` reads all texts that both
readers understand in the same way. The places of values are computed only if a message needs one.

    file = parse("config.yaml", "a: [1, 1.10]\n")
    file.documents  # [{"a": [1, Literal(1.1, "1.10")]}]
    file.at(0, ("a", 1))  # "config.yaml:1:8"
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
"""How many nodes aliases may add to a file, as a protection against a "billion laughs"."""
_PLAIN: Final = "plain"
_TAG: Final = "tag:yaml.org,2002:"
_RESOLVED: Final = frozenset(
    {_PLAIN, *(f"{_TAG}{name}" for name in ("int", "float", "bool", "null"))}
)
"""The tags of scalars that `scalars.read` interprets. All other scalars are text."""


class ParsedFile(msgspec.Struct, eq=False, dict=True):
    """One parsed file.

    `documents`: the value of each document, None if it is empty. `literals`: some values are
    Literals.
    """

    source: SourceText
    scanned: ScannedText
    documents: list[RawValue]
    literals: bool
    _roots: list[Any] = []

    @cached_property
    def has_no_literals(self) -> bool:
        """True if no value of this file is a Literal or becomes one when variables are replaced."""
        return not self.literals and not self.scanned.has_variables

    def places(self) -> Iterator[tuple[FilePlace, RawValue]]:
        """Yield every document with its place."""
        for index, document in enumerate(self.documents):
            yield FilePlace(self, index), document

    def at(self, document: int, path: ValuePath, *, key: bool = False) -> str:
        """Return `file:line:column` of a value, or of its key.

        A value that the file lacks, such as a missing key, has the place of the value around it.
        """
        # Parsing again is cheaper than keeping the nodes of every file for a message that is rare.
        if not self._roots:
            self._roots = list(_compose(self.scanned.text))
        return _format_mark(self.source.name, _find_mark(self._roots[document], path, key=key))


class FilePlace(msgspec.Struct):
    """The place of a value in a parsed file. Line and column are computed if a message needs them.

    It is not frozen, because dtm creates one for each tool and frozen Structs are slower to create.
    """

    file: ParsedFile
    document: int = 0
    path: ValuePath = ()

    def step(self, *steps: str | int) -> FilePlace:
        """Return the place of a value inside this one."""
        return FilePlace(self.file, self.document, (*self.path, *steps))

    def at(self, *steps: str | int, key: bool = False) -> str:
        """Return `file:line:column` of the value or of its key."""
        return self.file.at(self.document, (*self.path, *steps), key=key)

    @property
    def where(self) -> SourceLocation:
        """The place in the form that the Config stores."""
        return SourceLocation(self.file.source.name, self.document, self.path)


def parse(name: str, text: str) -> ParsedFile:
    """Parse the text of a file; `name` is the name of the file in messages.

    Raises ConfigError: with the first syntax error, or with all other problems.
    """
    # A byte order mark is not a part of the text: columns must count without it.
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
    """Read a file again and return `file:line:column` of a place in it.

    Return only the name of the file if it can no longer be read. `parsed` caches files between
    calls.
    """
    try:
        file = (parsed or {}).get(where.file) or parse(
            where.file, Path(where.file).read_text("utf-8")
        )
        if parsed is not None:
            parsed[where.file] = file
        return file.at(where.document, where.path)
    except (OSError, UnicodeDecodeError, ConfigError, IndexError):
        return where.file


def _format_mark(name: str, mark: Any) -> str:
    return f"{name}:{mark.line + 1}:{mark.column + 1}"


def _compose(text: str) -> Iterator[Any]:
    """Yield PyYAML's node of every document; plain scalars carry the tag "plain".

    Raises yaml.YAMLError, RecursionError.
    """
    import yaml

    # libyaml overflows its stack on deep nesting, which ends the process without an error message.
    base = yaml.BaseLoader if is_deep(text) else getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    # One resolver that matches every plain scalar: its tag separates them from quoted ones.
    loader_class: Any = type(
        "_Loader", (base,), {"yaml_implicit_resolvers": {None: [(_PLAIN, re.compile(""))]}}
    )
    loader = loader_class(text)
    try:
        while loader.check_node():
            yield loader.get_node()
    finally:
        loader.dispose()


def _find_mark(node: Any, path: ValuePath, *, key: bool) -> Any:
    """Return the mark of the value at `path`, or of its key."""
    mark = node.start_mark
    for step in path:
        entry = _child_nodes(node, step)
        if entry is None:
            return mark
        node = entry[1]
        mark = (
            entry[0].start_mark
            if key and step is path[-1] and entry[0] is not None
            else node.start_mark
        )
    return mark


def _child_nodes(node: Any, step: str | int) -> tuple[Any, Any] | None:
    """Return the key node (None in a list) and the value node of a step, None if it is absent.

    The last of several equal keys counts. A merged map (`<<`) is searched last.
    """
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
            found = [entry for inner in merged if (entry := _child_nodes(inner, step))][:1]
    return found[-1] if found else None


class _Reader(msgspec.Struct):
    """Turns the nodes of PyYAML into values, and collects all problems."""

    name: str
    literals: bool = False
    problems: list[Problem] = []
    _open: set[int] = msgspec.field(default_factory=set[int])
    _seen: set[int] = msgspec.field(default_factory=set[int])
    _alias_count: int = 0

    def documents(self, text: str) -> list[RawValue]:
        """Return the values of all documents. Raises ConfigError."""
        import yaml

        try:
            documents = [self.value(node) for node in _compose(text)]
        except yaml.MarkedYAMLError as error:
            self._report_syntax_error(error, text)
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

    def _report(self, node: Any, message: str, hint: str = "") -> None:
        self.problems.append(Problem(_format_mark(self.name, node.start_mark), message, hint))

    def _report_syntax_error(self, error: Any, text: str) -> None:
        mark, start = error.problem_mark or error.context_mark, error.context_mark
        context = f" ({error.context}" + (
            f" that starts at {_format_mark(self.name, start)})" if start else ")"
        )
        lines: list[str] = text.split("\n")
        hint = _syntax_hint(
            [lines[found.line] for found in (mark, start) if found and found.line < len(lines)],
            str(error.problem),
        )
        message = f"not valid YAML: {error.problem}{context if error.context else ''}"
        self.problems.append(Problem(_format_mark(self.name, mark), message, hint))

    def value(self, node: Any) -> RawValue:
        """Return the value of a node, None if it is wrong."""
        # Aliases make the nodes a graph: a node may occur in several places, or inside itself.
        if id(node) in self._open:
            self._report(node, "a value must not contain itself")
            return None
        if id(node) in self._seen:
            self._alias_count += 1
            # Handled like deep nesting: both make a small file too large to read.
            if self._alias_count >= _MAX_ALIASED:
                raise RecursionError
        self._seen.add(id(node))
        if node.id == "scalar":
            return self._read_scalar(node)
        self._open.add(id(node))
        value = self._read_list(node) if node.id == "sequence" else self._read_map(node)
        self._open.discard(id(node))
        return value

    def _read_scalar(self, node: Any) -> RawValue:
        if node.tag in _RESOLVED:
            value = scalars.read(node.value)
            self.literals = self.literals or isinstance(value, scalars.Literal)
            return value
        if node.tag != f"{_TAG}str":
            self._report_tag(node)
        return str(node.value)

    def _report_tag(self, node: Any) -> None:
        tag = node.tag.replace(_TAG, "!!")
        self._report(
            node, f"the tag {tag} is not supported", "remove the tag, or put the value in quotes"
        )

    def _read_list(self, node: Any) -> RawValue:
        if node.tag != f"{_TAG}seq":
            self._report_tag(node)
        return [self.value(item) for item in node.value]

    def _read_map(self, node: Any) -> RawValue:
        if node.tag != f"{_TAG}map":
            self._report_tag(node)
        values: dict[str, RawValue] = {}
        merged: dict[str, RawValue] = {}
        first: dict[str, Any] = {}
        for key, item in node.value:
            if key.id != "scalar":
                self._report(
                    key,
                    "a key must be text, not a list or map",
                    "put a value that starts with { or [ in quotes to make it text",
                )
            elif key.tag == _PLAIN and key.value == "<<":
                self._merge_maps(item, merged)
            elif key.value in first:
                before = _format_mark(self.name, first[key.value].start_mark)
                self._report(
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

    def _merge_maps(self, node: Any, merged: dict[str, RawValue]) -> None:
        for source in node.value if node.id == "sequence" else [node]:
            if source.id != "mapping":
                self._report(source, 'key "<<" must be a map or a list of maps')
                continue
            value = self.value(source)
            assert isinstance(value, dict | None)  # None if the map contains itself
            for key, item in (value or {}).items():
                merged.setdefault(key, item)


_SYNTAX_HINTS: Final = {
    "mapping values are not allowed": (
        'put a text that contains ": " in quotes, and indent all keys of a map equally'
    ),
    "cannot start any token": "put a text that starts with this character in quotes",
    "undefined alias": "put a text that starts with * in quotes",
    "',' or ']'": "close the list with ]",
    "',' or '}'": "close the map with }",
    "expected node content": "close each [ with ], and each { with }",
}
"""A part of a message of the YAML parser, and what to do about it."""


def _syntax_hint(lines: list[str], problem: str) -> str:
    if any("[[" in line and "]]" not in line.split("[[")[-1] for line in lines):
        return "close [[ with ]] on the same line"
    if any("\t" in line for line in lines):
        return "indent with spaces, not with tabs"
    return next((hint for part, hint in _SYNTAX_HINTS.items() if part in problem), "")
