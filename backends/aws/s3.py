"""State in an S3 bucket, Amazon's or another's: objects replaced only where their ETag is the expected one.

state: {backend: s3, options: {bucket: b, key: devstream.state, region: eu-west-1}}
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from backends.aws.errors import Request, answer_of, code_of
from backends.aws.options import S3Options, Settings, settings_of
from backends.aws.session import Aws
from backends.lockers.object import ObjectLocker
from engine.errors import (
    ConditionRefusedError,
    ConflictError,
    OutcomeUnknownError,
    StoreAccessError,
    StoreError,
    StoreUnavailableError,
)
from engine.ports import Creating, Locker, Opened, Snapshot, Version
from engine.values import Value

OPTIONS = S3Options
NATIVE_LEASE: Final = 120.0
"""Seconds. Longer than elsewhere: in a versioned bucket each renewal leaves a version behind."""
LOCK_SUFFIX: Final = ".tflock"
"""Terraform's, so that each sees the other's lock."""
ABSENT: Final = ("NoSuchKey", "404", "NotFound")
REFUSED: Final = ("PreconditionFailed", "412")
BUSY: Final = ("ConditionalRequestConflict", "OperationAborted")


def open_backend(options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]) -> Opened:
    """See `engine.ports.Backend`. Raises ConfigError with everything that is wrong with the options; asks nobody."""
    settings = settings_of(options, base_dir, env)
    return opened(Aws(settings.access), settings)


def opened(aws: Aws, settings: Settings) -> Opened:
    """Where the settings lead; several places may share an account."""
    region = Region(aws, settings)
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
    return Opened(store, settings.key, lockers, certain=settings.amazon, lease=NATIVE_LEASE)


def creating(options: Mapping[str, Value], base_dir: Path, env: Mapping[str, str]) -> Creating:
    """Makes the bucket and the table that these options name. Raises as `open_backend`."""
    from backends.aws.provision import S3Creating

    settings = settings_of(options, base_dir, env)
    aws = Aws(settings.access)
    return S3Creating(aws, settings, Region(aws, settings, exists=False))


class Region:
    """The region of the bucket, found once: option, AWS_REGION, AWS_DEFAULT_REGION, profile, else asked of the bucket.

    `exists` False: the bucket may not be there, so it is not asked; then a region has to be named.
    """

    def __init__(self, aws: Aws, settings: Settings, *, exists: bool = True) -> None:
        self._aws, self._settings, self._exists = aws, settings, exists
        self._mutex, self._found = threading.Lock(), settings.region

    def __call__(self) -> str:
        """Its name. Raises StoreAccessError if nothing names one, store errors."""
        with self._mutex:
            if not self._found:
                self._found = self._aws.region() or (
                    "us-east-1" if self._settings.endpoint else self._asked()
                )
            return self._found

    def _asked(self) -> str:
        """Amazon names a bucket's region even to those who may not see the bucket."""
        request = Request("s3:ListBucket", self._settings.location)
        headers: Mapping[str, str] = {}
        if self._exists:
            client = self._aws.client("s3", "us-east-1")
            with self._aws.asking(request):
                headers = _headers_of(lambda: client.head_bucket(Bucket=self._settings.bucket))
        if not headers.get("x-amz-bucket-region"):
            raise StoreAccessError(
                f"{self._settings.location}: no region specified: use option region, or the environment variable AWS_REGION "
                "or AWS_DEFAULT_REGION",
                hint="s3://bucket/key?region=eu-west-1",
            )
        return headers["x-amz-bucket-region"]


def _headers_of(call: Callable[[], Any]) -> Mapping[str, str]:
    try:
        answer = call()
    except Exception as error:
        answer = answer_of(error)
        if not answer:
            raise
    headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    return headers


class S3Store:
    """`engine.ports.Store` over the objects of a bucket; the version is the ETag without its quotes.

    Ceph refuses the quoted form in If-Match and ignores If-Match when it deletes: where the server is not Amazon's, a
    conditional delete looks at the ETag first, which leaves a moment between looking and deleting.
    """

    def __init__(self, aws: Aws, settings: Settings, region: Callable[[], str]) -> None:
        self._aws, self._settings, self._region = aws, settings, region
        self._mutex = threading.Lock()
        self._made: Any = None

    @property
    def location(self) -> str:
        """`s3://bucket`, or the flavour's scheme."""
        return self._settings.location

    def read(self, key: str) -> Snapshot | None:
        """See `engine.ports.Store.read`. A missing bucket is an error."""
        client, request = self._client(), self._request("s3:GetObject", key)
        with self._aws.asking(request):
            try:
                answer = client.get_object(
                    Bucket=self._settings.bucket, Key=key, **self._settings.reading
                )
                return Snapshot(answer["Body"].read(), _version(answer, request))
            except Exception as error:
                if code_of(error) in ABSENT:
                    return None
                raise

    def write(self, key: str, data: bytes, *, expect: Version | None) -> Version:
        """See `engine.ports.Store.write`. The digest sent along has the server refuse what was damaged on its way."""
        client, request = self._client(), self._request("s3:PutObject", key, writes=True)
        condition = {"IfNoneMatch": "*"} if expect is None else {"IfMatch": expect}
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        with self._aws.asking(request):
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
                if (
                    expect is None and code_of(error) in REFUSED
                ):  # whoever polls a lock is not to pay for another look
                    raise ConflictError(key, None, "another one") from error
                if code_of(error) in (*REFUSED, *BUSY) or (
                    expect is not None and code_of(error) in ABSENT
                ):
                    raise self._conflict(key, expect) from error
                raise
        return _version(answer, request)

    def delete(self, key: str, *, expect: Version | None = None) -> None:
        """See `engine.ports.Store.delete`."""
        client, request = self._client(), self._request("s3:DeleteObject", key, writes=True)
        condition = {} if expect is None else {"IfMatch": expect}
        if expect is not None and not self._settings.amazon:
            found = self._found(key)
            if found is None:
                return
            if found != expect:
                raise ConflictError(key, expect, found)
        with self._aws.asking(request):
            try:
                client.delete_object(Bucket=self._settings.bucket, Key=key, **condition)
            except Exception as error:
                if code_of(error) in (*REFUSED, *BUSY):
                    if self._found(key) is not None:
                        raise self._conflict(key, expect) from error
                elif code_of(error) not in ABSENT:
                    raise

    def list(self, prefix: str) -> Iterator[str]:
        """See `engine.ports.Store.list`; the markers that other tools make for folders are no keys."""
        client, request = self._client(), self._request("s3:ListBucket", prefix)
        keys: list[str] = []
        more: dict[str, str] = {}
        with self._aws.asking(request):
            while True:
                page = client.list_objects_v2(Bucket=self._settings.bucket, Prefix=prefix, **more)
                keys += [
                    entry["Key"]
                    for entry in page.get("Contents", ())
                    if not entry["Key"].endswith("/")
                ]
                if not page.get("IsTruncated"):
                    return iter(sorted(keys))
                more = {"ContinuationToken": page["NextContinuationToken"]}

    def _client(self) -> Any:
        region = self._region()
        with self._mutex:
            if self._made is None:
                self._made = self._aws.client(
                    "s3", region, self._settings.endpoint, config={"s3": self._settings.addressing}
                )
            return self._made

    def _request(self, action: str, key: str, *, writes: bool = False) -> Request:
        bucket = self._settings.bucket
        if action != "s3:ListBucket" and not all(
            part not in ("", ".", "..") for part in key.split("/")
        ):
            raise StoreError(f'"{key}" is no key of {self.location}')
        arn = (
            f"arn:aws:s3:::{bucket}"
            if action == "s3:ListBucket"
            else f"arn:aws:s3:::{bucket}/{key}"
        )
        return Request(action, f"{self.location}/{key}", arn, writes, self._region())

    def _found(self, key: str) -> Version | None:
        """The version that is there now."""
        request = self._request("s3:GetObject", key)
        with self._aws.asking(request):
            try:
                answer = self._client().head_object(
                    Bucket=self._settings.bucket, Key=key, **self._settings.reading
                )
                return _version(answer, request)
            except Exception as error:
                if code_of(error) in ABSENT:
                    return None
                raise

    def _conflict(self, key: str, expect: Version | None) -> StoreError:
        """What a refused condition means. It is also refused while somebody else's request is under way: then it is early."""
        found: Version | None = None
        with suppress(StoreAccessError):  # who may not look still knows that the write was refused
            found = self._found(key)
            if found == expect:
                return ConditionRefusedError(
                    f"{self.location}/{key}: the version that is there was refused: another request for it is under way",
                    hint="if it stays so, the server honours no conditions in this bucket: dtm state probe tells",
                )
        return ConflictError(key, expect, found)


def _version(answer: Mapping[str, Any], request: Request) -> Version:
    """Its ETag. Raises StoreUnavailableError, OutcomeUnknownError where the answer ended within its headers."""
    if not (version := str(answer.get("ETag", "")).strip('"')):
        raise (OutcomeUnknownError if request.writes else StoreUnavailableError)(
            f"{request.place}: the answer was cut off"
        )
    return version
