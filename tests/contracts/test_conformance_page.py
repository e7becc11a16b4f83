"""The written page knows every case there is; `make conformance` writes it."""

from dtm.testing.locker import LOCKER_CASES
from dtm.testing.session import SESSION_CASES
from dtm.testing.store import STORE_CASES
from tests.conformance import PAGE


def test_every_case_stands_in_the_page_and_none_failed() -> None:
    text = PAGE.read_text("utf-8")
    names = [*map(str, STORE_CASES), *map(str, LOCKER_CASES), *SESSION_CASES]
    assert [name for name in names if f"| {name} |" not in text] == []
    assert "| failed |" not in text
