"""Every problem of a configuration, collected in one run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec

from engine.errors import ConfigError, Problem
from engine.options.decode import OptionFault

_PLACE = re.compile(r"(.*):(\d+):(\d+)", re.DOTALL)


class Report(msgspec.Struct):
    """Problems and warnings so far."""

    problems: list[Problem] = []
    warnings: list[str] = []
    files: list[str] = []
    """Names of the files read, in reading order: the order of the problems."""

    def add(self, where: str, message: str, hint: str = "") -> None:
        """Note a problem, once; `where` is `file:line:column`, or the file or flag concerned."""
        problem = Problem(where, message, hint)
        # Once: a value that is rendered for several tools has the same fault each time.
        if problem not in self.problems:
            self.problems.append(problem)

    def add_faults(
        self, at: Callable[..., str], faults: Iterable[OptionFault], about: str = ""
    ) -> None:
        """Note what is wrong with options whose places `at(*path, key=...)` tells.

        `about` stands before each message.
        """
        for fault in faults:
            self.add(at(*fault.path, key=fault.key), about + fault.message, fault.hint)

    def extend(self, error: ConfigError) -> None:
        """Note the problems of a file that could not be parsed."""
        self.problems += error.problems

    def warn(self, message: str) -> None:
        """Note something odd that is not an error."""
        self.warnings.append(message)

    def check(self) -> None:
        """Raise ConfigError if there are problems, in file order."""
        if self.problems:
            raise ConfigError(tuple(sorted(self.problems, key=self._order)))

    def _order(self, problem: Problem) -> tuple[int, int, int, Problem]:
        found = _PLACE.fullmatch(problem.where)
        file, line, column = found.groups() if found else (problem.where, "0", "0")
        # Problems of flags and variables have no file and come last.
        known = self.files.index(file) if file in self.files else len(self.files)
        return known, int(line), int(column), problem
