"""Lockers beyond the contract: rows of a table, other programs, two locks, two-step releases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.aws.dynamodb import open_locker
from backends.lockers.object import ObjectLocker
from backends.lockers.pair import BothLockers
from backends.memory import MemoryStore
from dtm.testing.faults import CallFault, FaultyLocker
from dtm.testing.lock_clients import lock_info
from engine.errors import (
    LockError,
    LockHeldError,
    OutcomeUnknownError,
    StoreAccessError,
    StoreUnavailableError,
    UsageError,
)
from engine.lock import LockInfo
from engine.ports import Locker
from engine.runtime.environment import Environment
from engine.session.locking import LockOptions, acquire, break_lock
from engine.values import Value
from tests.backends.canned_server import Answer, canned_server
from tests.contracts.s3 import opened
from tests.servers.aws import Cloud

KEY = "devstream.state"
TERRAFORM = (
    '{"ID":"92417f49-7f3c-1f4e-8a3f-8ff1e5a0a9b1","Operation":"OperationTypeApply",'
    '"Info":"","Who":"root@vm",'
    '"Version":"1.11.4","Created":"2026-11-21T01:34:16.151200792Z","Path":"b/devstream.state"}'
)

QUICK = Environment(sleep=lambda _: None, background=False)
"""No waiting, and no renewals in the background."""


@pytest.fixture
def options(cloud: Cloud) -> dict[str, Value]:
    return cloud.fresh()


def table(options: dict[str, Value]) -> Locker:
    return opened(options).lockers["dynamodb"]()


def rows(cloud: Cloud, options: dict[str, Value]) -> dict[str, Any]:
    found = cloud.client("dynamodb", cloud.dynamodb).scan(TableName=options["dynamodbTable"])[
        "Items"
    ]
    return {item["LockID"]["S"]: item for item in found}


def put_row(cloud: Cloud, options: dict[str, Value], lock_id: str, **attributes: Any) -> None:
    item = {"LockID": {"S": lock_id}, **attributes}
    cloud.client("dynamodb", cloud.dynamodb).put_item(TableName=options["dynamodbTable"], Item=item)


# --- rows of a table


def test_row_has_the_format_of_terraform(cloud: Cloud, options: dict[str, Value]) -> None:
    lock_id = f"{options['bucket']}/{KEY}"
    put_row(cloud, options, f"{lock_id}-md5", Digest={"S": "0" * 32})
    locker = table(options)
    held = locker.put(KEY, lock_info("me"), expect=None)
    assert json.loads(rows(cloud, options)[lock_id]["Info"]["S"])["ID"] == "me"
    locker.remove(KEY, expect=held)
    assert list(rows(cloud, options)) == [f"{lock_id}-md5"]


def test_record_of_terraform_is_read_and_broken_by_its_id(
    cloud: Cloud, options: dict[str, Value]
) -> None:
    put_row(cloud, options, f"{options['bucket']}/{KEY}", Info={"S": TERRAFORM}, Extra={"N": "1"})
    locker = table(options)
    with pytest.raises(LockHeldError) as caught:
        locker.put(KEY, lock_info("me"), expect=None)
    found = caught.value.record.info
    assert found and (found.who, found.lease, found.created) == (
        "root@vm",
        None,
        "2026-11-21T01:34:16.151200792Z",
    )
    break_lock(locker, KEY, found.id)
    assert locker.read(KEY) is None


@pytest.mark.parametrize(
    "attributes", [{}, {"Info": {"N": "1"}}, {"Info": {"S": ""}}, {"Info": {"S": "{"}}]
)
def test_unreadable_row_is_a_breakable_lock(
    cloud: Cloud, options: dict[str, Value], attributes: dict[str, Any]
) -> None:
    put_row(cloud, options, f"{options['bucket']}/{KEY}", **attributes)
    locker = table(options)
    with pytest.raises(LockHeldError) as caught:
        locker.put(KEY, lock_info("me"), expect=None)
    assert caught.value.record.info is None
    break_lock(locker, KEY, "")
    assert locker.read(KEY) is None


def test_table_with_a_wrong_key_is_refused(cloud: Cloud, options: dict[str, Value]) -> None:
    name = f"{options['dynamodbTable']}-wrong"
    cloud.client("dynamodb", cloud.dynamodb).create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "lockid", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "lockid", "AttributeType": "S"}],
    )
    locker = table({**options, "dynamodbTable": name})
    with pytest.raises(
        StoreAccessError, match=f"lock table {name}: its primary key is not LockID"
    ) as caught:
        locker.put(KEY, lock_info("me"), expect=None)
    assert "LockID" in caught.value.hint
    with pytest.raises(StoreAccessError):
        locker.read(KEY)


def test_missing_table_is_not_a_free_lock(options: dict[str, Value]) -> None:
    locker = table({**options, "dynamodbTable": "no-such-table"})
    said = "lock table no-such-table: the table does not exist in region us-east-1"
    with pytest.raises(StoreAccessError, match=said):
        locker.read(KEY)
    with pytest.raises(StoreAccessError, match=said):
        locker.put(KEY, lock_info("me"), expect=None)


def refusal(code: str, status: int = 400) -> Answer:
    return Answer(
        status,
        json.dumps(
            {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "so it is"}
        ).encode(),
    )


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (
            refusal("AccessDeniedException"),
            StoreAccessError,
            "dynamodb:PutItem is denied to access key ...WNER",
        ),
        (
            refusal("UnrecognizedClientException"),
            StoreAccessError,
            "does not know these credentials",
        ),
        (refusal("ExpiredTokenException"), StoreAccessError, "the credentials have expired"),
        (refusal("ProvisionedThroughputExceededException"), StoreUnavailableError, "Provisioned"),
        (refusal("ThrottlingException"), StoreUnavailableError, "Throttling"),
        (refusal("InternalServerError", 500), OutcomeUnknownError, "InternalServerError"),
        (Answer(200, cut=-1), OutcomeUnknownError, "got no answer"),
    ],
)
def test_dynamodb_error_mapping(answer: Answer, kind: type[Exception], said: str) -> None:
    with canned_server(lambda *_: answer) as (url, seen):
        locker = table(Cloud("none", url, url).options("b", table="locks"))
        with pytest.raises(kind, match=said):
            locker.put(KEY, lock_info("me"), expect=None)
        assert len(seen) == 1


def test_lock_url_names_table_and_row(
    cloud: Cloud, options: dict[str, Value], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", cloud.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", cloud.secret_key)
    name = options["dynamodbTable"]
    locker = open_locker(
        f"dynamodb://{name}/some/where?region=us-east-1&endpoint={cloud.dynamodb}", {}
    )
    held = locker.put(KEY, lock_info("me"), expect=None)
    assert list(rows(cloud, options)) == ["some/where"]
    again = open_locker(
        f"dynamodb://{name}/some/where",
        {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": cloud.dynamodb},
    )
    assert again.read(KEY) == held


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://table",
        "dynamodb:///id",
        "s3://table/id",
        "dynamodb://me:word@table/id",
        "dynamodb://t/id?regoin=x",
        "",
    ],
)
def test_wrong_lock_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_locker(url, {})
    assert "word" not in str(caught.value)


def test_lock_url_without_a_region_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    locker = open_locker("dynamodb://table/id", {})
    with pytest.raises(StoreAccessError, match="no region specified"):
        locker.read(KEY)


# --- two locks as one


class Two:
    """Two locks in memory, and a locker that holds both."""

    def __init__(self) -> None:
        self.first, self.second = ObjectLocker(MemoryStore("1")), ObjectLocker(MemoryStore("2"))
        self.both = BothLockers(self.first, self.second)


def test_holder_of_one_lock_excludes_clients_of_both() -> None:
    for name in ("first", "second"):
        two = Two()
        single: ObjectLocker = getattr(two, name)
        theirs = single.put(KEY, lock_info("terraform"), expect=None)
        with pytest.raises(LockHeldError) as caught:
            two.both.put(KEY, lock_info("me"), expect=None)
        assert caught.value.record.info == theirs.info
        assert [locker.read(KEY) is None for locker in (two.first, two.second)].count(
            False
        ) == 1  # the other one was released again
        break_lock(two.both, KEY, "terraform")
        assert two.both.read(KEY) is None


def test_first_lock_is_released_if_the_second_is_held() -> None:
    two = Two()
    dead = two.both.put(KEY, lock_info("dead"), expect=None)
    break_lock(two.second, KEY, "dead")
    theirs = two.second.put(KEY, lock_info("terraform"), expect=None)
    with pytest.raises(LockHeldError) as caught:
        two.both.put(KEY, lock_info("me"), expect=dead)
    assert caught.value.record.info == theirs.info
    assert two.first.read(KEY) is None and two.second.read(KEY) == theirs


@pytest.mark.parametrize("fault", [OutcomeUnknownError("lost"), StoreUnavailableError("away")])
def test_takeover_continues_after_a_lost_second_answer(fault: Exception) -> None:
    two = Two()
    dead = two.both.put(KEY, lock_info("dead"), expect=None)
    two.both._second = FaultyLocker(two.second, put=[CallFault(fault, after_effect=False)])
    with pytest.raises(OutcomeUnknownError):
        two.both.put(KEY, lock_info("me"), expect=dead)
    held = two.both.put(KEY, lock_info("me"), expect=dead)
    assert two.both.read(KEY) == held


def test_both_locks_are_released_if_one_is_missing() -> None:
    two = Two()
    held = two.both.put(KEY, lock_info("me"), expect=None)
    row = two.second.read(KEY)
    assert row
    two.second.remove(KEY, expect=row)
    with pytest.raises(LockError, match="not locked"):
        two.both.remove(KEY, expect=held)
    assert two.first.read(KEY) is None


def test_two_holders_are_broken_one_after_the_other() -> None:
    two = Two()
    two.first.put(KEY, lock_info("alice"), expect=None)
    two.second.put(KEY, lock_info("bob"), expect=None)
    break_lock(two.both, KEY, "alice")
    found = two.both.read(KEY)
    assert found and found.info == lock_info("bob")


@pytest.mark.parametrize("fault", [OutcomeUnknownError("lost"), StoreUnavailableError("away")])
@pytest.mark.parametrize("lost", [True, False])
def test_holder_survives_a_failed_request_to_either_lock(fault: Exception, lost: bool) -> None:
    if lost and isinstance(fault, StoreUnavailableError):
        return  # this error means that there was no effect
    for name in ("_first", "_second"):
        for call in ("put", "remove"):
            two = Two()
            setattr(
                two.both,
                name,
                FaultyLocker(
                    getattr(two.both, name), **{call: [CallFault(fault, after_effect=lost)]}
                ),
            )
            held = acquire(
                two.both,
                KEY,
                LockInfo("me", "apply", "me@here", "0", "2026-01-01T00:00:00Z", KEY),
                LockOptions(timeout=0, lease=30),
                lambda _: None,
                QUICK,
            )
            assert held.renew() and not held.lost
            held.release()
            assert two.first.read(KEY) is None and two.second.read(KEY) is None


def test_renewal_of_only_one_lock_is_repeated() -> None:
    two = Two()
    held = acquire(
        two.both,
        KEY,
        lock_info("me"),
        LockOptions(timeout=0, lease=30),
        lambda _: None,
        QUICK,
    )
    two.both._second = FaultyLocker(two.second, put=[CallFault(StoreUnavailableError("away"))] * 20)
    assert not held.renew() and not held.lost
    two.both._second = two.second
    assert held.renew() and not held.lost
    held.release()


def test_losing_the_second_lock_loses_both() -> None:
    two = Two()
    held = acquire(
        two.both,
        KEY,
        lock_info("me"),
        LockOptions(timeout=0, lease=30),
        lambda _: None,
        Environment(background=False),
    )
    break_lock(two.second, KEY, "me")
    two.second.put(KEY, lock_info("bob"), expect=None)
    assert not held.renew() and held.lost and "bob" in str(held.lost)


# --- releases on stores whose delete ignores the expected version


class UnconditionalDeleteStore(MemoryStore):
    """Ignores the expected version in `delete`, and calls `meanwhile` just before."""

    meanwhile: Any = None

    def delete(self, key: str, *, expect: str | None = None) -> None:
        if self.meanwhile:
            self.meanwhile()
        super().delete(key)


def test_lock_stays_held_between_marking_and_deleting() -> None:
    store = UnconditionalDeleteStore()
    locker, refused = ObjectLocker(store, exact_delete=False), []
    held = locker.put(KEY, lock_info("me"), expect=None)

    def another() -> None:
        with pytest.raises(LockHeldError) as caught:
            locker.put(KEY, lock_info("bob"), expect=None)
        refused.append(caught.value.record.info)

    store.meanwhile = another
    locker.remove(KEY, expect=held)
    assert [info.info for info in refused if info] == ["released"] and locker.read(KEY) is None


def test_interrupted_release_can_be_broken() -> None:
    store = MemoryStore()
    locker = ObjectLocker(store, exact_delete=False)
    held = locker.put(KEY, lock_info("me"), expect=None)
    store.write(f"{KEY}.lock", b'{"ID": "me", "Info": "released"}', expect=held.version)
    break_lock(locker, KEY, "me")
    assert locker.read(KEY) is None


def test_old_holder_cannot_remove_the_new_lock() -> None:
    store = UnconditionalDeleteStore()
    locker = ObjectLocker(store, exact_delete=False)
    held = locker.put(KEY, lock_info("me"), expect=None)
    theirs = locker.put(KEY, lock_info("bob"), expect=held)
    with pytest.raises(LockHeldError):
        locker.remove(KEY, expect=held)
    assert locker.read(KEY) == theirs
