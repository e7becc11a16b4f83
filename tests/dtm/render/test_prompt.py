from __future__ import annotations

from io import StringIO

import pytest

from dtm.render.prompt import confirm
from engine.errors import CancelledError

QUESTION = "Continue? [y/n]\nEnter a value (Default is n): "


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("y\n", True),
        ("yes\n", True),
        (" YES \n", True),
        ("n\n", False),
        ("no\n", False),
        ("\n", False),
        ("y", True),
    ],
)
def test_valid_answers(typed: str, answer: bool) -> None:
    err = StringIO()
    assert confirm(StringIO(typed), err) is answer
    assert err.getvalue() == QUESTION


def test_invalid_answer_is_asked_again() -> None:
    err = StringIO()
    assert confirm(StringIO("maybe\nyep\ny\n"), err)
    invalid = "Failed to validate input string: input must be y or n\n\n"
    assert err.getvalue() == f"{QUESTION}{invalid}{QUESTION}{invalid}{QUESTION}"


@pytest.mark.parametrize("typed", ["", "maybe\n"])
def test_end_of_input_is_not_an_answer(typed: str) -> None:
    with pytest.raises(CancelledError) as caught:
        confirm(StringIO(typed), StringIO())
    assert "-y" in caught.value.hint


@pytest.mark.parametrize(
    ("typed", "answer"),
    [("yes, 12\n", True), ("y\nyes\nyes, 12\n", True), ("yes\nn\n", False), ("\n", False)],
)
def test_exact_answer_is_required(typed: str, answer: bool) -> None:
    err = StringIO()
    question = "12 of 20 tools would be deleted."
    assert confirm(StringIO(typed), err, question, "yes, 12") is answer
    assert err.getvalue().startswith("12 of 20 tools would be deleted.\n")
