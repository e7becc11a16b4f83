"""The approval that a run needs before it changes anything.

It is given in advance by a flag, or by the user at the terminal.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from engine.errors import UsageError


class ConfirmationPrompt(msgspec.Struct, frozen=True):
    """One question. `exact_answer` is the only text that counts as yes.

    It is "" if the question is answered with y or n.
    """

    text: str
    exact_answer: str = ""


class Approval(msgspec.Struct, frozen=True):
    """The source of the approval.

    `yes` is True if the user passed `-y`. `ask` puts a question to the user; it is None if there is
    no terminal.
    """

    yes: bool
    ask: Callable[[ConfirmationPrompt], bool] | None

    def require_answerable(self) -> None:
        """Raise UsageError, naming the flag, if no question could be answered.

        A run calls this before it does any work that would be wasted.
        """
        if not self.yes and self.ask is None:
            raise _no_terminal()

    def confirm(self, question: ConfirmationPrompt) -> bool:
        """Return whether the run may go on. `-y` does not replace an exact answer.

        Raises UsageError if there is no terminal to ask at.
        """
        # A script that passes -y must not confirm the loss of many tools unseen.
        if self.yes and not question.exact_answer:
            return True
        if self.ask is not None:
            return self.ask(question)
        if question.exact_answer:
            raise UsageError(
                question.text, hint="confirm it in advance with --force; -y is not enough"
            )
        raise _no_terminal()


def _no_terminal() -> UsageError:
    return UsageError(
        "approval is needed, but there is no terminal to ask at",
        hint="approve in advance with -y (--yes, --auto-approve)",
    )
