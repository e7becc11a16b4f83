"""The report: the problems and warnings of a configuration, collected in one run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec

from engine.errors import ConfigError, Problem
from engine.language.expressions import RawValue, TextTemplate
from engine.language.scalars import Literal
from engine.options.decode import OptionFault

_PLACE = re.compile(r"(.*):(\d+):(\d+)", re.DOTALL)


class Report(msgspec.Struct):
    """The problems and warnings found so far.

    They are collected, so that a user sees all of them in one run:

        report = Report()
        report.add("config.yaml:3:5", 'unknown plugin "flie"', 'use "file"')
        report.check()  # raises ConfigError
    """

    problems: list[Problem] = []
    warnings: list[str] = []
    files: list[str] = []
    """The names of the files read, in reading order. Problems are listed in this order."""

    def add(self, where: str, message: str, hint: str = "") -> None:
        """Add a problem, unless it was added before.

        `where` is `file:line:column`, or the name of a file, flag or variable.
        """
        problem = Problem(where, message, hint)
        # A value that is rendered for several tools has the same problem each time.
        if problem not in self.problems:
            self.problems.append(problem)

    def add_faults(
        self, at: Callable[..., str], faults: Iterable[OptionFault], about: str = ""
    ) -> None:
        """Add the faults of decoded options. `at(*path, key=...)` returns the place of an option.

        Each message gets the prefix `about`.
        """
        for fault in faults:
            self.add(at(*fault.path, key=fault.key), about + fault.message, fault.hint)

    def extend(self, error: ConfigError) -> None:
        """Add the problems of a file that could not be parsed."""
        self.problems += error.problems

    def warn(self, message: str) -> None:
        """Add a warning: something suspicious that is not an error."""
        self.warnings.append(message)

    def check(self) -> None:
        """Raise ConfigError with the problems in file order, if there are any."""
        if self.problems:
            raise ConfigError(tuple(sorted(self.problems, key=self._order)))

    def _order(self, problem: Problem) -> tuple[int, int, int, Problem]:
        found = _PLACE.fullmatch(problem.where)
        file, line, column = found.groups() if found else (problem.where, "0", "0")
        # Problems of flags and environment variables have no file and come last.
        known = self.files.index(file) if file in self.files else len(self.files)
        return known, int(line), int(column), problem


def describe_kind(value: RawValue) -> str:
    """Name the kind of a value for a message, "a list" for example. The value is not shown."""
    match value:
        case list():
            return "a list"
        case dict():
            return "a map"
        case str() | TextTemplate():
            return "text"
        case None:
            return "empty"
        case bool():
            return "true or false"
        case int() | float() | Literal():
            return "a number"
        case _:
            return "a single value"
