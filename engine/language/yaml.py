"""Text to values: YAML by the core schema of 1.2, with the place of every value when somebody looks.

PyYAML is the reference: it decides what a text means and where things stand. yaml-rs, where it is installed, is some
twenty times faster but gives no places, no source text of numbers, and reads a few things differently; so a text is
given to it only if nothing in it could be read in two ways (docs/decisions/0001-yaml-loader.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from engine.config import Where
from engine.errors import ConfigError, Problem
from engine.language import scalars
from engine.language.expressions import Raw, Scanned, SourceText, scan

Steps: TypeAlias = "tuple[str | int, ...]"

_BLANK: Final = re.compile(r"(?:[ \n]|#[^\n]*)*")
_SEPARATOR: Final = re.compile(r"^---(?: +(?:#.*)?)?$", re.MULTILINE)
_STAIRS: Final = re.compile(r"(?:[-?:][ \t]+){20}")
"""Lists in lists in lists, begun on one line."""
_MAX_DEPTH: Final = 20
_MAX_ALIASED: Final = 100_000
"""How many nodes aliases may multiply a file to: a "billion laughs" stops here."""
_PLAIN: Final = "plain"
_TAG: Final = "tag:yaml.org,2002:"
_RESOLVED: Final = frozenset(
    {_PLAIN, *(f"{_TAG}{name}" for name in ("int", "float", "bool", "null"))}
)


@cache
def _odd() -> re.Pattern[str]:
    """Tabs, carriage returns, byte order marks, and line ends that only YAML 1.1 knows."""
    return re.compile(
        r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
    )


@cache
def _doubt() -> re.Pattern[str]:
    """What the fast parser might read otherwise than PyYAML; it and `_odd` compile for 10 ms, which many commands spare."""
    return re.compile(
        r"""
        ^(?:%|\ *[|>]|\ +$|\.\.\.|---(?!(?:\ +(?:\#.*)?)?$))  # directives; documents on a marker's line; lines of spaces
        |:[,\[\]{}?]|\\u[dD][89a-fA-F]           # keys right before punctuation; surrogates
        |[\n:,\[{][ -]*(?=[0-9&*!%?:<|>TF+._-])(?:  # where a value may begin
            [&*!%?:]|<<                           # anchors, aliases, tags, merges, complex and empty keys
            |(?![|>][+1-9-]{0,2}\ *(?:\#.*)?\n\ +[^\ \n])[|>]  # what is no head of a block scalar with text
            |(?:True|TRUE|False|FALSE)(?=[\ \n,\]}:])
            # numbers that are not written the way their value would be
            |(?!(?:0|-?[1-9][0-9]{0,15}|-?(?:0|[1-9][0-9]{0,8})\.(?:0|[0-9]{0,3}[1-9]))[\ \n,\]}:])
            [-+]?(?:0[xXoObB][0-9a-fA-F_]+
                |(?:[0-9_]+(?:\.[0-9_]*)?|\.[0-9_]+)(?:[eE][-+]?[0-9_]+)?
                |\.(?:inf|Inf|INF|nan|NaN|NAN))(?=[\ \n,\]}:])
        )
        |[\[{,][ ]*[|>?:@`%]                      # what may begin a value outside brackets, but not inside
        """,
        re.VERBOSE | re.MULTILINE,
    )


class Text(msgspec.Struct, eq=False, dict=True):
    """One parsed file. `documents` hold their values, None where one is empty; `literals`: some of them are Literals."""

    source: SourceText
    scanned: Scanned
    documents: list[Raw]
    literals: bool
    _roots: list[Any] = msgspec.field(default_factory=list[Any])

    @cached_property
    def simple(self) -> bool:
        """Whether no value of this file is, or can become by rendering, a Literal."""
        return not self.literals and not self.scanned.variables

    def at(self, document: int, path: Steps, *, key: bool = False) -> str:
        """`file:line:column` of a value, or of its key; of the nearest thing around it if it has no place of its own."""
        if not self._roots:
            self._roots = list(_compose(self.scanned.text))
        mark = _find(self._roots[document], path, key=key)
        return f"{self.source.name}:{mark.line + 1}:{mark.column + 1}"


class FilePlace(msgspec.Struct):
    """A value in a file; its line and column are looked up when somebody asks. One is made per tool: hence not frozen."""

    text: Text
    document: int = 0
    path: Steps = ()

    def step(self, *steps: str | int) -> FilePlace:
        """The place of something inside."""
        return FilePlace(self.text, self.document, (*self.path, *steps))

    def at(self, *steps: str | int, key: bool = False) -> str:
        """`file:line:column`, of the value or of its key."""
        return self.text.at(self.document, (*self.path, *steps), key=key)

    @property
    def where(self) -> Where:
        """As the config keeps it."""
        return Where(self.text.source.name, self.document, self.path)


def parse(name: str, text: str) -> Text:
    """Parse a file's text; `name` is how messages call it. Raises ConfigError: the first wrong syntax, or all repeated keys."""
    source = SourceText(name, text.removeprefix("\ufeff"))
    scanned = scan(source)
    documents, literals = _quick(scanned.text), False
    if documents is None:
        reader = _Reader(name)
        documents, literals = reader.documents(scanned.text), reader.literals
    if scanned.expressions:
        documents = [scanned.restore(document) for document in documents]
    return Text(source, scanned, documents, literals)


def locate(where: Where, parsed: dict[str, Text] | None = None) -> str:
    """`file:line:column` of a place in a file, read again; only the file if it is gone or not readable any more.

    `parsed` keeps the files between calls.
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


def _quick(text: str) -> list[Raw] | None:
    """What yaml-rs reads, or None where the reference has to decide."""
    loads = _loads()
    if (
        loads is None
        or not text.endswith("\n")
        or _odd().search(text)
        or _doubt().search(f"\n{text}\n")
        or not _short(text)
    ):
        return None
    parts = _SEPARATOR.split(text)
    if _BLANK.fullmatch(parts[0]):
        del parts[0]  # what stands before the first marker is a document only if there is something
    try:
        documents = [loads(part) for part in parts]
    except (
        ValueError,
        TypeError,
    ):  # wrong, or with a list or map for a key: the reference says so in words
        return None
    return documents if _json(documents) else None


def _loads() -> Callable[[str], Raw] | None:
    try:
        import yaml_rs
    except ImportError:
        return None
    return lambda text: yaml_rs.loads(text, parse_datetime=False)  # type: ignore[return-value] # a scalar, too, if it is one


def _json(value: Any) -> bool:
    """Whether all keys of a map or list are strings, all the way down. In the way of every large file: hence a plain loop."""
    inner: Any = value
    if type(value) is dict:
        for key in value:  # pyright: ignore[reportUnknownVariableType] - anything may come from a parser
            if type(key) is not str:  # pyright: ignore[reportUnknownArgumentType]
                return False
        inner = value.values()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return all(_json(item) for item in inner if type(item) is dict or type(item) is list)


def _short(text: str) -> bool:
    """Whether every bracket closes on its own line, with little nesting."""
    left = _only(text, b"[]{}\n")
    for _ in range(_MAX_DEPTH):
        before, left = left, left.replace(b"[]", b"").replace(b"{}", b"")
        if left == before:
            break
    return not left.strip(b"\n") and not _STAIRS.search(text)


def _deep(text: str) -> bool:
    """Whether a text may nest so deeply that a parser in C would overflow its stack."""
    steps = (1 if bracket in b"[{" else -1 for bracket in _only(text, b"[]{}"))
    return max(accumulate(steps), default=0) > _MAX_DEPTH or bool(_STAIRS.search(text))


def _only(text: str, kept: bytes) -> bytes:
    return text.encode("utf-8", "replace").translate(None, bytes(set(range(256)) - set(kept)))


def _compose(text: str) -> Iterator[Any]:
    """PyYAML's nodes of every document; plain scalars carry the tag "plain". Raises yaml.YAMLError, RecursionError."""
    import yaml

    base = yaml.BaseLoader if _deep(text) else getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    loader_class: Any = type(
        "_Loader", (base,), {"yaml_implicit_resolvers": {None: [(_PLAIN, re.compile(""))]}}
    )
    loader = loader_class(text)
    try:
        while loader.check_node():
            yield loader.get_node()
    finally:
        loader.dispose()


def _find(node: Any, path: Steps, *, key: bool) -> Any:
    """The mark of the value at `path`, or of its key."""
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
    """(key node or None, value node); the last of equal keys, then those of merged maps."""
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
    """PyYAML's nodes to values; keeps every problem."""

    name: str
    literals: bool = False
    problems: list[Problem] = msgspec.field(default_factory=list[Problem])
    _open: set[int] = msgspec.field(default_factory=set[int])
    _seen: set[int] = msgspec.field(default_factory=set[int])
    _aliased: int = 0

    def documents(self, text: str) -> list[Raw]:
        """Every document. Raises ConfigError."""
        import yaml

        try:
            documents = [self.value(node) for node in _compose(text)]
        except yaml.MarkedYAMLError as error:
            self._syntax(error, text)
        except yaml.YAMLError as error:
            offset = getattr(error, "position", 0)
            self.problems.append(
                Problem(
                    self._at(text.count("\n", 0, offset), 0),
                    f"not valid YAML: {getattr(error, 'reason', error)}",
                )
            )
        except RecursionError:
            self.problems.append(Problem(self.name, "the values are nested too deeply"))
        else:
            if not self.problems:
                return documents
        raise ConfigError(tuple(self.problems))

    def _at(self, line: int, column: int) -> str:
        return f"{self.name}:{line + 1}:{column + 1}"

    def _fail(self, node: Any, message: str, hint: str = "") -> None:
        self.problems.append(
            Problem(self._at(node.start_mark.line, node.start_mark.column), message, hint)
        )

    def _syntax(self, error: Any, text: str) -> None:
        mark, start = error.problem_mark or error.context_mark, error.context_mark
        context = f" ({error.context}" + (
            f" that starts at {self._at(start.line, start.column)})" if start else ")"
        )
        lines: list[str] = text.split("\n")
        hint = _syntax_hint(
            [lines[found.line] for found in (mark, start) if found and found.line < len(lines)]
        )
        message = f"not valid YAML: {error.problem}{context if error.context else ''}"
        self.problems.append(Problem(self._at(mark.line, mark.column), message, hint))

    def value(self, node: Any) -> Raw:
        """The value of a node; None in place of what is wrong."""
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

    def _scalar(self, node: Any) -> Raw:
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

    def _list(self, node: Any) -> Raw:
        if node.tag != f"{_TAG}seq":
            self._tag(node)
        return [self.value(item) for item in node.value]

    def _map(self, node: Any) -> Raw:
        if node.tag != f"{_TAG}map":
            self._tag(node)
        values: dict[str, Raw] = {}
        merged: dict[str, Raw] = {}
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
                mark = first[key.value].start_mark
                self._fail(
                    key,
                    f'key "{key.value}" is given twice, first at {self._at(mark.line, mark.column)}',
                )
            else:
                first[key.value] = key
                values[str(key.value)] = self.value(item)
        return (
            {**{key: item for key, item in merged.items() if key not in values}, **values}
            if merged
            else values
        )

    def _merge(self, node: Any, merged: dict[str, Raw]) -> None:
        for source in node.value if node.id == "sequence" else [node]:
            if source.id != "mapping":
                self._fail(source, "<< merges a map or a list of maps")
                continue
            value = self.value(source)
            assert (
                isinstance(value, dict) or value is None
            )  # a mapping node, or one that contains itself
            for key, item in (value or {}).items():
                merged.setdefault(key, item)


def _syntax_hint(lines: list[str]) -> str:
    if any("[[" in line and "]]" not in line.split("[[")[-1] for line in lines):
        return "[[ is not closed by ]] on the same line"
    if any("\t" in line for line in lines):
        return "indent with spaces, not with tabs"
    return ""
