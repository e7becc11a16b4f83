"""Questions to the user, on stderr, answered on stdin.

A question is repeated until the answer is valid.
"""

from __future__ import annotations

from typing import Final, TextIO

from engine.errors import CancelledError

CONTINUE: Final = "Continue? [y/n]"
DEFAULT_NO: Final = "Enter a value (Default is n): "
INVALID: Final = "Failed to validate input string: input must be y or n"
_YES: Final = frozenset({"y", "yes"})
_NO: Final = frozenset({"n", "no", ""})


def confirm(source: TextIO, err: TextIO, question: str = CONTINUE, exact: str = "") -> bool:
    """Ask for y, or for the `exact` text (`yes, 12`), or n. An empty answer means n.

    Raises CancelledError at the end of input.
    """
    yes = {exact.lower()} if exact else _YES
    while True:
        err.write(f"{question}\n{DEFAULT_NO}")
        err.flush()
        given = source.readline()
        # The end of input is not a no: the exit code must show that there was no answer.
        if not given:
            err.write("\n")
            raise CancelledError(
                "the question was not answered, nothing was changed",
                hint="approve in advance with -y",
            )
        answer = given.strip().lower()
        if answer in yes or answer in _NO:
            return answer in yes
        err.write(f'Please answer "{exact}" or n\n\n' if exact else f"{INVALID}\n\n")
