"""S3 beyond the contracts: options, errors, lost answers, regions, credentials, creation."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backends.aws.options import read_settings
from backends.aws.provision import S3Provisioner
from backends.aws.s3 import BucketRegion, open_backend, open_provisioner
from backends.aws.session import SERVICES, AwsAccount, AwsCredentials
from engine.errors import (
    ConfigError,
    ConflictError,
    DtmError,
    OutcomeUnknownError,
    StoreAccessError,
    StoreError,
)
from engine.errors import StoreUnavailableError as Unavailable
from engine.ports import Store
from engine.values import Secret, Value
from tests.backends.canned_server import Answer, Respond, canned_server, xml
from tests.contracts.s3 import opened
from tests.servers.aws import Cloud
from tests.servers.processes import free_ports

BASE: dict[str, Value] = {"bucket": "team-state", "key": "prod/state", "region": "eu-west-1"}
KEYS: dict[str, Value] = {"accessKey": "AKIAEXAMPLEEXAMPLE", "secretKey": "wJalrXUtnFEMI"}
SECRET = base64.b64encode(bytes(32)).decode()


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the credentials, the profiles and the instance role of this machine."""
    for name in (
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def store(endpoint: str, **more: Value) -> Store:
    return opened({**BASE, **KEYS, "endpoint": endpoint, "timeout": 1.0, **more}).store


@contextmanager
def server(respond: Respond | Answer, **more: Value) -> Iterator[tuple[Store, list[str]]]:
    """Run a server with this answer, and yield a store that uses it and the list of requests."""
    with canned_server(respond if callable(respond) else lambda _method, _target: respond) as (
        url,
        seen,
    ):
        yield store(url, **more), seen


# --- options


@pytest.mark.parametrize(
    ("given", "env", "said"),
    [
        ({"key": "/k"}, {}, ['key "/k" must not begin or end with "/"']),
        ({"key": "a//b"}, {}, ['key "a//b" must not']),
        ({"key": "a/../b"}, {}, ['key "a/../b" must not']),
        ({"endpoint": "localhost:9000"}, {}, ["endpoint must be a URL"]),
        ({"endpoint": "http://user:word@host"}, {}, ["endpoint must be a URL without credentials"]),
        ({"awsCredsPath": "nowhere"}, {}, ["awsCredsPath: the file /base/nowhere does not exist"]),
        ({"caBundle": "nowhere.pem"}, {}, ["caBundle: the file /base/nowhere.pem does not exist"]),
        ({"accessKey": "a"}, {}, ["secretKey is missing"]),
        ({"secretKey": "a"}, {}, ["accessKey is missing"]),
        ({"token": "t"}, {}, ["token has no effect without accessKey and secretKey"]),
        (
            {**KEYS, "profile": "p"},
            {},
            ["accessKey cannot be combined with profile or awsCredsPath"],
        ),
        (
            {"dynamodbEndpoint": "http://h"},
            {},
            ["dynamodbEndpoint has no effect without dynamodbTable"],
        ),
        ({"stsEndpoint": "http://h"}, {}, ["stsEndpoint has no effect without assumeRole"]),
        (
            {"sseCustomerKey": SECRET, "kmsKeyId": "k"},
            {},
            ["sseCustomerKey cannot be combined with kmsKeyId or encrypt"],
        ),
        ({"sseCustomerKey": "short"}, {}, ["sseCustomerKey must be 32 bytes in Base64"]),
        ({}, {"AWS_SSE_CUSTOMER_KEY": "short"}, ["sseCustomerKey must be 32 bytes in Base64"]),
        ({"bucket": ""}, {}, ["bucket"]),
        ({"bucket": "UPPER_case"}, {}, ['"UPPER_case" is not a valid bucket name']),
        ({"nonsense": 1}, {}, ["nonsense"]),
        (
            {"flavour": "do"},
            {},
            [
                "do://team-state/prod/state: S3_ENDPOINT is not set",
                "S3_ACCESS_KEY_ID",
                "S3_SECRET_ACCESS_KEY",
            ],
        ),
        (
            {"flavour": "scw"},
            {"S3_ENDPOINT": "h", "S3_ACCESS_KEY_ID": "a"},
            ["scw://", "S3_SECRET_ACCESS_KEY is not set"],
        ),
        ({"key": "/k", "endpoint": "x", "accessKey": "a"}, {}, ["key", "endpoint", "secretKey"]),
    ],
)
def test_all_wrong_options_are_reported_at_once(
    given: dict[str, Value], env: dict[str, str], said: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_backend({**BASE, **given}, Path("/base"), env)
    assert [text for text in said if text not in str(caught.value)] == []
    assert "wJalrXUtnFEMI" not in str(caught.value) and len(caught.value.problems) >= min(
        len(said), 1
    )


def test_options_become_settings() -> None:
    found = read_settings(
        {
            **BASE,
            "dynamodbTable": "locks",
            "secretKey": Secret("s3cret"),
            "accessKey": Secret("key"),
            "token": Secret("tok"),
            "assumeRole": {
                "roleArn": "arn:aws:iam::1:role/r",
                "externalId": "x",
                "durationSeconds": 900,
            },
        },
        Path("/base"),
        {},
    )
    assert (found.location, found.region, found.table, found.is_amazon) == (
        "s3://team-state",
        "eu-west-1",
        "locks",
        True,
    )
    assert found.access.role and (found.access.role.external_id, found.access.role.seconds) == (
        "x",
        900,
    )
    assert (found.access.access_key, found.access.secret_key, found.access.token) == (
        "key",
        "s3cret",
        "tok",
    )
    assert "s3cret" not in repr(found) and "tok'" not in repr(found)


@pytest.mark.parametrize(
    ("given", "writing"),
    [
        ({}, {}),
        ({"encrypt": True}, {"ServerSideEncryption": "AES256"}),
        (
            {"encrypt": True, "kmsKeyId": "k"},
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"},
        ),
        ({"acl": "private"}, {"ACL": "private"}),
        (
            {"sseCustomerKey": SECRET},
            {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(32)},
        ),
    ],
)
def test_write_parameters_follow_the_options(
    given: dict[str, Value], writing: Mapping[str, object]
) -> None:
    found = read_settings({**BASE, **given}, Path("/"), {})
    assert dict(found.writing) == writing
    assert dict(found.reading) == (writing if "sseCustomerKey" in given else {})


@pytest.mark.parametrize(
    ("given", "env", "endpoint", "region", "style"),
    [
        ({}, {}, "", "eu-west-1", "auto"),
        ({"region": ""}, {"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b"}, "", "a", "auto"),
        ({"region": ""}, {"AWS_DEFAULT_REGION": "b"}, "", "b", "auto"),
        ({"region": ""}, {"AWS_ENDPOINT_URL_S3": "http://h"}, "http://h", "us-east-1", "path"),
        ({"endpoint": "http://h", "usePathStyle": False}, {}, "http://h", "eu-west-1", "virtual"),
        ({"usePathStyle": True}, {}, "", "eu-west-1", "path"),
        (
            {"region": "", "flavour": "do"},
            {"S3_ENDPOINT": "h.com", "AWS_REGION": "a"},
            "https://h.com",
            "us-east-1",
            "path",
        ),
        (
            {"region": "", "flavour": "hos"},
            {"S3_ENDPOINT": "http://h", "S3_REGION": "r"},
            "http://h",
            "r",
            "path",
        ),
    ],
)
def test_sources_of_endpoint_and_region(
    given: dict[str, Value], env: dict[str, str], endpoint: str, region: str, style: str
) -> None:
    keys = {"S3_ACCESS_KEY_ID": "a", "S3_SECRET_ACCESS_KEY": "b"}
    found = read_settings({**BASE, **given}, Path("/"), {**keys, **env})
    assert (found.endpoint, found.addressing) == (endpoint, style)
    assert BucketRegion(AwsAccount(found.access), found)() == region


def test_location_starts_with_the_flavour() -> None:
    env = {"S3_ENDPOINT": "https://h", "S3_ACCESS_KEY_ID": "a", "S3_SECRET_ACCESS_KEY": "b"}
    assert (
        open_backend({**BASE, "flavour": "linode"}, Path("/"), env).store.location
        == "linode://team-state"
    )


def test_region_comes_from_the_profile(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[profile team]\nregion = ap-south-1\n")
    found = read_settings({**BASE, "region": "", "profile": "team"}, Path("/"), {})
    assert BucketRegion(AwsAccount(found.access), found)() == "ap-south-1"


class RedirectedAccount(AwsAccount):
    """An account whose requests go to the given server."""

    def __init__(self, url: str) -> None:
        super().__init__(AwsCredentials(access_key="a", secret_key="b"))
        self._url = url

    def client(self, service: str, region: str, endpoint: str = "", addressing: str = "") -> Any:
        return super().client(service, region, self._url, "path")


@pytest.mark.parametrize("status", [200, 403])
def test_region_comes_from_the_bucket_even_if_denied(status: int) -> None:
    with canned_server(
        lambda *_: Answer(status, headers={"x-amz-bucket-region": "eu-central-1"})
    ) as (
        url,
        seen,
    ):
        found = BucketRegion(
            RedirectedAccount(url), read_settings({**BASE, "region": ""}, Path("/"), {})
        )
        assert (found(), found(), seen) == ("eu-central-1", "eu-central-1", ["HEAD /team-state"])


def test_missing_region_error_names_its_sources() -> None:
    with canned_server(lambda *_: Answer(403)) as (url, _):
        found = BucketRegion(
            RedirectedAccount(url), read_settings({**BASE, "region": ""}, Path("/"), {})
        )
        with pytest.raises(
            StoreAccessError,
            match=r"no region specified: use option region.*AWS_REGION.*AWS_DEFAULT_REGION",
        ):
            found()


# --- error mapping


def reading(found: Store) -> object:
    return found.read("prod/state")


def creating(found: Store) -> object:
    return found.write("prod/state", b"x", expect=None)


def replacing(found: Store) -> object:
    return found.write("prod/state", b"x", expect="0" * 32)


def deleting(found: Store) -> object:
    found.delete("prod/state")
    return None


def listing(found: Store) -> object:
    return found.list("prod")


REFUSALS: list[tuple[Answer, Callable[[Store], object], type[DtmError], str]] = [
    (
        xml(403, "AccessDenied"),
        reading,
        StoreAccessError,
        "s3:GetObject is denied to access key ...MPLE from the options",
    ),
    (xml(403, "AccessDenied"), creating, StoreAccessError, "prod/state: s3:PutObject is denied"),
    (xml(403, "AccessDenied"), deleting, StoreAccessError, "s3:DeleteObject is denied"),
    (xml(403, "AccessDenied"), listing, StoreAccessError, "s3:ListBucket is denied"),
    (xml(403, "InvalidAccessKeyId"), reading, StoreAccessError, "does not know these credentials"),
    (
        xml(403, "SignatureDoesNotMatch"),
        reading,
        StoreAccessError,
        "the secret key does not match the access key",
    ),
    (xml(400, "ExpiredToken"), reading, StoreAccessError, "the credentials have expired"),
    (
        xml(403, "RequestTimeTooSkewed", more="<ServerTime>2026-01-01T00:00:00Z</ServerTime>"),
        reading,
        StoreAccessError,
        "clock is wrong: the server's says 2026-01-01T00:00:00Z",
    ),
    (
        xml(301, "PermanentRedirect", headers={"x-amz-bucket-region": "us-west-2"}),
        reading,
        StoreAccessError,
        "the bucket is in us-west-2, not in eu-west-1",
    ),
    (
        xml(400, "AuthorizationHeaderMalformed", more="<Region>us-west-2</Region>"),
        creating,
        StoreAccessError,
        "the bucket is in us-west-2",
    ),
    (xml(404, "NoSuchBucket"), reading, StoreAccessError, "the bucket does not exist"),
    (xml(404, "NoSuchBucket"), creating, StoreAccessError, "the bucket does not exist"),
    (xml(404, "NoSuchBucket"), listing, StoreAccessError, "the bucket does not exist"),
    (xml(503, "SlowDown"), creating, Unavailable, "SlowDown"),
    (xml(400, "RequestTimeout"), creating, Unavailable, "RequestTimeout"),
    (xml(400, "BadDigest"), creating, Unavailable, "BadDigest"),
    (xml(429, "Whatever"), creating, Unavailable, "Whatever"),
    (xml(503, "ServiceUnavailable"), creating, OutcomeUnknownError, "ServiceUnavailable"),
    (xml(500, "InternalError"), replacing, OutcomeUnknownError, "InternalError"),
    (xml(500, "InternalError"), deleting, OutcomeUnknownError, "InternalError"),
    (xml(503, "ServiceUnavailable"), reading, Unavailable, "ServiceUnavailable"),
    (Answer(502), reading, Unavailable, "502"),
    (Answer(502), creating, OutcomeUnknownError, "502"),
    (
        xml(412, "PreconditionFailed"),
        creating,
        ConflictError,
        "expected version none, found another one",
    ),
    (
        xml(400, "InvalidArgument", "of no use"),
        creating,
        StoreError,
        "InvalidArgument: of no use",
    ),
    (Answer(200, cut=-1), reading, Unavailable, "got no answer"),
    (Answer(200, cut=-1), creating, OutcomeUnknownError, "got no answer"),
    (Answer(200, cut=-1), deleting, OutcomeUnknownError, "got no answer"),
    (Answer(200, b"half of it", {"ETag": '"e"'}, cut=4), reading, Unavailable, "s3:GetObject"),
    (Answer(200, b"all of it"), reading, Unavailable, "was cut off"),  # cut within the headers
    (Answer(200), creating, OutcomeUnknownError, "was cut off"),
]


@pytest.mark.parametrize(("answer", "call", "kind", "said"), REFUSALS)
def test_s3_error_mapping(
    answer: Answer, call: Callable[[Store], object], kind: type[DtmError], said: str
) -> None:
    with server(answer) as (found, _), pytest.raises(kind) as caught:
        call(found)
    assert type(caught.value) is kind and said in str(caught.value) and "prod" in str(caught.value)
    assert "wJalrXUtnFEMI" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "answer", [xml(503, "SlowDown"), xml(500, "InternalError"), Answer(200, cut=-1)]
)
def test_each_call_sends_one_request(answer: Answer) -> None:
    with server(answer) as (found, seen):
        for call in (reading, creating, replacing, deleting, listing):
            with pytest.raises((Unavailable, OutcomeUnknownError)):
                call(found)
        assert len(seen) == 5


def test_condition_on_a_missing_key_is_a_conflict() -> None:
    with server(lambda method, _: xml(404, "NoSuchKey") if method == "PUT" else Answer(404)) as (
        found,
        seen,
    ):
        with pytest.raises(ConflictError) as caught:
            replacing(found)
        assert caught.value.actual is None
        assert seen == [
            f"PUT /team-state/prod/state If-Match: {'0' * 32}",
            "HEAD /team-state/prod/state",
        ]


def test_polling_a_lock_sends_one_request() -> None:
    with server(xml(412, "PreconditionFailed")) as (found, seen):
        with pytest.raises(ConflictError):
            creating(found)
        assert seen == ["PUT /team-state/prod/state If-None-Match: *"]


def test_write_refused_during_another_one_is_retryable() -> None:
    def respond(method: str, _: str) -> Answer:
        return (
            xml(409, "ConditionalRequestConflict")
            if method == "PUT"
            else Answer(200, headers={"ETag": f'"{"0" * 32}"'})
        )

    with (
        server(respond) as (found, _),
        pytest.raises(Unavailable, match="another request for this object is in progress"),
    ):
        replacing(found)


def test_timeout_of_a_write_is_an_unknown_outcome() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = store(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1)
        with pytest.raises(OutcomeUnknownError, match="got no answer: timed out"):
            creating(found)
        with pytest.raises(Unavailable, match="timed out"):
            reading(found)


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        (
            "http://127.0.0.1:{port}",
            "cannot connect to http://127.0.0.1:{port}: Connection refused",
        ),
        (
            "http://no-such-host.invalid:{port}",
            "the host name no-such-host.invalid cannot be resolved",
        ),
    ],
)
def test_unreachable_server_has_no_effect(endpoint: str, said: str) -> None:
    (port,) = free_ports(1)
    for call in (reading, creating, deleting):
        with pytest.raises(Unavailable) as caught:
            call(store(endpoint.format(port=port)))
        assert said.format(port=port) in str(caught.value)


def test_missing_credentials_error_names_the_variables() -> None:
    options = {**BASE, "endpoint": "http://127.0.0.1:9"}
    with pytest.raises(StoreAccessError, match="no AWS credentials were found") as caught:
        open_backend(options, Path("/"), {}).store.read("k")
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_missing_profile_is_named() -> None:
    with pytest.raises(StoreAccessError, match="there is no AWS profile nobody") as caught:
        open_backend({**BASE, "profile": "nobody"}, Path("/"), {}).store.read("k")
    assert "~/.aws/config" in caught.value.hint and "AWS_PROFILE" in caught.value.hint


def test_credentials_come_from_the_given_file_and_profile(tmp_path: Path) -> None:
    (tmp_path / "creds").write_text(
        "[team]\naws_access_key_id = AKIAFROMFILE1234\naws_secret_access_key = x\n"
    )
    with canned_server(lambda *_: xml(403, "AccessDenied")) as (url, _):
        options = {**BASE, "endpoint": url, "awsCredsPath": "creds", "profile": "team"}
        with pytest.raises(
            StoreAccessError,
            match=r"access key \.\.\.1234 from the credentials file \(profile team\)",
        ):
            open_backend(options, tmp_path, {}).store.read("k")


def test_services_for_credentials_can_be_loaded() -> None:
    aws = AwsAccount(AwsCredentials(access_key="a", secret_key="b"))
    assert [
        aws.client(name, "eu-west-1").meta.service_model.service_name for name in SERVICES
    ] == list(SERVICES)


def test_role_is_assumed_and_named() -> None:
    soon = "2999-01-01T00:00:00Z"
    given = (
        "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
        "<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        f"<SessionToken>t</SessionToken><Expiration>{soon}</Expiration>"
        "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    with (
        canned_server(lambda *_: Answer(200, given.encode())) as (sts, asked),
        canned_server(lambda *_: xml(403, "AccessDenied")) as (
            url,
            _,
        ),
    ):
        role: dict[str, Value] = {"roleArn": "arn:aws:iam::1:role/state"}
        found = store(url, assumeRole=role, stsEndpoint=sts, timeout=5.0)
        with pytest.raises(StoreAccessError, match="denied to role arn:aws:iam::1:role/state"):
            found.read("k")
        assert asked == ["POST /"]


def test_denied_role_is_reported() -> None:
    denied = (
        b"<ErrorResponse><Error><Code>AccessDenied</Code>"
        b"<Message>not you</Message></Error></ErrorResponse>"
    )
    with canned_server(lambda *_: Answer(403, denied)) as (sts, _):
        found = store(
            "http://127.0.0.1:9",
            assumeRole={"roleArn": "arn:aws:iam::1:role/state"},
            stsEndpoint=sts,
            timeout=5.0,
        )
        with pytest.raises(
            StoreAccessError, match="the role cannot be assumed: AccessDenied: not you"
        ):
            creating(found)


def test_listing_joins_pages_and_skips_folder_markers() -> None:
    def page(number: int) -> Answer:
        more = (
            "<IsTruncated>true</IsTruncated>"
            f"<NextContinuationToken>{number + 1}</NextContinuationToken>"
            if number < 3
            else ""
        )
        keys = "".join(
            f"<Contents><Key>{key}</Key></Contents>" for key in (f"a/{9 - number}", f"a/{number}/")
        )
        return Answer(200, f"<ListBucketResult>{keys}{more}</ListBucketResult>".encode())

    def respond(_: str, target: str) -> Answer:
        return page(int(target.partition("continuation-token=")[2].partition("&")[0] or 1))

    with server(respond) as (found, seen):
        assert list(found.list("a/")) == ["a/6", "a/7", "a/8"]
        assert len(seen) == 3


# --- creation, policy, encryption


def test_bucket_and_table_are_created_once_and_private(cloud: Cloud) -> None:
    options = cloud.options("made-by-dtm", "k", "made-by-dtm")
    plan = open_provisioner(options, Path("/"), {})
    assert plan.missing() == [
        "bucket made-by-dtm does not exist",
        "table made-by-dtm does not exist",
    ]
    assert [line.partition(":")[0] for line in plan.create()] == [
        "bucket made-by-dtm in us-east-1",
        "table made-by-dtm in us-east-1",
    ]
    assert (plan.missing(), plan.create()) == ([], [])
    client = cloud.client("s3", cloud.endpoint)
    assert all(
        client.get_public_access_block(Bucket="made-by-dtm")[
            "PublicAccessBlockConfiguration"
        ].values()
    )
    table = cloud.client("dynamodb", cloud.dynamodb).describe_table(TableName="made-by-dtm")[
        "Table"
    ]
    assert table["KeySchema"] == [{"AttributeName": "LockID", "KeyType": "HASH"}]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


class EmulatedAmazon(AwsAccount):
    """An account whose requests to Amazon go to the emulator."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(AwsCredentials(access_key=cloud.access_key, secret_key=cloud.secret_key))
        self._cloud = cloud

    def client(self, service: str, region: str, endpoint: str = "", addressing: str = "") -> Any:
        return super().client(service, region, self._cloud.endpoint, "path")


def test_bucket_at_amazon_is_versioned(cloud: Cloud) -> None:
    settings = read_settings(
        {"bucket": "at-amazon", "key": "k", "region": "eu-west-1"}, Path("/"), {}
    )
    made = S3Provisioner(EmulatedAmazon(cloud), settings, lambda: "eu-west-1").create()
    assert made == ["bucket at-amazon in eu-west-1: public access blocked, encrypted, versioned"]
    assert (
        cloud.client("s3", cloud.endpoint).get_bucket_versioning(Bucket="at-amazon")["Status"]
        == "Enabled"
    )


def test_policy_covers_only_this_state() -> None:
    options = {**BASE, "dynamodbTable": "locks", "kmsKeyId": "arn:aws:kms:eu-west-1:1:key/k"}
    policy = json.loads(open_provisioner(options, Path("/"), {}).policy())
    assert [statement["Resource"] for statement in policy["Statement"]] == [
        "arn:aws:s3:::team-state",
        "arn:aws:s3:::team-state/prod/state",
        "arn:aws:s3:::team-state/prod/state.*",
        "arn:aws:dynamodb:*:*:table/locks",
        "arn:aws:kms:eu-west-1:1:key/k",
    ]


def test_customer_key_is_required_for_reading(cloud: Cloud) -> None:
    options: dict[str, Value] = {**cloud.fresh(), "sseCustomerKey": SECRET}
    place = open_backend(options, Path("/"), {})
    version = place.store.write("k", b"x", expect=None)
    assert place.store.read("k") and place.store.write("k", b"y", expect=version)
    del options["sseCustomerKey"]
    with pytest.raises(StoreError):
        open_backend(options, Path("/"), {}).store.read("k")


def test_only_amazon_is_trusted_without_a_probe() -> None:
    assert open_backend(BASE, Path("/"), {}).trusted
    assert not open_backend({**BASE, "endpoint": "http://h"}, Path("/"), {}).trusted
