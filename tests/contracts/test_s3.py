"""The contracts on S3 and DynamoDB, with emulators that start quickly.

tests/real runs them on real servers, with long listings, a second client in another process, many
clients of a lock, and leases on a lock object.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dtm.testing.conformance import Case, CaseSkipped
from dtm.testing.leases import LEASE_CASES
from dtm.testing.locker import LOCKER_CASES
from dtm.testing.session import SESSION_CASES
from dtm.testing.store import (
    STORE_CASES,
    no_write_is_lost,
    one_creator_succeeds,
    readers_see_complete_values,
)
from tests.contracts.s3 import locker_place, session_place, store_place
from tests.servers.aws import Cloud, moto

CONTENDERS, KEYS = 6, 40
RACES = (one_creator_succeeds, no_write_is_lost, readers_see_complete_values)


@pytest.fixture(scope="module")
def clouds(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Cloud]]:
    with moto(tmp_path_factory.mktemp("moto")) as other:
        yield {"ministack": cloud, "moto": other}


def check(case: Case[Any], place: Any) -> None:
    try:
        case.check(place)
    except CaseSkipped as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("case", STORE_CASES, ids=str)
@pytest.mark.parametrize("place", ["ministack", "moto"])
def test_store(place: str, case: Case[Any], clouds: dict[str, Cloud]) -> None:
    if place == "moto" and case.check in RACES:
        pytest.skip("moto compares and writes in two steps, so that races cannot be tested on it")
    with store_place(clouds[place], many=KEYS) as made:
        check(case, made)


@pytest.mark.parametrize(
    ("place", "case"),
    [
        *(("dynamodb_ministack", case) for case in LOCKER_CASES),
        *(("native_ministack", case) for case in LOCKER_CASES if case not in LEASE_CASES),
    ],
    ids=str,
)
def test_locker(place: str, case: Case[Any], clouds: dict[str, Cloud]) -> None:
    kind, _, name = place.partition("_")
    with locker_place(clouds[name], kind, contenders=CONTENDERS) as made:
        check(case, made)


@pytest.mark.parametrize("case", SESSION_CASES, ids=str)
@pytest.mark.parametrize("place", ["ministack_dynamodb"])
def test_session_contract(place: str, case: str, clouds: dict[str, Cloud]) -> None:
    name, _, kind = place.partition("_")
    with session_place(clouds[name], kind) as connect:
        SESSION_CASES[case](connect)
