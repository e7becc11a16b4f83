"""State in an S3 bucket, Amazon's or another provider's: conditional writes compare the ETag.

state: {backend: s3, options: {bucket: b, key: devstream.state, region: eu-west-1}}
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from backends.aws.errors import AwsRequest, answer_or_none, error_code, response_of
from backends.aws.options import S3Options, S3Settings, read_settings
from backends.aws.session import AwsAccount
from backends.keys import is_path
from backends.lockers.object import ObjectLocker
from engine.errors import (
    ConditionRefusedError,
    ConflictError,
    OutcomeUnknownError,
    StoreAccessError,
    StoreError,
    StoreUnavailableError,
)
from engine.ports import Locker, OpenedBackend, Provisioner, StoredObject, Version
from engine.values import Value

OPTIONS = S3Options
NATIVE_LEASE: Final = 120.0
"""Seconds; longer than other leases, since in a versioned bucket each renewal stores a version."""
LOCK_SUFFIX: Final = ".tflock"
"""Terraform's suffix, so that dtm and Terraform see each other's locks."""
# The response to a HEAD request has no body, so botocore reports the status as the error code.
NOT_FOUND_CODES: Final = ("NoSuchKey", "404", "NotFound")
CONDITION_FAILED_CODES: Final = ("PreconditionFailed", "412")
CONCURRENT_REQUEST_CODES: Final = ("ConditionalRequestConflict", "OperationAborted")


def open_backend(
    options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
) -> OpenedBackend:
    """See `engine.ports.Backend`. Sends no request.

    Raises ConfigError with everything that is wrong with the options.
    """
    settings = read_settings(options, base_dir, env)
    return opened(AwsAccount(settings.access), settings)


def opened(aws: AwsAccount, settings: S3Settings) -> OpenedBackend:
    """Return the place that the settings name; several places can share an account."""
    region = BucketRegion(aws, settings)
    store = S3Store(aws, settings, region)
    lockers: dict[str, Callable[[], Locker]] = {
        "native": lambda: ObjectLocker(store, LOCK_SUFFIX, exact_delete=False)
    }
    if settings.table:
        from backends.aws.dynamodb import DynamoLocker

        lockers["dynamodb"] = lambda: DynamoLocker(
            lambda: aws.client("dynamodb", region(), settings.table_endpoint),
            settings.table,
            prefix=f"{settings.bucket}/",
            aws=aws,
        )
    return OpenedBackend(
        store, settings.key, lockers, trusted=settings.is_amazon, lease=NATIVE_LEASE
    )


def open_provisioner(
    options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]
) -> Provisioner:
    """See `engine.ports.Backend`. Raises as `open_backend`."""
    from backends.aws.provision import S3Provisioner

    settings = read_settings(options, base_dir, env)
    aws = AwsAccount(settings.access)
    return S3Provisioner(aws, settings, BucketRegion(aws, settings, exists=False))


class BucketRegion:
    """The region of the bucket.

    The first of these counts: option `region`, AWS_REGION, AWS_DEFAULT_REGION, the profile,
    us-east-1 for a server that is not Amazon's, and the answer of the bucket, which is asked once.
    With `exists` False the bucket may not exist yet, and is not asked.
    """

    def __init__(self, aws: AwsAccount, settings: S3Settings, *, exists: bool = True) -> None:
        self._aws, self._settings, self._exists = aws, settings, exists
        self._mutex, self._name = threading.Lock(), settings.region

    def __call__(self) -> str:
        """Return the name of the region.

        Raises StoreAccessError if no region is named, and as `engine.ports.Store.read`.
        """
        with self._mutex:
            if not self._name:
                self._name = self._aws.region() or (
                    "us-east-1" if self._settings.endpoint else self._ask_bucket()
                )
            return self._name

    def _ask_bucket(self) -> str:
        """Ask the bucket for its region, which Amazon reports even if access is denied."""
        request = AwsRequest("s3:ListBucket", self._settings.location)
        headers: Mapping[str, str] = {}
        if self._exists:
            client = self._aws.client("s3", "us-east-1")
            with self._aws.mapped_errors(request):
                headers = _headers_of(lambda: client.head_bucket(Bucket=self._settings.bucket))
        if not headers.get("x-amz-bucket-region"):
            raise StoreAccessError(
                f"{self._settings.location}: no region specified: use option region, or the "
                "environment variable AWS_REGION or AWS_DEFAULT_REGION",
                hint="in a state URL: s3://bucket/key?region=eu-west-1",
            )
        return headers["x-amz-bucket-region"]


def _headers_of(call: Callable[[], Any]) -> Mapping[str, str]:
    try:
        answer = call()
    except Exception as error:
        # An error response, such as a 403, has the headers too.
        answer = response_of(error)
        if not answer:
            raise
    headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    return headers


class S3Store:
    """`engine.ports.Store` on the objects of a bucket; the version is the ETag without quotes.

    Ceph refuses quotes in If-Match, and ignores If-Match in a delete. So on servers other than
    Amazon's, a conditional delete reads the ETag first. Another client can still change the object
    between the two requests.
    """

    def __init__(self, aws: AwsAccount, settings: S3Settings, region: Callable[[], str]) -> None:
        self._aws, self._settings, self._region = aws, settings, region

    @property
    def location(self) -> str:
        """`s3://bucket`, or the flavour's scheme."""
        return self._settings.location

    def read(self, key: str) -> StoredObject | None:
        """See `engine.ports.Store.read`. A missing bucket is an error."""
        client, request = self._client(), self._request("s3:GetObject", key)
        with self._aws.mapped_errors(request):
            answer = self._get_or_none(client.get_object, key)
            # Read the body within `mapped_errors`, since the connection may break meanwhile.
            return answer and StoredObject(answer["Body"].read(), _version(answer, request))

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """See `engine.ports.Store.write`."""
        client, request = self._client(), self._request("s3:PutObject", key, writes=True)
        # "*" means that the object must not exist.
        condition = {"IfNoneMatch": "*"} if expect is None else {"IfMatch": expect}
        # With the MD5 the server refuses data that was damaged during the transfer.
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        with self._aws.mapped_errors(request):
            try:
                answer = client.put_object(
                    Bucket=self._settings.bucket,
                    Key=key,
                    Body=data,
                    ContentMD5=digest,
                    ContentType="application/json",
                    **self._settings.writing,
                    **condition,
                )
            except Exception as error:
                # Do not read the current version here: clients that poll for a lock would pay for a
                # second request each time.
                if expect is None and error_code(error) in CONDITION_FAILED_CODES:
                    raise ConflictError(key, None, "another one") from error
                # S3 answers If-Match with 404 if the object was deleted meanwhile.
                gone = () if expect is None else NOT_FOUND_CODES
                if error_code(error) in (*CONDITION_FAILED_CODES, *CONCURRENT_REQUEST_CODES, *gone):
                    raise self._conflict(key, expect) from error
                raise
        return _version(answer, request)

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """See `engine.ports.Store.delete`."""
        client, request = self._client(), self._request("s3:DeleteObject", key, writes=True)
        condition = {} if expect is None else {"IfMatch": expect}
        # Other servers may ignore the condition, and would delete another client's version.
        if expect is not None and not self._settings.is_amazon:
            found = self._current_version(key)
            if found is None:
                return
            if found != expect:
                raise ConflictError(key, expect, found)
        with self._aws.mapped_errors(request):
            try:
                client.delete_object(Bucket=self._settings.bucket, Key=key, **condition)
            except Exception as error:
                if error_code(error) in (*CONDITION_FAILED_CODES, *CONCURRENT_REQUEST_CODES):
                    # A refused delete is a success if another client has deleted the object since.
                    if self._current_version(key) is not None:
                        raise self._conflict(key, expect) from error
                elif error_code(error) not in NOT_FOUND_CODES:
                    raise

    def list(self, prefix: str) -> Iterator[str]:
        """See `engine.ports.Store.list`. Folder markers of other tools are left out."""
        client, request = self._client(), self._request("s3:ListBucket", prefix)
        keys: list[str] = []
        more: dict[str, str] = {}
        with self._aws.mapped_errors(request):
            while True:
                page = client.list_objects_v2(Bucket=self._settings.bucket, Prefix=prefix, **more)
                # A key with a slash at the end is a folder marker of a web console, not a value.
                keys += [
                    entry["Key"]
                    for entry in page.get("Contents", ())
                    if not entry["Key"].endswith("/")
                ]
                if not page.get("IsTruncated"):
                    return iter(sorted(keys))
                more = {"ContinuationToken": page["NextContinuationToken"]}

    def _client(self) -> Any:
        settings = self._settings
        return self._aws.client("s3", self._region(), settings.endpoint, settings.addressing)

    def _request(self, action: str, key: str, *, writes: bool = False) -> AwsRequest:
        arn = f"arn:aws:s3:::{self._settings.bucket}"
        if action != "s3:ListBucket":
            # Some servers resolve "." and "..", so that such a key would name another object.
            if not is_path(key):
                raise StoreError(f'"{key}" is not a valid key in {self.location}')
            arn += f"/{key}"
        return AwsRequest(action, f"{self.location}/{key}", arn, writes, self._region())

    def _current_version(self, key: str) -> Version | None:
        """Return the version of the current object, None if there is none."""
        request = self._request("s3:GetObject", key)
        with self._aws.mapped_errors(request):
            answer = self._get_or_none(self._client().head_object, key)
            return answer and _version(answer, request)

    def _get_or_none(self, get: Callable[..., Any], key: str) -> Any:
        call = partial(get, Bucket=self._settings.bucket, Key=key, **self._settings.reading)
        return answer_or_none(call, NOT_FOUND_CODES)

    def _conflict(self, key: str, expect: Version | None) -> StoreError:
        """Return the error of a write or delete whose condition was refused."""
        found: Version | None = None
        # A client without read permission must still learn that its write was refused.
        with suppress(StoreAccessError):
            found = self._current_version(key)
            # A server also refuses a condition while another request for the object is in progress.
            # The expected version is then still the current one, and another attempt may succeed.
            if found == expect:
                return ConditionRefusedError(
                    f"{self.location}/{key}: the server refused to replace the current version: "
                    "another request for this object is in progress",
                    hint="if this persists, run dtm state probe: the server may not support "
                    "conditional writes in this bucket",
                )
        return ConflictError(key, expect, found)


def _version(answer: Mapping[str, Any], request: AwsRequest) -> Version:
    """Return the ETag of a response.

    The ETag is missing if the connection ended within the headers. Then raises OutcomeUnknownError
    for a write, StoreUnavailableError for a read.
    """
    if not (version := str(answer.get("ETag", "")).strip('"')):
        raise (OutcomeUnknownError if request.writes else StoreUnavailableError)(
            f"{request.place}: the server's answer was cut off"
        )
    return version
