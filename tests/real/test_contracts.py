"""The contracts on real servers. The second client is in another process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from typing import Any, TypeAlias

import pytest

from dtm.testing.conformance import Case, CaseSkipped
from dtm.testing.locker import LOCKER_CASES
from dtm.testing.session import SESSION_CASES
from dtm.testing.store import STORE_CASES
from tests.contracts import kube, s3
from tests.contracts.remote import OtherProcess
from tests.servers.aws import Cloud
from tests.servers.kube import Kube
from tests.servers.real import Real, real

Make: TypeAlias = Callable[[Real, OtherProcess], AbstractContextManager[Any]]


def cloud(found: Real) -> Cloud:
    """Return Ceph RGW and DynamoDB Local as one cloud."""
    assert found.rgw is not None
    tables = found.dynamodb.endpoint if found.dynamodb else ""
    return Cloud(
        found.rgw.title,
        found.rgw.endpoint,
        tables,
        found.rgw.region,
        found.rgw.access_key,
        found.rgw.secret_key,
    )


def cluster(found: Real) -> Kube:
    assert found.kubernetes is not None
    return found.kubernetes


STORES: Mapping[str, tuple[str, Make]] = {
    "s3_rgw": ("rgw", lambda found, other: s3.store_place(cloud(found), other)),
    "k8s": ("kubernetes", lambda found, other: kube.store_place(cluster(found), other)),
}
LOCKERS: Mapping[str, tuple[str, Make]] = {
    "native_rgw": ("rgw", lambda found, other: s3.locker_place(cloud(found), "native", other)),
    "dynamodb_local": (
        "rgw dynamodb",
        lambda found, other: s3.locker_place(cloud(found), "dynamodb", other, 100),
    ),
    "both_rgw_dynamodb": (
        "rgw dynamodb",
        lambda found, other: s3.locker_place(cloud(found), "both", other),
    ),
    "k8s": ("kubernetes", lambda found, other: kube.locker_place(cluster(found), other)),
}
SESSIONS: Mapping[str, tuple[str, Make]] = {
    "native_rgw": ("rgw", lambda found, _: s3.session_place(cloud(found), "native")),
    "rgw_dynamodb": ("rgw dynamodb", lambda found, _: s3.session_place(cloud(found), "dynamodb")),
    "k8s": ("kubernetes", lambda found, _: kube.session_place(cluster(found))),
}
"""Place -> the servers that it needs, and a function that creates a new place."""


@pytest.fixture(scope="module")
def other() -> Iterator[OtherProcess]:
    with closing(OtherProcess()) as process:
        yield process


Opening: TypeAlias = Callable[[tuple[str, Make]], AbstractContextManager[Any]]


@pytest.fixture
def opening(other: OtherProcess, record_property: Callable[[str, object], None]) -> Opening:
    """Return a function that creates a place, and skips the test if a server is absent."""

    def make(place: tuple[str, Make]) -> AbstractContextManager[Any]:
        names, found = place[0].split(), real()
        for name in names:
            if getattr(found, name) is None:
                pytest.skip(f"{name}: {found.why_not(name)}")
        record_property("server", " and ".join(getattr(found, name).title for name in names))
        return place[1](found, other)

    return make


def check(case: Case[Any], place: Any) -> None:
    try:
        case.check(place)
    except CaseSkipped as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("case", STORE_CASES, ids=str)
@pytest.mark.parametrize("place", STORES)
def test_store(place: str, case: Case[Any], opening: Opening) -> None:
    with opening(STORES[place]) as made:
        check(case, made)


@pytest.mark.parametrize("case", LOCKER_CASES, ids=str)
@pytest.mark.parametrize("place", LOCKERS)
def test_locker(place: str, case: Case[Any], opening: Opening) -> None:
    with opening(LOCKERS[place]) as made:
        check(case, made)


@pytest.mark.parametrize("case", SESSION_CASES, ids=str)
@pytest.mark.parametrize("place", SESSIONS)
def test_session_contract(place: str, case: str, opening: Opening) -> None:
    with opening(SESSIONS[place]) as connect:
        SESSION_CASES[case](connect)
