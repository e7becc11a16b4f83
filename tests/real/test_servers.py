"""Behavior of the real servers that the backends and the probe rely on, without dtm.

A changed behavior of a newer version of a server is noticed here first.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import ClientError
from kubernetes.client.exceptions import ApiException

from tests.servers.dynamodb import Dynamo
from tests.servers.kube import Kube
from tests.servers.rgw import Rgw

RACERS = 8


def status_of(call: Callable[[], Any]) -> int:
    """Return the HTTP status of the answer."""
    try:
        answer = call()
    except ClientError as error:
        answer = error.response
    except ApiException as error:
        return int(error.status)
    return int(answer["ResponseMetadata"]["HTTPStatusCode"]) if isinstance(answer, dict) else 200


def winners(act: Callable[[int], int]) -> int:
    """Return how many of several concurrent requests succeed."""
    gate = threading.Barrier(RACERS)

    def race(number: int) -> int:
        gate.wait()
        return act(number)

    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(race, range(RACERS))).count(200)


@pytest.fixture
def s3(rgw: Rgw) -> Iterator[Any]:
    with closing(rgw.client()) as client:
        yield client


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


def test_rgw_honors_conditions_without_versioning(rgw: Rgw, s3: Any, key: str) -> None:
    def put(**condition: str) -> int:
        return status_of(lambda: s3.put_object(Bucket=rgw.plain, Key=key, Body=b"x", **condition))

    assert (
        put(IfMatch="0" * 32) == 412 and put(IfNoneMatch="*") == 200 and put(IfNoneMatch="*") == 412
    )
    etag = s3.head_object(Bucket=rgw.plain, Key=key)["ETag"]
    assert (
        put(IfMatch=etag) == 412
        and put(IfMatch=etag.strip('"')) == 200
        and put(IfMatch="0" * 32) == 412
    )
    assert (
        winners(
            lambda _: status_of(
                lambda: s3.put_object(
                    Bucket=rgw.plain, Key=f"{key}-raced", Body=b"", IfNoneMatch="*"
                )
            )
        )
        == 1
    )


def test_rgw_ignores_conditions_with_versioning(rgw: Rgw, s3: Any, key: str) -> None:
    def put(**condition: str) -> int:
        return status_of(
            lambda: s3.put_object(Bucket=rgw.versioned, Key=key, Body=b"x", **condition)
        )

    assert put(IfNoneMatch="*") == 200 and put(IfNoneMatch="*") == 200
    etag = s3.head_object(Bucket=rgw.versioned, Key=key)["ETag"]
    # Even the current ETag is refused.
    assert [put(IfMatch=each) for each in (etag, etag.strip('"'), "0" * 32)] == [
        412,
        412,
        412,
    ]


def test_rgw_ignores_the_condition_of_a_delete(rgw: Rgw, s3: Any, key: str) -> None:
    s3.put_object(Bucket=rgw.plain, Key=key, Body=b"x")
    assert status_of(lambda: s3.delete_object(Bucket=rgw.plain, Key=key, IfMatch="0" * 32)) == 204
    assert status_of(lambda: s3.head_object(Bucket=rgw.plain, Key=key)) == 404


def test_rgw_denies_another_user(rgw: Rgw, s3: Any, key: str) -> None:
    s3.put_object(Bucket=rgw.plain, Key=key, Body=b"x")
    with closing(rgw.client(stranger=True)) as stranger:
        assert status_of(lambda: stranger.get_object(Bucket=rgw.plain, Key=key)) == 403
        assert status_of(lambda: stranger.list_objects_v2(Bucket=rgw.plain)) == 403


def test_dynamodb_accepts_one_creator_and_shows_its_row(dynamodb: Dynamo, key: str) -> None:
    def put(number: int) -> int:
        item = {"LockID": {"S": key}, "Info": {"S": str(number)}}
        condition = "attribute_not_exists(LockID)"
        return status_of(
            lambda: client.put_item(
                TableName=dynamodb.table, Item=item, ConditionExpression=condition
            )
        )

    with closing(dynamodb.client()) as client:
        assert winners(put) == 1
        with pytest.raises(ClientError) as refused:
            client.delete_item(
                TableName=dynamodb.table,
                Key={"LockID": {"S": key}},
                ConditionExpression="Info = :seen",
                ExpressionAttributeValues={":seen": {"S": "another"}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert refused.value.response["Item"]["LockID"] == {"S": key}


def test_kubernetes_refuses_outdated_writers(kubernetes: Kube) -> None:
    def body(version: str = "") -> dict[str, Any]:
        return {"metadata": {"name": "c", "resourceVersion": version}, "data": {"state": version}}

    namespace, api = kubernetes.namespace("facts"), kubernetes.client()
    with closing(api.api_client):
        assert (
            winners(
                lambda _: status_of(lambda: api.create_namespaced_config_map(namespace, body()))
            )
            == 1
        )
        version = api.read_namespaced_config_map("c", namespace).metadata.resource_version
        assert (
            status_of(lambda: api.replace_namespaced_config_map("c", namespace, body(version)))
            == 200
        )
        assert (
            status_of(lambda: api.replace_namespaced_config_map("c", namespace, body(version)))
            == 409
        )
        stale = {"preconditions": {"resourceVersion": version}}
        assert (
            status_of(lambda: api.delete_namespaced_config_map("c", namespace, body=stale)) == 409
        )


def test_kubernetes_grants_exactly_the_verbs_of_a_role(kubernetes: Kube) -> None:
    namespace, api = kubernetes.namespace("facts"), kubernetes.client("team")
    with closing(api.api_client):
        assert status_of(lambda: api.read_namespaced_config_map("c", namespace)) == 403
        kubernetes.grant(namespace, ["get"])
        assert status_of(lambda: api.read_namespaced_config_map("c", namespace)) == 404
        assert status_of(lambda: api.list_namespaced_config_map(namespace)) == 403
