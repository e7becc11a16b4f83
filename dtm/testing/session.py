"""The session contract: what must hold of a state on any Store and Locker, whoever implements them.

    @pytest.mark.parametrize("case", SESSION_CASES)
    def test_sessions(case: str, tmp_path: Path) -> None:
        SESSION_CASES[case](lambda: Client(MyStore(tmp_path), MyLocker(tmp_path)))

Every call of the factory makes one more client of the same place, which is empty at first. A name
begins with the number of the rule that the case holds a store to.
"""

from __future__ import annotations

from collections.abc import Callable

from dtm.testing import session_crash, session_rules
from dtm.testing.session_support import SESSION_CASES, Case, Client, Connect

__all__ = ["SESSION_CASES", "Case", "Client", "Connect", "session_contract"]

PARTS = (session_rules, session_crash)
"""Importing them fills SESSION_CASES."""


def session_contract(place: Callable[[], Connect]) -> list[str]:
    """Run every case on a place of its own and return their names.

    Raises AssertionError with the name of the case that failed.
    """
    for name, case in SESSION_CASES.items():
        try:
            case(place())
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}") from error
    return list(SESSION_CASES)
