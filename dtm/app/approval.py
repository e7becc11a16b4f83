"""The yes that a run needs before it changes anything.

It is given in advance, or by the person at the terminal.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from engine.errors import UsageError


class ConfirmationPrompt(msgspec.Struct, frozen=True):
    """One question; `answer` is the exact text that alone means yes.

    It is "" where y or n is asked for.
    """

    text: str
    exact_answer: str = ""


class Approval(msgspec.Struct, frozen=True):
    """`yes` was given in advance (`-y`); `ask` asks a person, None where there is none to ask."""

    yes: bool
    ask: Callable[[ConfirmationPrompt], bool] | None

    def require_answerable(self) -> None:
        """Refuse early what would only fail at the question. Raises UsageError naming the flag."""
        if not self.yes and self.ask is None:
            raise _no_terminal()

    def confirm(self, question: ConfirmationPrompt) -> bool:
        """Decide whether to go on; `-y` does not give an exact answer.

        Raises UsageError if there is nobody to ask.
        """
        if self.yes and not question.exact_answer:
            return True
        if self.ask is not None:
            return self.ask(question)
        if question.exact_answer:
            raise UsageError(question.text, hint="-y does not answer this; --force does")
        raise _no_terminal()


def _no_terminal() -> UsageError:
    return UsageError(
        "there is nobody to ask", hint="answer in advance with -y (--yes, --auto-approve)"
    )
