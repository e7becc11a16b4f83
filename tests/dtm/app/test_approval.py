import pytest

from dtm.app.approval import Approval, ConfirmationPrompt
from engine.errors import UsageError

PLAIN, EXACT = (
    ConfirmationPrompt("Continue? [y/n]"),
    ConfirmationPrompt("9 tools will be lost", "yes, 9"),
)


def test_yes_flag_answers_a_plain_question() -> None:
    assert Approval(yes=True, ask=lambda _: False).confirm(PLAIN)


def test_yes_flag_is_not_an_exact_answer() -> None:
    assert Approval(yes=True, ask=EXACT.__eq__).confirm(EXACT)
    assert not Approval(yes=True, ask=lambda _: False).confirm(EXACT)


def test_user_decides_without_the_flag() -> None:
    assert Approval(yes=False, ask=lambda _: True).confirm(PLAIN)
    assert not Approval(yes=False, ask=lambda _: False).confirm(PLAIN)


@pytest.mark.parametrize(
    ("yes", "question", "hint"), [(False, PLAIN, "-y (--yes"), (True, EXACT, "--force")]
)
def test_missing_terminal_is_an_error(yes: bool, question: ConfirmationPrompt, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        Approval(yes, ask=None).confirm(question)
    assert hint in caught.value.hint


def test_unanswerable_question_is_refused_early() -> None:
    Approval(yes=True, ask=None).require_answerable()
    Approval(yes=False, ask=lambda _: False).require_answerable()
    with pytest.raises(UsageError):
        Approval(yes=False, ask=None).require_answerable()
