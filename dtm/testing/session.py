"""The session contract: rules for sessions on any Store and Locker.

    @pytest.mark.parametrize("case", SESSION_CASES)
    def test_session_contract(case: str, tmp_path: Path) -> None:
        SESSION_CASES[case](lambda: Client(MyStore(tmp_path), MyLocker(tmp_path)))

A case gets a function that returns a new client of the same place at each call. The place is empty
at first. The name of a case states its rule, and may begin with stable numbers of the rule.
"""

from __future__ import annotations

from collections.abc import Callable

from dtm.testing import session_crash, session_rules
from dtm.testing.session_support import SESSION_CASES, Client, Connect, SessionCase

__all__ = ["SESSION_CASES", "Client", "Connect", "SessionCase", "session_contract"]

PARTS = (session_rules, session_crash)
"""The modules whose import fills SESSION_CASES."""


def session_contract(place: Callable[[], Connect]) -> list[str]:
    """Run all cases, each in a new place, and return their names.

    Raises AssertionError with the name of the first case that fails.
    """
    for name, case in SESSION_CASES.items():
        try:
            case(place())
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}") from error
    return list(SESSION_CASES)
