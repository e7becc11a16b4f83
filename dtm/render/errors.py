"""Errors as styled lines: what is wrong, where, and the next step."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from dtm.render.locks import lock_lines
from dtm.render.text import Clean, Line, Span, cells, count, line
from dtm.render.values import printable
from engine.errors import ConfigError, DtmError, LockHeldError, PlanError, Problem
from engine.values import HIDDEN

_PLACE = re.compile(r"(?P<file>.+?):(?P<line>\d+)(?::(?P<column>\d+))?")
_TOKEN = re.compile(r"\$\{\{.*?\}\}|\[\[.*?\]\]|\"[^\"]*\"|'[^']*'|[^\s,:{}\[\]]+")
# A value under such a key is probably a secret. The redactor knows only secrets from expressions.
_CONFIDENTIAL = re.compile(
    r"(?i)(?:token|password|passwd|secret|credential|private|api_?-?key)"
    r"[\w-]*[\"']?\s*:\s*(?P<value>\S.*)"
)
BUG_HINT: Final = "report this bug of dtm with the output of the same command with --debug"


class ErrorText(msgspec.Struct):
    """Errors as lines.

    Each source file is read once, to show the line of a problem.
    """

    clean: Clean
    now: datetime
    debug: bool = False
    _files: dict[str, list[str]] = msgspec.field(default_factory=dict[str, list[str]])

    def lines(self, error: BaseException) -> Iterator[Line]:
        """Yield the message, then everything else indented below it."""
        match error:
            case ConfigError() | PlanError():
                for problem in error.problems:
                    yield from self._problem(problem)
                if len(error.problems) > 1:
                    found = count(len(error.problems), "problem")
                    yield line(0, f"{found} found, nothing was changed.")
            case DtmError():
                yield from self._problem(error)
            case _:
                yield from self._message(f"{type(error).__name__}: {error}")
                yield self._hint(BUG_HINT)
        if self.debug:
            text = "".join(traceback.format_exception(error))
            yield from (
                line(2, Span(printable(each), "dim")) for each in self.clean(text).splitlines()
            )

    def _problem(self, found: DtmError | Problem) -> Iterator[Line]:
        yield from self._message(
            f"{found.where}: {found.message}" if found.where else found.message
        )
        yield from self._source(found.where)
        if isinstance(found, LockHeldError):
            yield from lock_lines(found.record, self.now, self.clean)
        if found.hint:
            yield self._hint(found.hint)

    def _message(self, text: str) -> Iterator[Line]:
        first, *rest = self.clean(text).splitlines() or [""]
        yield line(0, printable(first))
        yield from (line(2, printable(each)) for each in rest)

    def _hint(self, hint: str) -> Line:
        return line(2, Span("→ ", "info"), printable(self.clean(hint)))

    def _source(self, where: str) -> Iterator[Line]:
        """Yield the source line with a caret below it, if the file can be read."""
        place = _PLACE.fullmatch(where)
        number = int(place["line"]) if place else 0
        lines = self._read(place["file"]) if place else []
        if not place or not 0 < number <= len(lines):
            return
        text = self._shown(lines[number - 1])
        yield line(2, Span(f"{number:>4} │ ", "dim"), text, hang=7)
        # The file may have changed since it was loaded, so the column may be behind the text.
        if place["column"] and int(place["column"]) <= len(text) + 1:
            yield _caret(text, int(place["column"]) - 1)

    def _shown(self, source: str) -> str:
        """Return a source line without a value that is probably a secret."""
        text = self.clean(source)
        found = _CONFIDENTIAL.search(text)
        # An expression names a secret but does not contain it, and the user needs to see it.
        if found and not found["value"].startswith(("[[", "${{", "#")):
            text = text[: found.start("value")] + HIDDEN
        return printable(text.rstrip())

    def _read(self, file: str) -> list[str]:
        if file not in self._files:
            try:
                self._files[file] = Path(file).read_text("utf-8").splitlines()
            # The error must be shown even if its source file is gone or is not text.
            except (OSError, UnicodeError, ValueError):
                self._files[file] = []
        return self._files[file]


def _caret(text: str, offset: int) -> Line:
    token = _TOKEN.match(text, offset)
    width = cells(token.group()) if token else 1
    return line(2, Span("     │ ", "dim"), " " * cells(text[:offset]), Span("^" * width, "error"))
