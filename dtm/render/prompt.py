"""Questions: on stderr, answered on stdin, asked again until the answer is one of those offered."""

from __future__ import annotations

from typing import Final, TextIO

from engine.errors import CancelledError

CONTINUE: Final = "Continue? [y/n]"
DEFAULT_NO: Final = "Enter a value (Default is n): "
INVALID: Final = "Failed to validate input string: input must be y or n"
_YES: Final = frozenset({"y", "yes"})
_NO: Final = frozenset({"n", "no", ""})


def confirm(source: TextIO, err: TextIO, question: str = CONTINUE) -> bool:
    """Ask for y or n; nothing means n. Raises CancelledError at the end of input."""
    return _ask(source, err, question, _YES, INVALID)


def confirm_exactly(source: TextIO, err: TextIO, question: str, answer: str) -> bool:
    """Ask for one exact text (`yes, 12`) or n; nothing means n.

    Raises CancelledError at the end of input.
    """
    return _ask(
        source, err, question, frozenset({answer.lower()}), f'Please answer "{answer}" or n'
    )


def _ask(source: TextIO, err: TextIO, question: str, yes: frozenset[str], invalid: str) -> bool:
    while True:
        err.write(f"{question}\n{DEFAULT_NO}")
        err.flush()
        given = source.readline()
        if not given:
            err.write("\n")
            raise CancelledError(
                "the question was not answered, nothing was changed",
                hint="-y answers it in advance",
            )
        answer = given.strip().lower()
        if answer in yes or answer in _NO:
            return answer in yes
        err.write(f"{invalid}\n\n")
