"""The yes that a run needs before it changes anything.

It is given in advance, or by the person at the terminal.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from engine.errors import UsageError


class Question(msgspec.Struct, frozen=True):
    """One question; `answer` is the exact text that alone means yes.

    It is "" where y or n is asked for.
    """

    text: str
    answer: str = ""


class Approval(msgspec.Struct, frozen=True):
    """`yes` was given in advance (`-y`); `ask` asks a person, None where there is none to ask."""

    yes: bool
    ask: Callable[[Question], bool] | None

    def require(self) -> None:
        """Refuse early what would only fail at the question. Raises UsageError naming the flag."""
        if not self.yes and self.ask is None:
            raise _nobody()

    def given(self, question: Question) -> bool:
        """Decide whether to go on; `-y` does not give an exact answer.

        Raises UsageError if there is nobody to ask.
        """
        if self.yes and not question.answer:
            return True
        if self.ask is not None:
            return self.ask(question)
        if question.answer:
            raise UsageError(question.text, hint="-y does not answer this; --force does")
        raise _nobody()


def _nobody() -> UsageError:
    return UsageError(
        "there is nobody to ask", hint="answer in advance with -y (--yes, --auto-approve)"
    )
